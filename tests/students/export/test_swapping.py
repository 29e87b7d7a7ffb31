"""What killed exports leave is cleaned at the next start, and what they moved away is put back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck.students.export.swapping import beside, clear_killed, swap

KILLED = """
import os, signal, sys
from pathlib import Path
from limbeck.students.export import swapping
folder, at = Path(sys.argv[1]), int(sys.argv[2])
new = swapping.beside(folder)
new.mkdir()
(new / "weights").write_text("new")
rename, done = os.rename, []
def counted(a, b):
    if len(done) == at:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(a, b)
    done.append(b)
os.rename = counted
swapping._remove = lambda path: os.kill(os.getpid(), signal.SIGKILL)
swapping.swap(new, folder)
"""


@pytest.mark.parametrize(("at", "holds"), [(0, "old"), (1, "old"), (2, "new")])
def test_killed_at_any_moment_one_of_both_is_there_afterwards(tmp_path, at, holds):
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "weights").write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(at)])
    assert killed.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2, "something is left to be cleaned"
    clear_killed(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert (folder / "weights").read_text() == holds


def test_what_somebody_is_writing_stays(tmp_path):
    folder = tmp_path / "student"
    alive = beside(folder)
    alive = alive.with_name(alive.name.replace(f"-{os.getpid()}.", "-1."))  # a process that is always there
    elsewhere = tmp_path / f".student.another_machine-1.{'0' * 32}"
    others = tmp_path / ".student.notes"
    for path in (alive, elsewhere, others):
        path.mkdir()
    clear_killed(folder)
    assert set(tmp_path.iterdir()) == {alive, elsewhere, others}
    os.utime(elsewhere, (0, 0))
    clear_killed(folder)
    assert set(tmp_path.iterdir()) == {alive, others}


def test_a_link_in_the_place_is_replaced_and_not_followed(tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "mine").touch()
    folder = tmp_path / "student"
    folder.symlink_to(target, target_is_directory=True)
    new = beside(folder)
    new.mkdir()
    swap(new, folder)
    assert not folder.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"student", "elsewhere"}
    assert [path.name for path in target.iterdir()] == ["mine"]


def test_a_folder_of_nowhere_is_nothing_to_clean(tmp_path):
    clear_killed(Path(tmp_path / "no" / "student"))
