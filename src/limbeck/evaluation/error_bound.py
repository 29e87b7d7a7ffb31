r"""UCMKD's bounds on a student's error, as numbers.

.. math:: err_S \le err_T + FA + LA, \qquad FA = \min_\delta \tau_\delta W_\delta(D_T(z), D_S(z))

Axis legend: n student rows, m teacher rows, d features, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional.costs import cost_matrix
from limbeck.functional.precision import check_choice, check_finite
from limbeck.functional.response.predictions import label_alignment
from limbeck.signals.output import Head

GroundMetric = Literal["euclidean", "l1"]
MOST_ROWS = 1024  # of a side, in the transport


@dataclass(frozen=True)
class Bound:
    """Both sides of the two theorems, in nats but for ``distance``.

    Args:
        student_error: err_S, mean -log p_S(y | z) over the student's rows.
        teacher_error: err_T, the same of the teacher over its own rows.
        metric: the one whose product tau W1 is smallest.    lipschitz: tau under it, estimated.
        distance: W1 of the two clouds under it.
        feature_alignment: tau W1.    label_alignment: LA.
        right: err_T + FA + LA (Theorem 2.6).
        sampling: tau sqrt(ln(2 / delta) / 2) (1 / sqrt n + 1 / sqrt m), what Theorem 2.7 adds for finite data.
        slack: right - err_S.    finite_slack: with ``sampling``.
    """

    student_error: float
    teacher_error: float
    metric: GroundMetric
    lipschitz: float
    distance: float
    feature_alignment: float
    label_alignment: float
    right: float
    sampling: float
    slack: float
    finite_slack: float


def bound(
    features_s: Tensor,
    logits_s: Tensor,
    labels_s: Tensor,
    features_t: Tensor,
    labels_t: Tensor,
    head_t: Head,
    *,
    metrics: Sequence[GroundMetric] = ("euclidean",),
    delta: float = 0.05,
) -> Bound:
    r"""The right and the left side of Theorems 2.6 and 2.7, and the slack between them.

    err_S stands on both sides (LA = err_S - E kappa (-log p_T)) and cancels; what the theorem says is
    :math:`E_{D_S(z)} l(z) \le err_T + FA`, of the teacher's head on the student's features: nothing of the student's
    own head. So a smaller right side is no better student.

    Args:
        features_s: ``(n, d)``.    logits_s: ``(n, C)``.    labels_s: ``(n,)`` int64, -100 = none: such rows count
            in the cloud alone.
        features_t: ``(m, d)``, in the same space.    labels_t: ``(m,)``, likewise.
        head_t: the teacher's classifier, weight ``(C, d)`` and bias ``(C,)`` or None.
        metrics: over which FA takes the smallest product.    delta: in (0, 1), of Theorem 2.7.
    Source: UCMKD, arXiv 2606.10504, Theorems 2.6 and 2.7, Appendix D (kappa).
    Deviation: tau is the largest difference quotient of l(z) = -sum_y p_T(y|z) log p_T(y|z) that the rows show,
        which is no more than the true constant; D_T(y|z) is taken to be the head's. W1 is that of at most 1024 rows a
        side. Theorem 2.7's terms without constants, O(n^(-1/s)) and the VC term, are left out.
    Raises: DataError for shapes and for a side without labels; ConfigError for delta; NonFiniteError.
    """
    if not 0 < delta < 1:
        raise ConfigError(f"delta={delta} must lie between 0 and 1: it is a probability.")
    _check(features_s, logits_s, labels_s, features_t, labels_t, head_t)
    student_error = _mean_nll(logits_s, labels_s)
    teacher_error = _mean_nll(_classified(features_t, head_t), labels_t)
    aligned = label_alignment(logits_s.double(), features_s.double(), _double(head_t), labels_s)
    both = torch.cat([_few(features_s), _few(features_t)]).double()
    products = {}
    for metric in metrics:
        check_choice("metric", metric, get_args(GroundMetric))
        products[metric] = (lipschitz(both, head_t, metric), wasserstein(features_s, features_t, metric))
    metric = min(products, key=lambda name: products[name][0] * products[name][1])
    tau, distance = products[metric]
    right = teacher_error + tau * distance + float(aligned)
    roots = 1 / math.sqrt(len(features_s)) + 1 / math.sqrt(len(features_t))
    sampling = tau * math.sqrt(math.log(2 / delta) / 2) * roots
    return Bound(
        student_error, teacher_error, metric, tau, distance, tau * distance, float(aligned), right, sampling,
        right - student_error, right + sampling - student_error,
    )  # fmt: skip


def wasserstein(features_s: Tensor, features_t: Tensor, metric: GroundMetric = "euclidean") -> float:
    """Exact W1 of two clouds ``(n, d)`` and ``(m, d)`` of equal weights, in the metric's units, >= 0.

    Of each side as many rows as the smaller one has, at most 1024, evenly spaced: an assignment problem.
    """
    n = min(len(features_s), len(features_t), MOST_ROWS)
    cost = cost_matrix(_spaced(features_s, n).double(), _spaced(features_t, n).double(), metric).numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def lipschitz(features: Tensor, head_t: Head, metric: GroundMetric = "euclidean") -> float:
    """Largest difference quotient of l(z), the entropy of the head's prediction, between rows ``features (n, d)``."""
    log_p = _classified(features, head_t).log_softmax(1)
    loss = -(log_p.exp() * log_p).sum(1)
    distance = cost_matrix(features.double(), features.double(), metric)
    apart = distance > 1e-9 * distance.max()
    if not bool(apart.any()):
        return 0.0
    return float(((loss[:, None] - loss[None, :]).abs() / distance)[apart].max())


def _classified(features: Tensor, head: Head) -> Tensor:
    weight, bias = _double(head)
    logits = features.double() @ weight.T
    return logits if bias is None else logits + bias


def _double(head: Head) -> Head:
    return head[0].double(), None if head[1] is None else head[1].double()


def _mean_nll(logits: Tensor, labels: Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(logits.double(), labels))


def _few(features: Tensor) -> Tensor:
    return _spaced(features, min(len(features), MOST_ROWS // 2))


def _spaced(rows: Tensor, n: int) -> Tensor:
    return rows[torch.linspace(0, len(rows) - 1, n).round().long()]


def _check(
    features_s: Tensor, logits_s: Tensor, labels_s: Tensor, features_t: Tensor, labels_t: Tensor, head_t: Head
) -> None:
    if features_s.shape[1] != features_t.shape[1]:
        raise DataError(
            f"The bound compares features in one space; the student's are {features_s.shape[1]} wide, the teacher's "
            f"{features_t.shape[1]}: project the student's to the teacher's first."
        )
    for name, rows, labels in (("student", features_s, labels_s), ("teacher", features_t, labels_t)):
        check_finite(rows, f"the {name}'s features")
        if not len(rows) or not bool((labels >= 0).any()):
            raise DataError(f"The bound needs labelled rows of the {name}; there are none.")
    if head_t[0].shape != (logits_s.shape[1], features_t.shape[1]):
        raise DataError(
            f"The teacher's head is {tuple(head_t[0].shape)}; the bound needs (classes, width) = "
            f"{(logits_s.shape[1], features_t.shape[1])}."
        )
