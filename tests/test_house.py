"""The house keeps its shape: floors, no circles, small folders, light imports, faces, and old paths that lead on."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import limbeck
from limbeck import moved

ROOT = Path(limbeck.__file__).parent
# Rooms and single files from the ground up; each may import from its own floor's room and from those before it.
FLOORS = (
    "moved errors files seeding progress", "functional", "layers", "signals", "problems",
    "students banks data", "teachers methods", "training corpora evaluation", "reporting", "recipes", "taught", "plan",
    "fit", "teacher_stage", "runner", "chain prior distill shared_teachers", "tuning", "arm_run", "arms",
    "predict demo", "commands", "cli", "__main__",
)  # fmt: skip
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms.split()}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(node: ast.AST) -> Iterator[str]:
    """Files of the library that a piece of code imports, also inside functions; not those for types alone. A name
    that is taken from a face stands for the file that it comes from."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == "limbeck":
            homes = face_homes(str(child.module))
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                yield whole if whole in FILES else homes.get(alias.name, str(child.module))
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name.split(".")[0] == "limbeck")
        yield from imported(child)


def face_homes(package: str) -> dict[str, str]:
    """Name to the file it comes from, as the face of a package lists them."""
    stub = FILES[package].with_suffix(".pyi") if package in FILES else ROOT / "none"
    if stub.name != "__init__.pyi" or not stub.is_file():
        return {}
    nodes = [n for n in ast.parse(stub.read_text()).body if isinstance(n, ast.ImportFrom)]
    return {alias.name: f"{package}.{node.module}" for node in nodes for alias in node.names}


ARROWS = {name: set(imported(ast.parse(path.read_text()))) for name, path in FILES.items()}


def room_of(name: str) -> str:
    return [*name.split("."), ""][1] or "limbeck"


def test_every_import_names_a_file():
    assert not {(a, b) for a, targets in ARROWS.items() for b in targets if b not in FILES}


