"""A critic tells made samples from real ones; what it and its maker go down."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from limbeck.errors import DataError


def wasserstein_critic(
    critic: Callable[[Tensor], Tensor],
    made: Tensor,
    real: Tensor,
    *,
    penalty: float = 10.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""What a Wasserstein critic goes down: :math:`E[f(made)] - E[f(real)] + \lambda E[(\|\nabla f(\hat x)\| - 1)^2]`.

    :math:`\hat x` lies at a random place between a made and a real sample. Made samples go down
    ``-critic(made).mean()``.

    Args:
        critic: samples ``[n, ...]`` to ``[n]`` or ``[n, 1]``.
        made, real: ``[n, ...]`` and ``[m, ...]``; pairs of the first min(n, m) are mixed for the penalty.
        penalty: :math:`\lambda`, at least 0.    generator: of the places between.
    Returns: a mean, in the dtype of the samples; 0 where a side is empty.
    Needs: nothing of what belongs to what.    Gradient: to the critic; to ``made`` and ``real`` unless they are
    detached.
    Source: Gulrajani et al., NeurIPS 2017, arXiv 1704.00028, algorithm 1.    Deviation: none.
    Raises: DataError for samples of different shapes.
    Example:
        >>> float(wasserstein_critic(lambda x: x.sum(1), torch.zeros(2, 1), torch.ones(2, 1), penalty=0.0))
        -1.0
    """
    if made.shape[1:] != real.shape[1:]:
        raise DataError(f"Made samples are {list(made.shape[1:])}, real ones {list(real.shape[1:])}.")
    n = min(len(made), len(real))
    if n == 0:
        return 0.0 * (made.sum() + real.sum())
    gap = critic(made).mean() - critic(real).mean()
    if penalty == 0:
        return gap
    share = torch.rand((n, *(1,) * (made.dim() - 1)), generator=generator).to(made)
    between = (share * real[:n] + (1 - share) * made[:n]).detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return gap + penalty * (slope.flatten(1).norm(dim=1) - 1).square().mean()
