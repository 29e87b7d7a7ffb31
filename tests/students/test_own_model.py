"""Networks of one's own: imported only where somebody said so, and what fails in them is told by its line."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError, UnknownNameError
from limbeck.students.own_model import check_trusted, is_own, name_of_own, own_model, own_models

SOURCE = """
open({marker!r}, "w").close()
from torch import nn

def make(n_classes, width=4):
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, n_classes))

def broken():
    rows = [1, 2]
    return rows[5]

def a_list():
    return [1]
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module on the path; the fixture is the file that it writes when it is imported."""
    marker = tmp_path / "marker"
    (tmp_path / "own_net.py").write_text(SOURCE.format(marker=str(marker)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    yield marker
    sys.modules.pop("own_net", None)


@pytest.mark.parametrize(
    ("spec", "own"),
    [("a.b:make", True), ("net:Net", True), ("hf:bert", False), ("minilm", False), ("hf:./a:b", False)],
)
def test_a_module_and_a_name_are_a_model_of_ones_own(spec, own):
    assert is_own(spec) == own


def test_nothing_is_imported_unless_it_is_trusted(module):
    for look in (check_trusted, lambda spec: own_model(spec, 3, {})):
        with pytest.raises(ConfigError, match="--trust-code"):
            look("own_net:make")
    assert not module.exists()
    with own_models(trust_code=True):
        assert own_model("own_net:make", 3, {"width": 5})[2].weight.shape == (3, 5)
    assert module.exists()
    with pytest.raises(ConfigError, match="--trust-code"):
        own_model("own_net:make", 3, {})


@pytest.mark.parametrize(
    ("spec", "config", "error", "said"),
    [
        ("own_net:mak", {}, UnknownNameError, "make"),
        ("no_such_net:make", {}, UnknownNameError, "no module 'no_such_net'"),
        ("own_net:make", {"widht": 3}, UnknownNameError, "width"),
        ("own_net:broken", {}, ConfigError, r"own_net.py, line 10 \(broken\): IndexError"),
        ("own_net:a_list", {}, ConfigError, "made a list"),
    ],
)
def test_what_is_wrong_is_one_sentence(module, spec, config, error, said):
    with own_models(trust_code=True), pytest.raises(error, match=said):
        own_model(spec, 3, config)


def test_a_given_module_is_copied_and_takes_no_config():
    net = nn.Linear(2, 3)
    name = name_of_own(net)
    assert is_own(name)
    with own_models(given={name: net}):
        made = own_model(name, 3, {})
        with pytest.raises(ConfigError, match="no config"):
            own_model(name, 3, {"width": 1})
    assert made is not net
    assert torch.equal(made.weight, net.weight)
