"""The losses of a pair of sides, how each is called, and what holds for it; see ``test_every_loss``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
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


def nd(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    centres = torch.linspace(-1, 2, s.shape[1], dtype=t.dtype).expand(len(s), -1)
    return L.norm_and_direction(s, t, centres, **settings)


def many(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    """Three groups of the student's."""
    return L.many_to_one(s.repeat(1, 3), t, **settings)


def normal(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    return L.variational_nll(s, t, torch.tensor([2.5, 3.0, 2.0], dtype=t.dtype), **settings)


def patches(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    return L.hidden_patch_mse(s, t, torch.tensor([1, 0, 1, 1]).expand(len(s), 4), **settings)


def clusters(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    return L.cluster_contrast(s, t, torch.eye(C, dtype=t.dtype), temperature=0.5, **settings)


def soft(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    return L.soft_cross_entropy(s, t.softmax(-1), **settings)


def alignment(s: Tensor, t: Tensor, **settings: object) -> Tensor:
    """The teacher's head on the student's own features."""
    head = (torch.linspace(-1, 1, C * C, dtype=t.dtype).reshape(C, C) + 0 * t.detach().sum(), None)
    return L.label_alignment(s, s, head, labels(len(s)), **settings)


@dataclass(frozen=True)
class Kind:
    """A loss, the shape of a row, whether it is zero at equality, and whether ``none`` gives one value a row."""

    loss: Callable[..., Tensor]
    row: tuple[int, ...]
    zero: bool = True
    by_row: bool = True
    both: bool = False  # what it is given of the teacher learns too (the projections of ARMADA)
    held: bool = False  # a weight in it carries no gradient, which a difference quotient sees move


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
    "weighted_soft_labels": Kind(
        partial(of_labels, L.weighted_soft_labels), LOGITS, zero=False, held=True
    ),
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
    "cluster_contrast": Kind(clusters, LOGITS, zero=False),
    "cluster_contrast shares": Kind(partial(clusters, target="shares"), LOGITS, zero=False),
    "hint_mse": Kind(L.hint_mse, LOGITS, by_row=False),
    "hint_gap": Kind(L.hint_gap, LOGITS),
    "hint_gap distance": Kind(partial(L.hint_gap, kind="distance"), LOGITS),
    "norm_and_direction": Kind(nd, LOGITS, zero=False),
    "explanation_gap": Kind(L.explanation_gap, (4, 4)),
    "pair_cosine_gap": Kind(L.pair_cosine_gap, LOGITS, both=True),
    "pair_distance": Kind(L.pair_distance, LOGITS, both=True),
    "attention_transfer": Kind(L.attention_transfer, MAPS),
    "attention_transfer official": Kind(partial(L.attention_transfer, power=3.0, variant="official"), MAPS),
    "neuron_selectivity": Kind(L.neuron_selectivity, MAPS),
    "many_to_one": Kind(many, LOGITS),
    "variational_nll": Kind(normal, MAPS, zero=False, by_row=False),
    "hidden_patch_mse": Kind(partial(patches, standardise=False), TOKENS),
    "hidden_patch_mse standardised": Kind(patches, TOKENS, zero=False),
    "binary_kl": Kind(L.binary_kl, LOGITS, by_row=False),
    "binary_kl_norm": Kind(L.binary_kl_norm, LOGITS),
    "decoupled_kl": Kind(partial(of_labels, L.decoupled_kl), LOGITS),
    "prediction_correlation rows": Kind(partial(L.prediction_correlation, over="classes"), LOGITS),
    "distillation_kl": Kind(L.distillation_kl, LOGITS),
    "soft_cross_entropy": Kind(soft, LOGITS, zero=False),
    "label_alignment": Kind(alignment, LOGITS, zero=False, held=True),
    **{
        f"divergence {kind}": Kind(partial(L.divergence, kind=kind), LOGITS)
        for kind in ("forward_kl", "reverse_kl", "jsd", "skew", "skew_reverse", "symmetric", "tv", "mse")
    },
}  # fmt: skip
