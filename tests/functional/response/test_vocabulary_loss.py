"""The cross-entropy of a head without its logits: the same value and gradient, in any chunks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ConfigError, DataError
from limbeck.functional.response.vocabulary_loss import head_cross_entropy


def drawn(n: int, length: int, v: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    entered, weight, bias = (
        torch.randn(shape, generator=g, dtype=torch.float64) for shape in ((n, length, 3), (v, 3), (v,))
    )
    classes = torch.randint(v, (n, length), generator=g)
    return entered, weight, bias, torch.where(torch.rand(n, length, generator=g) < 0.3, -100, classes)


@given(
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(2, 9),
    st.integers(1, 7),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([(1.0, None), (0.25, None), (3.0, 2.0), (1.0, 1.5)]),
)
@settings(max_examples=40, deadline=None)
def test_it_equals_that_of_the_logits_in_any_chunks(
    n: int, length: int, v: int, chunk: int, smoothing: float, form: tuple[float, float | None]
) -> None:
    entered, weight, bias, classes = drawn(n, length, v)
    inputs = [x.requires_grad_() for x in (entered, weight, bias)]
    scale, cap = form
    found = head_cross_entropy(
        entered, weight, classes, bias=bias, label_smoothing=smoothing, scale=scale, softcap=cap, chunk=chunk
    )
    logits = scale * F.linear(entered, weight, bias)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    wanted = F.cross_entropy(
        logits.flatten(0, 1), classes.flatten(), label_smoothing=smoothing, reduction="sum", ignore_index=-100
    )
    torch.testing.assert_close(found.double(), wanted)
    if (classes >= 0).any():
        for one, other in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(wanted, inputs)):
            torch.testing.assert_close(one, other)


def test_by_hand() -> None:
    """Two classes, the right one three times as likely: ln(4 / 3)."""
    entered, weight = torch.tensor([[1.0]]), torch.tensor([[math.log(3)], [0.0]])
    assert float(head_cross_entropy(entered, weight, torch.tensor([0]))) == pytest.approx(math.log(4 / 3))


@pytest.mark.parametrize("form", [{}, {"scale": 0.3}, {"scale": 2.0, "softcap": 1.5}])
def test_gradcheck(form: dict[str, float]) -> None:
    entered, weight, bias, classes = drawn(2, 3, 4)
    inputs = tuple(x.requires_grad_() for x in (entered, weight, bias))
    assert torch.autograd.gradcheck(
        lambda e, w, b: head_cross_entropy(e, w, classes, bias=b, chunk=2, **form), inputs
    )


def test_nothing_known_is_zero_with_a_gradient_path() -> None:
    entered, weight, _, classes = drawn(2, 3, 4)
    loss = head_cross_entropy(
        entered.requires_grad_(), weight.requires_grad_(), torch.full_like(classes, -100)
    )
    loss.backward()
    assert float(loss.detach()) == 0
    assert not entered.grad.any()
    assert not weight.grad.any()


def test_half_precision_is_widened() -> None:
    entered, weight, _, classes = drawn(2, 3, 4)
    loss = head_cross_entropy(entered.bfloat16(), weight.bfloat16(), classes)
    assert loss.dtype == torch.float32


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="softcap must be > 0, got 0"):
        head_cross_entropy(
            torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(2, dtype=torch.int64), softcap=0.0
        )
    with pytest.raises(DataError, match=r"entered \(2, 3\) must be"):
        head_cross_entropy(torch.zeros(2, 3), torch.zeros(4, 5), torch.zeros(2, dtype=torch.int64))
