"""Files are written whole, follow no link, and name themselves when the machine refuses."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from limbeck import files
from limbeck.errors import ConfigError, MachineError
from limbeck.files import append_line, only_writer, refuse_links, usable_name, write_whole, writing


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What a link in a stranger's folder would lead to."""
    path = tmp_path / "outside" / "keys"
    path.parent.mkdir()
    path.write_text("mine")
    (tmp_path / "run").mkdir()
    return path


def test_a_link_is_replaced_and_not_followed(outside, tmp_path):
    place = tmp_path / "run" / "metrics.json"
    for link in (place, place.with_name(".metrics.json.partial")):
        link.symlink_to(outside)
    write_whole(place, "new")
    assert outside.read_text() == "mine"
    assert place.read_text() == "new"
    assert not place.is_symlink()
    assert [path.name for path in place.parent.iterdir()] == ["metrics.json"]


def test_a_line_is_not_added_where_a_link_leads(outside, tmp_path):
    log = tmp_path / "run" / "log.jsonl"
    append_line(log, "{}")
    append_line(log, "[]")
    assert log.read_text() == "{}\n[]\n"
    log.unlink()
    log.symlink_to(outside)
    with pytest.raises(MachineError, match=r"log\.jsonl is a link, which is not followed"):
        append_line(log, "{}")
    assert outside.read_text() == "mine"


def test_a_lock_is_no_link_and_a_folder_holds_none(outside, tmp_path):
    run = tmp_path / "run"
    (run / files.LOCK_FILE).symlink_to(outside)
    with pytest.raises(ConfigError, match="is a link, and what is written here"), only_writer(run, "run"):
        pass
    assert outside.read_text() == "mine"
    (run / "checkpoints").symlink_to(outside.parent, target_is_directory=True)
    (run / "teacher").mkdir()
    for path in (run / "checkpoints", run):
        with pytest.raises(ConfigError, match="is a link"):
            refuse_links(path)
    refuse_links(run / "teacher", run / "not there")


def test_one_writer_at_a_time(tmp_path):
    told = rf"Another run is writing in .* \(process {os.getpid()} on"
    with only_writer(tmp_path, "run"), pytest.raises(ConfigError, match=told), only_writer(tmp_path, "run"):
        pass
    with only_writer(tmp_path, "run"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_disk_names_the_file_keeps_the_old_one_and_frees_its_space(tmp_path, monkeypatch, number):
    path = tmp_path / "bank.json"
    write_whole(path, "old")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))  # as a write to a descriptor does, without the name

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", refuse)
        with pytest.raises(MachineError, match=r"bank\.json") as told:
            write_whole(path, "new" * 1000)
    assert told.value.errno == number
    assert (path.read_text(), [p.name for p in tmp_path.iterdir()]) == ("old", ["bank.json"])
    write_whole(path, "new")
    assert path.read_text() == "new"


def test_files_have_the_usual_rights(tmp_path):
    write_whole(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_other_errors_pass(tmp_path):
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        _ = 1 / 0
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "no").read_bytes()


@pytest.mark.parametrize(
    ("text", "words"), [("", "empty"), (" ", "empty"), ("a\0b", "NUL"), ("a\udcff", "no text in UTF-8")]
)
def test_names_that_no_folder_has(text, words):
    with pytest.raises(ConfigError, match=words):
        usable_name(text, "output_dir")
    assert usable_name("runs/größe", "output_dir") == "runs/größe"
