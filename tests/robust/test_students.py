"""Exported students that were damaged: the answer of before, or one sentence that names the file."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from students.hostile import X, change_json, write_reader, write_student
from torch import Tensor

from limbeck.errors import DataError, LimbeckError
from limbeck.predict import predict_files
from limbeck.students.export import load_exported

FOR_PEOPLE = "README.md"  # nothing is read from it


def flipped(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 1, 1, 3])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def deleted(path: Path, draw: random.Random) -> None:
    path.unlink()


def swapped(path: Path, draw: random.Random) -> None:
    """Another file of the folder in its place."""
    others = [other for other in files(path.parent) if other.name != path.name]
    shutil.copy(draw.choice(others), path)


DAMAGES = (flipped, cut, deleted, swapped)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def seen(folder: Path, ask: Callable[[Path], Tensor], n: int, seed: int, copy: Path) -> Counter[str]:
    """How ``n`` damaged copies ended: ``refused``, ``unchanged`` answers, ``wrong`` answers, ``raw`` errors."""
    draw, wanted, ends = random.Random(seed), ask(folder), Counter[str]()
    names = [path.relative_to(folder) for path in files(folder)]
    for number in range(n):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        damage, name = DAMAGES[number % len(DAMAGES)], draw.choice(names)
        damage(copy / name, draw)
        try:
            found = ask(copy)
        except LimbeckError as error:
            ends["refused" if str(copy) in str(error) else f"raw: {error}"] += 1
        except Exception as error:
            ends[f"raw: {damage.__name__} {name}: {error!r:.200}"] += 1
        else:
            ends["unchanged" if torch.equal(found, wanted) else f"wrong: {damage.__name__} {name}"] += 1
    return ends


def settled(ends: Counter[str]) -> bool:
    """Nothing silent, nothing raw; and most of the damage was noticed, so the counts mean something."""
    return set(ends) <= {"refused", "unchanged"} and ends["refused"] > 2 * ends["unchanged"]


@pytest.mark.parametrize("n", [60, pytest.param(4000, marks=pytest.mark.full)])
def test_a_damaged_plain_student_answers_as_before_or_is_refused(n, tmp_path):
    folder = write_student(tmp_path / "s")
    ends = seen(folder, lambda place: load_exported(place).outputs({"x": X}), n, n, tmp_path / "copy")
    assert settled(ends), ends


@pytest.mark.parametrize("n", [16, pytest.param(400, marks=pytest.mark.full)])
def test_a_damaged_text_student_answers_as_before_or_is_refused(n, word_bert, tmp_path):
    folder = write_reader(word_bert, tmp_path / "s")
    table = tmp_path / "t.csv"
    table.write_text("text\nthe cat sees\na red bird\n")

    def ask(place: Path) -> Tensor:
        rows = predict_files(place, [table])
        return torch.tensor([list(row["probabilities"].values()) for row in rows])

    ends = seen(folder, ask, n, n, tmp_path / "copy")
    assert settled(ends), ends


@pytest.mark.parametrize("name", ["student.json", "preprocessor.json", "program.json", "model.safetensors"])
def test_the_file_that_changed_is_named(name, tmp_path):
    folder = write_student(tmp_path / "s")
    path = folder / name
    content = path.read_bytes()
    # a name, a mean, a name of a step, a weight
    old, new = {
        "student.json": (b'"a"', b'"e"'),
        "preprocessor.json": (b'"v"', b'"u"'),
        "program.json": (b'"steps"', b'"stept"'),
        "model.safetensors": (content[-4:], b"abcd"),
    }[name]
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        load_exported(folder)


def test_class_names_that_were_exchanged_are_noticed(tmp_path):
    folder = write_student(tmp_path / "s")
    text = (folder / "student.json").read_text()
    (folder / "student.json").write_text(
        text.replace('"a"', '"!"').replace('"b"', '"a"').replace('"!"', '"b"')
    )
    with pytest.raises(DataError, match=r"student\.json is not what was exported"):
        load_exported(folder)


def test_a_card_that_was_edited_is_nobodys_damage(tmp_path):
    folder = write_student(tmp_path / "s")
    (folder / FOR_PEOPLE).write_text("mine")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    assert load_exported(folder).class_names == ("a", "b", "c")


def test_students_of_the_second_format_still_load_and_are_not_taken_for_newer_ones(tmp_path):
    folder = write_student(tmp_path / "s")

    def older(info):
        info["format"] = 2
        del info["digest"], info["sha256"]["preprocessor.json"]

    change_json(folder / "student.json", older)
    assert load_exported(folder).class_names == ("a", "b", "c")
    change_json(folder / "student.json", lambda info: info.update(digest="0" * 64))
    with pytest.raises(DataError, match="a digest of its own from format 3 on, and only then"):
        load_exported(folder)
