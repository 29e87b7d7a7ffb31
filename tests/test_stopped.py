"""A run that is told to stop stops cleanly, and a second one in its folder is told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bad_files import bad_files

from limbeck import cli

LINE = ["distill", "--config", "r.yaml", "--teacher.bank", "bank", "--training.max_steps", "500"]


@pytest.mark.full
def test_sigterm_stops_a_run_which_goes_on_and_a_second_one_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(bad_files(tmp_path))
    run = subprocess.Popen([sys.executable, "-m", "limbeck", *LINE], stderr=subprocess.PIPE, text=True)
    wait_for(Path("new/checkpoints/checkpoint-50"), run)
    assert cli.main([*LINE, "--resume"]) == 2
    assert f"Another run is writing in new (process {run.pid} on" in capsys.readouterr().err
    run.send_signal(signal.SIGTERM)
    said = run.communicate(timeout=120)[1].splitlines()
    assert (run.returncode, said[-1]) == (
        143,
        "limbeck: stopped (SIGTERM); with --resume it goes on from its last checkpoint, if there is one yet.",
    )
    assert not Path("new/checkpoints/unfinished").exists()
    assert cli.main([*LINE, "--resume"]) == 0
    first = Path("new/log.jsonl").read_text().partition("\n")[0]
    assert '"step": 20' in first, "it began anew in place of going on"


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(2400):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")
