"""SinKD: Sinkhorn on the predictions of a whole batch."""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.costs import cost_matrix
from limbeck.functional.hand_gradients import nothing_to_compare
from limbeck.functional.precision import check_finite, check_positive, explained, widened, without_autocast


@explained
@without_autocast
def sinkd(
    logits_s: Tensor,
    logits_t: Tensor,
    *,
    temperature: float = 2.0,
    reg: float = 0.1,
    sweeps: int = 20,
    scale: float = 1e-3,
    validate: bool = False,
) -> Tensor:
    r"""Batch-wise Sinkhorn distance between student and teacher predictions.

    .. math:: W_{ij} = \lVert p_s(i) - p_t(j) \rVert_1, \quad K = e^{-W / \varepsilon} \text{, rows and columns
        normalised in turn}, \quad \text{out} = scale \cdot \sum K W

    Args:
        logits_s: student logits, ``(n, C)``.      logits_t: teacher logits, ``(m, C)``.
        temperature: > 0, default 2 (the authors' code ignores its argument and takes 2).
        reg: epsilon > 0, in units of W, which lies in [0, 2].
        sweeps: row and column normalisations, default 20.
        scale: factor of the result; 0.001 is built into the authors' code.
        validate: refuse NaN and Inf, naming their rows.
    Returns: scalar >= 0; columns end with sum 1, so it grows with m (the mass is m, not 1).
    Needs: pairing none, though made for one batch seen by both; teacher logits; memory O(nm sweeps).
    Gradient: to both, through the sweeps.
    Source: Cui et al., LREC-COLING 2024, arXiv 2402.17110; github.com/2018cx/SinKD.    Deviation: none.
    Raises: DataError if the numbers of classes differ; ConfigError for temperature or reg <= 0; NonFiniteError.
    Limits: an empty batch gives 0.
    Example:
        >>> float(sinkd(torch.zeros(2, 3), torch.zeros(2, 3)))
        0.0
    """
    check_positive("temperature", temperature)
    check_positive("reg", reg)
    if logits_s.dim() != 2 or logits_t.dim() != 2 or logits_s.shape[1] != logits_t.shape[1]:
        raise DataError(
            f"logits must be (n, C) and (m, C) with one C, got {tuple(logits_s.shape)} and {tuple(logits_t.shape)}"
        )
    if validate:
        check_finite(logits_s, "logits_s")
        check_finite(logits_t, "logits_t")
    logits_s, logits_t = widened(logits_s, logits_t)
    if not len(logits_s) or not len(logits_t):
        return nothing_to_compare(logits_s, logits_s.dtype)
    distance = cost_matrix((logits_s / temperature).softmax(1), (logits_t / temperature).softmax(1), "l1")
    log_plan = distance / -reg
    for _ in range(sweeps):
        log_plan = log_plan.log_softmax(1).log_softmax(0)
    return scale * (log_plan.exp() * distance).sum()
