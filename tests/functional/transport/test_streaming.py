"""A teacher in blocks gives what the teacher in one tensor gives, dense or pass by pass."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from limbeck.errors import ConfigError, DataError, NonFiniteError
from limbeck.functional import transport_cost
from limbeck.functional.transport import streaming

TIGHT = {"tol": 1e-10, "max_iter": 5000}


def clouds(n=12, m=90, d=6):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=g).double(), torch.randn(m, d, generator=g).double()


def graded(x, y, **options):
    x = x.clone().requires_grad_()
    value = transport_cost(x, y, **options)
    value.backward()
    return value.detach(), x.grad


@pytest.mark.parametrize("dense_bytes", [2**28, 0])
@pytest.mark.parametrize("value", ["sharp", "dual"])
@pytest.mark.parametrize("cost", ["cosine", "sqeuclidean", "chordal"])
def test_agrees_with_one_tensor(cost, value, dense_bytes, monkeypatch):
    monkeypatch.setattr(streaming, "DENSE_BYTES", dense_bytes)
    x, y = clouds()
    w = torch.rand(90).double() + 0.1
    options = {
        "cost": cost,
        "value": value,
        "reg": 1.0 if cost == "sqeuclidean" else 0.2,
        "weights_t": w,
        **TIGHT,
    }
    for got, expected in zip(graded(x, lambda: y.split(25), **options), graded(x, y, **options)):
        torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-10)


def test_passes_at_the_default_stop_in_float32(monkeypatch):
    monkeypatch.setattr(streaming, "DENSE_BYTES", 0)
    x, y = clouds(32, 300, 16)
    for value in ("sharp", "dual"):
        got, gradient = graded(x.float(), lambda: y.half().split(64), value=value)
        expected, direction = graded(x, y, value=value, **TIGHT)
        assert float(got) == pytest.approx(float(expected), rel=1e-3)
        assert float(torch.cosine_similarity(gradient.double().flatten(), direction.flatten(), 0)) > 0.999


def test_blocks_may_be_outputs_of_a_bank():
    x, y = clouds()
    got = transport_cost(x, lambda: (SimpleNamespace(features=part) for part in y.split(30)))
    torch.testing.assert_close(got, transport_cost(x, y))


def test_one_generator_is_refused():
    x, y = clouds()
    once = iter(y.split(30))
    x.requires_grad_()
    with pytest.raises(DataError, match="changed between passes"):
        transport_cost(x, lambda: once)
    with pytest.raises(ConfigError, match="anew at every call"):
        transport_cost(x, iter(y.split(30)))


def test_refusals(monkeypatch):
    x, y = clouds()
    with pytest.raises(ConfigError, match="named cost"):
        transport_cost(x, lambda: [y], cost=lambda a, b: a @ b.T)
    with pytest.raises(ConfigError, match="reg_scale='median'"):
        transport_cost(x, lambda: [y], reg_scale="median")
    y[31] = torch.nan
    with pytest.raises(NonFiniteError, match="block from row 30"):
        transport_cost(x, lambda: y.split(30), validate=True)
    monkeypatch.setattr(streaming, "DENSE_BYTES", 0)
    with pytest.raises(ConfigError, match="does not fit"):
        transport_cost(x, lambda: y[:30].split(10), return_info="plan")


def test_no_rows():
    x, _ = clouds()
    with pytest.warns(RuntimeWarning, match="no rows"):
        assert float(transport_cost(x, list)) == 0.0
