"""How the embeddings of labels lie to each other: of one label over the rows, or of one row over its labels."""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import check_choice
from limbeck.functional.relations.samples import rkd_distance


def label_structure(e_s: Tensor, e_t: Tensor, positive: Tensor, *, over: str = "rows") -> Tensor:
    r"""Relative distances between embeddings of labels that are there, compared as in relational distillation.

    .. math:: \sum_g \frac{1}{n_g} \sum_{i, j \in g} \ell_1\big(\psi_D(e_s^i, e_s^j) - \psi_D(e_t^i, e_t^j)\big)

    over groups g of two or more: for each class the rows that have it, or for each row the classes that it has.

    Args:
        e_s: student embeddings of each class in each row, ``(n, c, d)``.      e_t: the teacher's, ``(n, c, d')``.
        positive: ``(n, c)`` bool, which classes a row has.
        over: ``rows``: class by class (class-aware); ``classes``: row by row (instance-aware).
    Returns: scalar >= 0, 0 where no group has two; float32 or wider.
    Needs: pairing by row; embeddings of each class on both sides.     Gradient: to ``e_s`` only.
    Source: Yang et al. (L2D, its class-aware and instance-aware terms), ICCV 2023, arXiv 2308.06453, and the authors'
        code.     Deviation: none.
    Raises: DataError for shapes; UnknownNameError for ``over``.
    Example:
        >>> e = torch.eye(3).unsqueeze(1)
        >>> float(label_structure(e, 2 * e, torch.ones(3, 1, dtype=torch.bool)))
        0.0
    """
    if e_s.dim() != 3 or e_s.shape[:2] != e_t.shape[:2] or e_t.dim() != 3 or positive.shape != e_s.shape[:2]:
        raise DataError(
            "embeddings must be (n, c, d) and (n, c, d') and labels (n, c), got "
            f"{tuple(e_s.shape)}, {tuple(e_t.shape)} and {tuple(positive.shape)}"
        )
    check_choice("over", over, ("rows", "classes"))
    if over == "rows":
        e_s, e_t, positive = e_s.transpose(0, 1), e_t.transpose(0, 1), positive.T
    total = 0.0 * e_s.sum()
    for ours, theirs, there in zip(e_s, e_t, positive):
        if (count := int(there.sum())) > 1:  # a mean over all pairs, of which each has count many
            total = total + count * rkd_distance(ours[there], theirs[there])
    return total
