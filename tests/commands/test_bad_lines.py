"""Hundreds of bad command lines: one clear sentence each, before anything is trained, and an exit code.

The lines are in ``bad_plain.txt`` and ``bad_recipes.txt``, what lies where they are tried in ``tests/bad_files.py``.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import pytest
from bad_files import bad_files

from limbeck import cli
from limbeck.training.trainer import DistillationTrainer


def lines() -> list[object]:
    found = []
    for name in ("bad_plain.txt", "bad_recipes.txt"):
        for line in Path(__file__).with_name(name).read_text().splitlines():
            if line.startswith("#"):
                continue
            told, _, words = line.removeprefix("* ").partition(" => ")
            everyday = () if line.startswith("* ") else (pytest.mark.full,)
            found.append(pytest.param(told, words, marks=everyday, id=told[-60:]))
    return found


LINES = lines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bad_files(tmp_path_factory.mktemp("bad"))


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """One starts there; what a line leaves behind is gone for the next one."""

    def train(*_: object, **__: object) -> None:
        raise AssertionError("a training began")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(DistillationTrainer, "train", train)
    before = set(folder.iterdir())
    yield folder
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in ("good", "nets", "raises", "leaves", "lacks"):
        sys.modules.pop(name, None)


def test_there_are_hundreds_of_them_for_every_command():
    tried = [shlex.split(param.values[0])[0] for param in LINES]
    assert len(LINES) >= 200
    assert all(param.values[1].strip() for param in LINES)
    assert set(cli.COMMANDS) <= set(tried)


@pytest.mark.parametrize(("told", "words"), LINES)
def test_a_bad_line_is_one_sentence(told, words, here, capsys):
    code = cli.main([part.replace("\\x00", "\0") for part in shlex.split(told)])
    out, err = capsys.readouterr()
    assert (code in (1, 2), out) == (True, ""), err
    assert err.startswith("limbeck: ")
    assert err.count("\n") == 1, err
    assert "not foreseen" not in err
    assert words in err
