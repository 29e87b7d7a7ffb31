"""The worked examples run: 20 steps each, and what moves and what does not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from examples import made as example
from launching import launch
from safetensors.torch import load_file

from limbeck.methods.registry import METHODS

# Name to what must move beside the student, by the beginnings of the names.
MOVES = {
    "rkd": (),
    "mutual": ("peers.fellow.",),
    "adapted_teacher": ("trained.teacher.",),
    "sorted_vocabularies": (),
    "gated": ("method.gate.",),
    "any_subset": (),
    "data_free": ("method.generator.", "moments.generator."),
    "imagined": ("method.generator.", "method.critic.", "moments.critic."),
    "step_halving": (),
}
# Statements of each class as it was designed, without Config, __init__, declared and docstring.
DESIGNED = {
    "RKD": 8, "Mutual": 7, "AdaptedTeacher": 8, "SortedVocabularies": 9, "Gated": 12, "AnySubset": 9, "DataFree": 12,
    "Imagined": 11, "StepHalving": 13,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, home in example.WORKED.items():
        monkeypatch.setitem(METHODS, name, home)


def frozen(run: example.DistillationTrainer) -> list[torch.Tensor]:
    """The weights of live teachers, but for what trains in them."""
    found = []
    for teacher in run.model.live.values():
        own = {id(p) for p in (getattr(teacher, "trained", None) or torch.nn.Module()).parameters()}
        found += [p.detach().clone() for p in teacher.model.parameters() if id(p) not in own]
    return found


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_and_what_does_not(name: str, tmp_path: Path) -> None:
    run = example.trainer(name, tmp_path)
    before = {n: v.clone() for n, v in run.model.state_dict().items()}
    teachers = frozen(run)
    run.train()
    after = run.model.state_dict()
    moved = {n for n, v in after.items() if not torch.equal(v, before[n])}
    assert any(n.startswith("student.") for n in moved)
    for start in MOVES[name]:
        assert any(n.startswith(start) for n in moved), start
    assert {n for n in moved if not n.startswith(("student.", *MOVES[name]))} == set()
    assert all(torch.equal(a, b) for a, b in zip(teachers, frozen(run), strict=True))
    assert all(bool(v.isfinite().all()) for v in after.values())
    assert run.state.global_step == 20


@pytest.mark.parametrize("name", ["mutual", "adapted_teacher"])
def test_what_trains_beside_the_student_resumes(name: str, tmp_path: Path) -> None:
    def made() -> example.DistillationTrainer:
        return example.trainer(name, tmp_path, save_strategy="steps", save_steps=7)

    whole, resumed = made(), made()
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoints" / "checkpoint-7"))
    weights = resumed.model.state_dict()
    assert all(torch.equal(v, weights[n]) for n, v in whole.model.state_dict().items())


# Terms of rows and units are the same however a step is cut; those that couple rows, or draw for each part, are not.
ALIKE = ("mutual", "adapted_teacher", "sorted_vocabularies", "gated")


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    names = list(MOVES)
    launch(tmp_path, [{"example": name} for name in names])
    for number, name in enumerate(names):
        one, other = (load_file(tmp_path / f"{number}-{rank}.safetensors") for rank in range(2))
        assert all(torch.equal(v, other[n]) for n, v in one.items()), name
        if name in ALIKE:
            alone = example.trainer(name, tmp_path / f"alone-{name}")
            alone.train()
            for n, value in alone.model.state_dict().items():
                gap = float((value - one[n]).abs().max())
                assert gap < 1e-4, (name, n, gap)


def test_none_is_much_longer_than_it_was_designed() -> None:
    for file in ("worked.py", "critics.py"):
        tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name in DESIGNED:
                kept = [part for part in node.body if not _is_apart(part)]
                counted = 1 + sum(isinstance(n, ast.stmt) for part in kept for n in ast.walk(part))
                assert counted <= 1.5 * DESIGNED[node.name], (node.name, counted)


def _is_apart(part: ast.stmt) -> bool:
    """Whether a part of a class is its docstring, Config, __init__ or declared."""
    is_config = isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "Config"
    return isinstance(part, ast.Expr) or is_config or getattr(part, "name", "") in ("__init__", "declared")
