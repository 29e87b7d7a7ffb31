"""What holds for every loss of a pair of sides: nothing to the teacher, zero at equality, sums of halves, edges.

Values of the references are in ``tests/golden``; formulas and what is a loss's own in the files beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from levels import some_of
from torch import Tensor

from limbeck import functional as L

C = 5


def labels(n: int) -> Tensor:
    return torch.arange(n) * 2 % C


def of_labels(loss: Callable[..., Tensor], s: Tensor, t: Tensor, **settings: object) -> Tensor:
    return loss(s, t, labels(len(s)), **settings)


def margins(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    return L.partial_squares(s, t, torch.tensor([-0.5, -1.0, -0.2], dtype=t.dtype), **settings)


def layers(loss: Callable[..., Tensor], s: Tensor, t: Tensor, **settings: object) -> Tensor:
    return loss((s, s * 0.5), (t, t * 0.5), **settings)


def three(loss: Callable[..., Tensor], s: Tensor, t: Tensor, **settings: object) -> Tensor:
    return loss((s, s * 0.5, s + 1), (t, t * 0.5, t + 1), **settings)


def kept(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    """Of the teacher the first three tokens."""
    ids = torch.arange(3).expand(*s.shape[:-1], 3)
    return L.sparse_divergence(s, ids, t.log_softmax(-1)[..., :3], **settings)


def order(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    return L.pair_ranking(s, t.softmax(-1), **settings)


@dataclass(frozen=True)
class Kind:
    """A loss, the shape of a row, whether it is zero at equality, and whether ``none`` gives one value a row."""

    loss: Callable[..., Tensor]
    row: tuple[int, ...]
    zero: bool = True
    by_row: bool = True
    of_scale: bool = True  # its value grows with the numbers, so that 1e20 need not be finite


LOGITS, TOKENS, SCORES, MAPS = (C,), (4, 6), (2, 3, 3), (3, 4, 4)
KINDS = {
    "attention_mse": Kind(L.attention_mse, SCORES, by_row=False),
    "attention_mse heads": Kind(partial(L.attention_mse, heads="sum"), SCORES, by_row=False),
    "attention_cross_entropy": Kind(L.attention_cross_entropy, SCORES, zero=False, by_row=False),
    "attention_cross_entropy heads": Kind(
        partial(L.attention_cross_entropy, heads="mean"), SCORES, zero=False, by_row=False
    ),
    "aligned_map_kl": Kind(L.aligned_map_kl, SCORES),
    "partial_attention_gap": Kind(partial(three, partial(L.partial_attention_gap, heads=2)), TOKENS),
    "token_relations": Kind(partial(L.token_relations, heads=2), TOKENS, by_row=False),
    "normalised_gap": Kind(L.normalised_gap, MAPS),
    "normalised_gap p": Kind(partial(L.normalised_gap, p=2.0, q=3.0), MAPS),
    "partial_squares": Kind(margins, MAPS),
    "pyramid_mse": Kind(L.pyramid_mse, MAPS),
    "channel_similarity": Kind(L.channel_similarity, MAPS),
    "singular_vector_gap": Kind(partial(layers, partial(L.singular_vector_gap, vectors=2)), MAPS),
    "flow_gap": Kind(partial(layers, L.flow_gap), TOKENS, by_row=False),
    "flow_gap tokens": Kind(partial(layers, partial(L.flow_gap, between="tokens")), TOKENS, by_row=False),
    "margin_mse": Kind(L.margin_mse, LOGITS, by_row=False),
    "pair_ranking": Kind(order, LOGITS, zero=False),
    "pair_ranking hinge": Kind(partial(order, kind="hinge"), LOGITS, zero=False),
    "weighted_soft_labels": Kind(partial(of_labels, L.weighted_soft_labels), LOGITS, zero=False),
    "enhanced_target": Kind(partial(of_labels, L.enhanced_target), LOGITS, zero=False),
    "prediction_mse": Kind(L.prediction_mse, LOGITS),
    "non_target_kl": Kind(partial(of_labels, L.non_target_kl), LOGITS),
    "non_target_kl official": Kind(
        partial(of_labels, partial(L.non_target_kl, variant="official")), LOGITS
    ),
    "sparse_divergence": Kind(partial(kept, temperature=2.0), LOGITS),
    "sparse_divergence tv": Kind(partial(kept, kind="tv"), LOGITS),
    "sparse_divergence k": Kind(partial(kept, rest="renormalised"), LOGITS, zero=False),
    "sorted_l1": Kind(L.sorted_l1, TOKENS),
}  # fmt: skip
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
    if (
        kind.loss is KINDS["weighted_soft_labels"].loss
    ):  # its weight is detached: a difference quotient sees it move
        t_only = torch.autograd.grad(kind.loss(s, t), t, allow_unused=True)
    else:
        assert torch.autograd.gradcheck(lambda x: kind.loss(x, t.detach()), s)
        t_only = torch.autograd.grad(kind.loss(s, t), t, allow_unused=True)
    assert t_only == (None,)


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


PERMUTED = ("enhanced_target", "weighted_soft_labels", "non_target_kl", "sorted_l1", "pair_ranking")


@pytest.mark.parametrize("name", PERMUTED)
def test_blind_to_the_order_of_classes(name: str) -> None:
    kind = KINDS[name]
    s, t, back = rows(kind, 4, 0), rows(kind, 4, 1), torch.randperm(kind.row[-1])
    if name in PERMUTED[:3]:
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


@pytest.mark.parametrize("name", ["sparse_divergence", "sparse_divergence tv", "pair_ranking"])
def test_hidden_positions_count_nothing(name: str) -> None:
    kind = KINDS[name]
    s, t, mask = rows(kind, 3, 0).requires_grad_(), rows(kind, 3, 1), torch.tensor([1, 0, 1])
    torch.testing.assert_close(kind.loss(s, t, mask=mask), kind.loss(s[[0, 2]], t[[0, 2]]))
    nothing = kind.loss(s, t, mask=0 * mask)
    assert float(nothing) == 0
    assert not torch.autograd.grad(nothing, s)[0].any()
