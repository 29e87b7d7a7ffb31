"""A disk that is full at any moment: one sentence with the file, and the same command finishes once there is space.

The disk is simulated by the largest size that a file may have (``RLIMIT_FSIZE``), which every library that writes meets
as an error of the system, wherever in its file it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bad_files import bad_files

from limbeck import cli

resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a file")
full = pytest.mark.full
RUN = "--config r.yaml --teacher.bank bank --training.save_strategy steps --training.save_steps 1"


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bad_files(tmp_path_factory.mktemp("full"))


@pytest.mark.parametrize(
    ("line", "sizes"),
    [
        ("bank import good.npz --output new", (10, 300)),
        ("bank build --teacher callable:good:ask --data rows.csv --output new", (10, 300)),
        pytest.param(f"distill {RUN} --output_dir new --resume", (10, 200, 3000, 60_000), marks=full),
        pytest.param("chain --config good_chain.yaml --output_dir new", (10, 3000), marks=full),
        pytest.param("diagnose --config r.yaml --teacher.bank bank --output new", (10, 300), marks=full),
        pytest.param(
            "compare --config r.yaml --teacher.bank bank --seeds 2 --controls random --output new",
            (10, 3000),
            marks=full,
        ),
        pytest.param("export student --format onnx --output new.onnx", (10, 300), marks=full),
    ],
)
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(line, sizes, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    before = set(folder.iterdir())
    for size in sizes:
        with no_file_above(size):
            code = cli.main(line.split())
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert (code, told.startswith("limbeck: ")) == (1, True), told
        assert "grew beyond the largest file that is allowed here" in told
        assert "new" in told or "recipe.yaml" in told, f"at {size} bytes the file is not named: {told}"
        assert not list(folder.rglob(".*.partial")), "what was half written takes space"
    assert cli.main(line.split()) == 0
    capsys.readouterr()
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