def test_no_import_runs_upward():
    rooms = {room_of(name) for name in FILES} - {"limbeck"}
    assert rooms <= set(FLOOR), f"without a floor: {rooms - set(FLOOR)}"
    upward = [
        f"{a} -> {b}"
        for a, targets in ARROWS.items()
        for b in targets
        if {room_of(a), room_of(b)}.isdisjoint({"limbeck"}) and FLOOR[room_of(b)] > FLOOR[room_of(a)]
    ]
    assert not upward


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Nodes that can reach themselves."""
    found = []
    for start in graph:
        seen, todo = set(), list(graph[start] - {start})
        while todo:
            node = todo.pop()
            if node == start:
                found.append(start)
                break
            if node not in seen:
                seen.add(node)
                todo += graph.get(node, ())
    return found


def test_no_circle_of_files():
    assert not circles(ARROWS)


def test_no_circle_of_rooms():
    rooms: dict[str, set[str]] = {}
    for name, targets in ARROWS.items():
        rooms.setdefault(room_of(name), set()).update(room_of(target) for target in targets)
    assert not circles({room: targets - {room, "limbeck"} for room, targets in rooms.items()})


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]


def test_small_folders():
    counts = {
        str(folder.relative_to(ROOT)): len([p for p in folder.iterdir() if p.suffix == ".py"])
        for folder in [ROOT, *(p for p in ROOT.rglob("*") if p.is_dir() and p.name != "__pycache__")]
    }
    assert {folder: n for folder, n in counts.items() if n > 21} == {}


def loaded_by(statement: str) -> list[str]:
    """Names of all modules that a fresh Python has after ``statement``."""
    program = f"import sys; {statement}; print(*sys.modules)"
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()


def test_light_imports():
    assert not {"torch", "transformers", "numpy"} & set(loaded_by("import limbeck; dir(limbeck)"))
    ours = [name for name in loaded_by("import limbeck.data.base") if name.partition(".")[0] == "limbeck"]
    assert len(ours) <= 10, ours


FACES = [
    name for name, path in FILES.items() if path.name == "__init__.py" and path.with_suffix(".pyi").is_file()
]


@pytest.mark.parametrize("package", FACES)
def test_a_face_gives_what_it_lists(package):
    face, homes = importlib.import_module(package), face_homes(package)
    assert set(homes) <= set(dir(face))
    for name, home in homes.items():
        assert getattr(face, name) is getattr(importlib.import_module(home), name)
    siblings = {name.rpartition(".")[2] for name in FILES if name.rpartition(".")[0] == package}
    assert not siblings & set(homes), "a file named like a name of the face would shadow it"


@pytest.fixture
def as_before(request):
    """An old file that a test imports is gone after it, also from its package, where it would hide a name."""
    name = f"limbeck.{request.getfixturevalue('old')}"
    package, _, last = name.rpartition(".")
    face = vars(importlib.import_module(package))
    held = {last: face[last]} if last in face else {}
    yield
    sys.modules.pop(name, None)
    face.pop(last, None)
    face.update(held)


@pytest.mark.parametrize("old", sorted(moved.FILES))
def test_old_files_lead_on(old, as_before):
    assert f"limbeck.{old}" not in FILES
    new = importlib.import_module(f"limbeck.{moved.FILES[old]}")
    sys.modules.pop(f"limbeck.{old}", None)
    with pytest.warns(DeprecationWarning, match="has moved; take") as caught:
        module = importlib.import_module(f"limbeck.{old}")
    public = next(
        name for name, value in vars(new).items() if getattr(value, "__module__", "") == new.__name__
    )
    assert getattr(module, public) is getattr(new, public)
    assert set(dir(new)) <= set(dir(module))
    assert caught[0].filename == importlib.__file__ or "limbeck" not in caught[0].filename


@pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file, names in moved.NAMES.items() for name in names]
)
def test_old_names_lead_on(file, name):
    new = importlib.import_module(f"limbeck.{moved.NAMES[file][name]}")
    with pytest.warns(DeprecationWarning, match=f"{name} has moved; take") as caught:
        assert getattr(importlib.import_module(f"limbeck.{file}"), name) is getattr(new, name)
    assert caught[0].filename == __file__
    assert not hasattr(importlib.import_module(f"limbeck.{file}"), "no_such_name")


@pytest.mark.parametrize(
    "order", ["from limbeck import {0}; import limbeck.{1}", "import limbeck.{1}; from limbeck import {0}"]
)
@pytest.mark.parametrize(("name", "file"), [("run", "run")])
@pytest.mark.full
def test_a_function_stays_callable_in_both_orders(name, file, order):
    program = (
        f"import warnings; warnings.simplefilter('ignore'); {order.format(name, file)}\n"
        f"from limbeck import {name} as again\n"
        f"for f in ({name}, again, limbeck.{file}):\n"
        "    try: f(no_such_argument=1)\n"
        "    except TypeError as error: assert 'no_such_argument' in str(error) or 'missing' in str(error), error\n"
        "    else: raise AssertionError('not refused')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_old_file_named_like_another_function_of_the_face_calls_that():
    program = (
        "import warnings; warnings.simplefilter('ignore'); import limbeck.functional.divergence, torch\n"
        "from limbeck.functional import divergence\n"
        "assert float(divergence(torch.zeros(2, 3), torch.zeros(2, 3))) == 0"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_library_uses_no_old_path():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        old = {f"limbeck.{file}" for file in moved.FILES}
        assert not {(a, b) for a, targets in ARROWS.items() for b in targets if b in old}


@pytest.mark.parametrize(
    "pattern",
    [
        r"problem(\.kind)?\s*[!=]=",
        r"isinstance\([^)\n]*problem",
        r"targets is None",
        r"eval_accuracy",
        r"\.kind (==|in) ",
    ],
)
def test_what_a_task_asks_is_asked_of_the_problem_alone(pattern: str) -> None:
    """Nothing outside ``problems/`` tells one kind of problem from another."""
    for name, path in FILES.items():
        if name.startswith("limbeck.problems"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.startswith(r"\.kind") and "problem" not in line:
                continue
            assert not re.search(pattern, line), f"{path}:{number}: {line.strip()}"
