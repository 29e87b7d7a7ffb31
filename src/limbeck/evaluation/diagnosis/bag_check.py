"""Do the bags fit the labels? Asked once, before a training that would make any bags look right.

Axis legend: n rows in bags, l labelled rows, g bags, C classes, d feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.evaluation.diagnosis.reach import reach
from limbeck.evaluation.diagnosis.student_rows import shown
from limbeck.evaluation.diagnosis.wrong_links import wrong_share
from limbeck.signals.links.base import Link
from limbeck.students.student import Student

FEWEST_BAGS, MOST_LABELLED = 8, 2048


def label_predictions(features_l: Tensor, labels: Tensor, features: Tensor, n_classes: int) -> Tensor:
    """Soft predictions ``[n, C]`` for ``features [n, d]`` by ridge regression on labelled ones ``[l, d]``.

    Columns are standardised by ``features``; the ridge is the mean of the kernel's diagonal, which suits a
    handful of labels; scores are scaled to standard deviation 2 before the softmax.
    """
    mean, spread = features.mean(0), features.std(0).clamp(min=1e-6)
    x, x_l = ((f - mean) / spread for f in (features, features_l))
    kernel = x_l @ x_l.T
    ridge = kernel.diagonal().mean().clamp(min=1e-9) * torch.eye(len(x_l))
    targets = F.one_hot(labels, n_classes).to(x.dtype) - 1 / n_classes
    scores = x @ x_l.T @ torch.linalg.solve(kernel + ridge, targets)
    scores = scores - scores.mean(0)
    return (2 * scores / scores.std().clamp(min=1e-9)).softmax(1)


def bag_warning(student: Student, examples: Examples, link: Link, bank: Bank) -> str | None:
    """A sentence if a share of the bags clearly looks like somebody else's; None if not, or if it cannot be told (no
    teacher predictions, fewer than 8 bags, labels of fewer than two classes).

    The judge is a ridge regression of the labels on the features of the student as it stands, before it has seen
    a bag; labelled rows that lie in bags count with their labels.
    """
    if not {"logits", "log_probs"} & bank.signals or examples.problem.classes(examples.targets) is None:
        return None
    labelled = torch.nonzero(examples.labels >= 0).squeeze(1)
    labelled = labelled[:: max(1, -(-len(labelled) // MOST_LABELLED))]
    reached = reach(link, bank, examples)
    if (
        reached.group is None
        or len(reached.bags) < FEWEST_BAGS
        or len(examples.labels[labelled].unique()) < 2
    ):
        return None
    features = shown(student, examples, torch.cat([labelled, reached.rows])).features
    n, n_classes = len(labelled), len(examples.class_names)
    q = label_predictions(features[:n], examples.labels[labelled], features[n:], n_classes)
    known = examples.labels[reached.rows]
    q[known >= 0] = F.one_hot(known[known >= 0], n_classes).to(q.dtype)
    found = wrong_share(q, reached.group, reached.bags)
    if not found.is_clear(n / n_classes, float(reached.said.exp().max(1).values.mean())):
        return None
    return (
        f"About {found.share:.0%} of the bags (at least {found.low:.0%}) look like somebody else's: what {n} labelled "
        f"rows say of the rows in {found.n} bags does not fit the teacher's proportions of these bags. Check that the "
        "groups of both sides belong together; wrong bags make a student worse than no teacher. (A teacher that errs "
        "on these rows can look like this; `limbeck diagnose` tells the two apart where rows in bags have labels.)"
    )
