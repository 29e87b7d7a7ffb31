"""The bar is silent for short work and says rate and remaining time for long work."""

import re

import pytest

import limbeck.progress as module
from limbeck.evaluation.runs_bar import RunsBar


def test_short_work_is_silent(capfd):
    with module.progress("Asking", 10) as advance:
        advance(10)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("total", [40, None])
def test_long_work_shows_rate_and_remaining_time(capfd, monkeypatch, total):
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with module.progress("Asking", total) as advance:
        for _ in range(20):
            advance(1)
    shown = capfd.readouterr().err
    assert "Asking" in shown
    assert "/s" in shown
    assert "left" in shown


@pytest.mark.parametrize(
    ("total", "left"), [(40, r"20 of 40 rows, \S+/s, 0:\d\d left, a note"), (None, "20 rows, ")]
)
def test_without_a_terminal_long_work_says_a_plain_line(capfd, monkeypatch, total, left):
    monkeypatch.setattr(module, "EVERY", 0.0)
    with module.progress("Asking", total) as advance:
        for _ in range(20):
            advance(1, "a note")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 20
    assert re.search(f"^Asking: {left}", lines[-1])


def test_lines_come_every_ten_seconds(capfd, monkeypatch):
    now = iter([0.0, 4.0, 9.0, 11.0, 15.0, 22.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    say = module.PlainLines("comparing", 8, "runs", done=2)
    for done in range(3, 8):
        say(done)
    assert capfd.readouterr().err == (
        "comparing: 5 of 8 runs, 0.3/s, 0:11 left\ncomparing: 7 of 8 runs, 0.2/s, 0:04 left\n"
    )


def test_a_comparison_without_a_terminal_says_lines(capfd, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0.0)
    for show in (False, True):
        with RunsBar(2, 0, show) as bar:
            bar.advance("kd, seed 0")
    assert re.fullmatch(r"comparing: 1 of 2 runs, \S+/s, \S+ left, kd, seed 0\n", capfd.readouterr().err)


@pytest.mark.parametrize("name", ["[red]a[/blue]", "a\x1b[2Jb", "[/]", "\ud800"])
def test_names_are_shown_and_not_obeyed(capfd, monkeypatch, name):
    """Of arms and data sets, which may come from a stranger's file."""
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    monkeypatch.setattr(module, "EVERY", 0.0)
    for forced in ("1", ""):
        monkeypatch.setenv("FORCE_COLOR", forced)
        monkeypatch.setenv("COLUMNS", "200")
        with module.progress(name, 4, "rows") as advance:
            advance(4, name)
        with RunsBar(2, 0, True) as bar:
            bar.start(name)
            bar.advance(name)
    shown = capfd.readouterr().err
    assert "\x1b[2J" not in shown
    assert module.one_line(name) in shown
