"""What holds for every loss of a pair of sides: nothing to the teacher, zero at equality, sums of halves, edges.

Values of the references are in ``tests/golden``; formulas and what is a loss's own in the files beside this one.
"""

from __future__ import annotations

import pytest
import torch
from functional.kinds import KINDS, Kind, labels, order
from levels import some_of
from torch import Tensor

from limbeck import functional as L

every = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def rows(kind: Kind, n: int, seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(n, *kind.row, generator=generator, dtype=torch.float64)).to(dtype)


@every
def test_zero_at_equality_alone(kind: Kind) -> None:
    s, t = rows(kind, 4, 0), rows(kind, 4, 1)
    same, other = float(kind.loss(t.clone(), t)), float(kind.loss(s, t))
    assert abs(same) < 1e-9 if kind.zero else same > 0
    assert other > 1e-4


@every
def test_gradcheck_and_nothing_to_the_teacher(kind: Kind) -> None:
    s, t = rows(kind, 3, 0).requires_grad_(), rows(kind, 3, 1).requires_grad_()
    if not kind.held:
        assert torch.autograd.gradcheck(lambda x: kind.loss(x, t.detach()), s)
    (to_t,) = torch.autograd.grad(kind.loss(s, t), t, allow_unused=True)
    assert (to_t is not None) == kind.both


@every
def test_reductions_and_sums_over_halves(kind: Kind) -> None:
    s, t = rows(kind, 4, 0), rows(kind, 4, 1)
    none, total = kind.loss(s, t, reduction="none"), kind.loss(s, t, reduction="sum")
    torch.testing.assert_close(kind.loss(s[:2], t[:2], reduction="none"), none[:2])
    assert len(none) == 4
    if kind.by_row:
        assert none.shape == (4,)
    if kind.loss not in (order, KINDS["pair_ranking hinge"].loss):  # whose rows are means over their pairs
        torch.testing.assert_close(none.sum(), total)
        torch.testing.assert_close(none.mean(), kind.loss(s, t))


@every
@pytest.mark.parametrize(
    ("n", "scale"),
    some_of([(n, scale) for n in (0, 1, 2) for scale in (0.0, 1.0, 1e4)], (0, 1.0), (1, 1e4), (2, 0.0)),
)
def test_edges_are_finite(kind: Kind, n: int, scale: float) -> None:
    """No row, one, two; all equal; a sure teacher."""
    s = rows(kind, n, 0, scale, torch.float32).requires_grad_()
    value = kind.loss(s, rows(kind, n, 1, scale, torch.float32))
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert s.grad is not None
    assert s.grad.isfinite().all()
    if n == 0:
        assert not value


@every
def test_equal_sides_have_a_finite_gradient(kind: Kind) -> None:
    t = rows(kind, 2, 0, dtype=torch.float32)
    s = t.clone().requires_grad_()
    kind.loss(s, t).backward()
    assert s.grad is not None
    assert s.grad.isfinite().all()


@every
def test_half_precision_is_widened(kind: Kind) -> None:
    s, t = (rows(kind, 2, seed, dtype=torch.bfloat16) for seed in (0, 1))
    s.requires_grad_()
    value = kind.loss(s, t)
    value.backward()
    assert value.dtype == torch.float32
    assert s.grad is not None
    assert s.grad.dtype == torch.bfloat16


OF_LABELS = ("enhanced_target", "weighted_soft_labels", "non_target_kl", "decoupled_kl")
PERMUTED = (
    *OF_LABELS, "sorted_l1", "pair_ranking", "binary_kl_norm", "distillation_kl", "soft_cross_entropy",
    "prediction_mse", "prediction_correlation rows", *(name for name in KINDS if name.startswith("divergence")),
)  # fmt: skip


@pytest.mark.parametrize("name", PERMUTED)
def test_blind_to_the_order_of_classes(name: str) -> None:
    kind = KINDS[name]
    s, t, back = rows(kind, 4, 0), rows(kind, 4, 1), torch.randperm(kind.row[-1])
    if name in OF_LABELS:
        function = getattr(L, name)
        found = function(s[:, back], t[:, back], back.argsort()[labels(4)])
    else:
        found = kind.loss(s[..., back], t[..., back])
    torch.testing.assert_close(found, kind.loss(s, t))


@pytest.mark.parametrize(
    "name", ["attention_mse", "attention_cross_entropy", "token_relations", "aligned_map_kl"]
)
def test_hidden_tokens_count_nothing(name: str) -> None:
    kind = KINDS[name]
    s, t = rows(kind, 2, 0).requires_grad_(), rows(kind, 2, 1)
    width = kind.row[0] if name == "token_relations" else kind.row[-1]
    mask = torch.ones(2, width)
    mask[0, -1] = 0
    if name == "token_relations":
        short = kind.loss(s[:1, :-1], t[:1, :-1], reduction="sum")
        long = kind.loss(s[1:], t[1:], reduction="sum")
        hidden = (0, slice(-1, None))
    else:
        short = kind.loss(s[:1, :, :-1, :-1], t[:1, :, :-1, :-1], reduction="sum")
        long = kind.loss(s[1:], t[1:], reduction="sum")
        hidden = (0, slice(None), slice(None), -1)
    torch.testing.assert_close(kind.loss(s, t, mask=mask, reduction="sum"), short + long)
    (slope,) = torch.autograd.grad(kind.loss(s, t, mask=mask), s)
    assert not slope[hidden].any()
    nothing = kind.loss(s, t, mask=torch.zeros_like(mask))
    assert float(nothing) == 0
    assert not torch.autograd.grad(nothing, s)[0].any()


MASKED = ("sparse_divergence", "sparse_divergence tv", "pair_ranking", "hint_gap", "hint_gap distance")


@pytest.mark.parametrize("name", [*MASKED, *(name for name in KINDS if name.startswith("divergence"))])
def test_hidden_positions_count_nothing(name: str) -> None:
    kind = KINDS[name]
    s, t, mask = rows(kind, 3, 0).requires_grad_(), rows(kind, 3, 1), torch.tensor([1, 0, 1])
    torch.testing.assert_close(kind.loss(s, t, mask=mask), kind.loss(s[[0, 2]], t[[0, 2]]))
    nothing = kind.loss(s, t, mask=0 * mask)
    assert float(nothing) == 0
    assert not torch.autograd.grad(nothing, s)[0].any()
