"""The bar is silent for short work and says rate and remaining time for long work."""

import pytest

import limbeck.progress as module


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
