"""The contestants of ``benchmarks/alignment.py``: each makes one forward and backward pass on given clouds.

Cosine cost at reg 0.1 throughout: rows on the unit sphere make ``|x - y|^2 / 2 = 1 - cos``, so geomloss with p = 2 and
blur = sqrt(0.1) solves the same problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from limbeck import functional as L

REG = 0.1
BLUR = math.sqrt(REG)
Result = tuple[Tensor, Tensor]  # value, gradient to the student
Method = Callable[[], Result]


def peers() -> tuple[Any, Any]:
    """POT and geomloss, or a sentence that says how to get them."""
    try:
        import geomloss
        import ot
    except ImportError as error:
        raise SystemExit(
            f'{error.name} is missing; the peers come with: pip install "limbeck[bench]"'
        ) from error
    return ot, geomloss


@dataclass
class Clouds:
    """Ten classes a side, centres correlated 0.7 between the sides, noise 0.7, class mixes that differ."""

    x: Tensor
    y: Tensor
    labels_x: Tensor
    labels_y: Tensor


def clouds(n: int, m: int, d: int, seed: int = 0) -> Clouds:
    g = torch.Generator().manual_seed(seed)
    one, other = torch.randn(10, d, generator=g), torch.randn(10, d, generator=g)
    mixes = torch.softmax(0.5 * torch.randn(2, 10, generator=g), 1)
    labels_x = torch.multinomial(mixes[0], n, True, generator=g)
    labels_y = torch.multinomial(mixes[1], m, True, generator=g)
    x = one[labels_x] + 0.7 * torch.randn(n, d, generator=g)
    y = (0.7 * one + math.sqrt(0.51) * other)[labels_y] + 0.7 * torch.randn(m, d, generator=g)
    return Clouds(x, y, labels_x, labels_y)


def graded(x: Tensor, loss: Callable[[Tensor], Tensor]) -> Method:
    def once() -> Result:
        leaf = x.clone().requires_grad_()
        value = loss(leaf)
        value.backward()
        assert leaf.grad is not None
        return value.detach(), leaf.grad

    return once


def cosine_cost(x: Tensor, y: Tensor) -> Tensor:
    return 1.0 - normalize(x) @ normalize(y).T


def entropic(c: Clouds, with_geomloss: bool = True) -> dict[str, Method]:
    """Transport as the peers offer it, and ours."""
    ot, geomloss = peers()
    a, b = torch.full((len(c.x),), 1 / len(c.x)), torch.full((len(c.y),), 1 / len(c.y))

    def solve(**more: Any) -> Callable[[Tensor], Tensor]:
        return lambda x: (
            ot.solve(cosine_cost(x, c.y), reg=REG, reg_type="KL", grad="envelope", max_iter=100, **more).value
        )

    methods = {
        "ours sharp": graded(c.x, lambda x: L.transport_cost(x, c.y)),
        "ours dual": graded(c.x, lambda x: L.transport_cost(x, c.y, value="dual")),
        "POT sinkhorn2": graded(
            c.x, lambda x: ot.sinkhorn2(a, b, cosine_cost(x, c.y), REG, numItermax=100, warn=False)
        ),
        "POT envelope": graded(c.x, solve()),
        "POT envelope 1e-4": graded(c.x, solve(tol=1e-4)),
    }
    if with_geomloss:
        biased = geomloss.SamplesLoss(
            "sinkhorn", p=2, blur=BLUR, scaling=0.99, debias=False, backend="tensorized"
        )
        methods["geomloss .99"] = graded(c.x, lambda x: biased(normalize(x), normalize(c.y)))
    return methods


def in_bags(c: Clouds, rows: int) -> dict[str, Method]:
    """Mean cost inside bags of ``rows`` rows a side, one bag after another and all at once."""
    group = torch.arange(len(c.x)) // rows
    of_bag = [group == bag for bag in group.unique()]

    def loop(x: Tensor) -> Tensor:
        return torch.stack([L.transport_cost(x[k], c.y[k]) for k in of_bag]).mean()

    return {
        "loop": graded(c.x, loop),
        "together": graded(c.x, lambda x: L.transport_in_bags(x, c.y, group, group)),
    }


def divergences(c: Clouds) -> dict[str, Method]:
    _, geomloss = peers()
    debiased = geomloss.SamplesLoss("sinkhorn", p=2, blur=BLUR, scaling=0.5, backend="tensorized")
    term = L.sinkhorn_teacher_term(normalize(c.y), blur=BLUR)
    return {
        "ours divergence": graded(
            c.x, lambda x: L.sinkhorn_divergence(normalize(x), normalize(c.y), blur=BLUR, teacher_term=term)
        ),
        "geomloss div .5": graded(c.x, lambda x: debiased(normalize(x), normalize(c.y))),
    }


def others(c: Clouds) -> dict[str, Method]:
    """Sliced Wasserstein and energy distance; what depends on the teacher alone is computed beforehand."""
    ot, geomloss = peers()
    directions = L.projection_directions(c.x.shape[1], 128, generator=torch.Generator().manual_seed(0))
    in_order = L.sorted_projections(c.y, directions)
    term = L.mmd_teacher_term(c.y, kernel="energy", unbiased=False)
    energy = geomloss.SamplesLoss("energy", backend="tensorized")
    return {
        "ours sliced": graded(
            c.x,
            lambda x: L.sliced_wasserstein(x, None, projections=directions, teacher_sorted=in_order),
        ),
        "POT sliced": graded(
            c.x, lambda x: ot.sliced_wasserstein_distance(x, c.y, n_projections=128, seed=0)
        ),
        "ours energy": graded(
            c.x, lambda x: L.mmd(x, c.y, kernel="energy", unbiased=False, teacher_term=term)
        ),
        "geomloss energy": graded(c.x, lambda x: energy(x, c.y)),
    }


def reference(c: Clouds, value: str) -> Result:
    """Float64, converged: what equal accuracy is measured against."""
    x = c.x.double().requires_grad_()
    got = L.transport_cost(x, c.y.double(), value=value, tol=1e-9, max_iter=20000)  # type: ignore[arg-type]
    got.backward()
    assert x.grad is not None
    return got.detach(), x.grad


@dataclass
class Vocabulary:
    """Distillation over a big vocabulary: hidden states and heads of student and teacher."""

    hidden_s: Tensor
    weight_s: Tensor
    hidden_t: Tensor
    weight_t: Tensor

    @classmethod
    def make(cls, tokens: int, width: int, words: int) -> Vocabulary:
        g = torch.Generator().manual_seed(0)
        return cls(
            torch.randn(tokens, width, generator=g).requires_grad_(),
            (0.05 * torch.randn(words, width, generator=g)).requires_grad_(),
            torch.randn(tokens, width, generator=g),
            0.05 * torch.randn(words, width, generator=g),
        )

    def run(self, loss: Callable[..., Tensor]) -> None:
        self.hidden_s.grad = self.weight_s.grad = None
        loss(self.hidden_s, self.weight_s, self.hidden_t, self.weight_t).backward()


def naive_kl(hidden_s: Tensor, weight_s: Tensor, hidden_t: Tensor, weight_t: Tensor) -> Tensor:
    log_s, log_t = (hidden_s @ weight_s.T).log_softmax(-1), (hidden_t @ weight_t.T).log_softmax(-1)
    return torch.nn.functional.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def naive_jsd(hidden_s: Tensor, weight_s: Tensor, hidden_t: Tensor, weight_t: Tensor) -> Tensor:
    log_s, log_t = (hidden_s @ weight_s.T).log_softmax(-1), (hidden_t @ weight_t.T).log_softmax(-1)
    middle = torch.logaddexp(log_s, log_t) - math.log(2)
    kl = torch.nn.functional.kl_div
    return 0.5 * (
        kl(middle, log_s, reduction="batchmean", log_target=True)
        + kl(middle, log_t, reduction="batchmean", log_target=True)
    )
