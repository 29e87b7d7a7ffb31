"""Do the bags fit the labels? Asked once, before a training that would make any bags look right.

Axis legend: n rows in bags, l labelled rows, g bags, C classes, d feature width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.seeding import keyed_generator
from limbeck.signals.links.bagged import Bagged
from limbeck.students.student import Student
from limbeck.training.collator import DistillationCollator

SIGNIFICANT = 0.01
FEWEST_BAGS, MOST_BAGS, MOST_LABELLED = 8, 256, 2048


@dataclass(frozen=True)
class BagAgreement:
    """How well predictions fit the proportions of their bags.

    Args:
        z: distance of the true assignment from the shuffled ones, in standard deviations of these.
        p_value: share of assignments (the true one included) that fit at least as well.
    """

    z: float
    p_value: float


def bag_agreement(
    predictions: Tensor,
    group: Tensor,
    proportions: Tensor,
    *,
    generator: torch.Generator,
    n_shuffles: int = 999,
) -> BagAgreement:
    r"""Permutation test of the bag likelihood under the true assignment of proportions to bags.

    .. math:: \sum_i \log \sum_c q_i(c)\, p_{b(i)}(c)

    Args:
        predictions: ``[n, C]``, rows sum to 1; they must not have been trained on the bags.
        group: ``[n]`` bag of each row, in [0, g).    proportions: ``[g, C]``, rows sum to 1.
    """
    likely = (predictions @ proportions.clamp(min=1e-3).T).clamp(min=1e-6).log()  # (n, C) @ (C, g) -> (n, g)
    table = likely.new_zeros(len(proportions), len(proportions)).index_add_(0, group, likely)
    bags = torch.arange(len(proportions))
    shuffles = torch.stack([torch.randperm(len(bags), generator=generator) for _ in range(n_shuffles)])
    shuffled = table[bags, shuffles].sum(1)
    true = table.diagonal().sum()
    spread = shuffled.std().clamp(min=1e-9)
    hits = (shuffled >= true - 1e-4 * spread).sum()
    return BagAgreement(float((true - shuffled.mean()) / spread), float((1 + hits) / (1 + n_shuffles)))


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


def bag_warning(student: Student, collate: DistillationCollator, seed: int) -> str | None:
    """A sentence if the teacher's proportions fit their bags no better than shuffled ones; None if they do, or if
    it cannot be told (no teacher predictions, fewer than 8 bags, labels of fewer than two classes).

    The judge is a ridge regression of the labels on the features of the student as it stands, before it has seen
    a bag; labelled rows that lie in bags count with their labels. On av_digits with 2 labels a class it warned of
    none of 20 right sets of bags and of 20 out of 20 shuffled ones.
    """
    for teacher in collate.teachers.values():
        if isinstance(teacher.link, Bagged) and isinstance(teacher.source, Bank):
            return _warning(student, collate.examples, teacher.link, teacher.source, seed)
    return None


def _warning(student: Student, examples: Examples, link: Bagged, bank: Bank, seed: int) -> str | None:
    if not {"logits", "log_probs"} & bank.signals or examples.problem.classes(examples.targets) is None:
        return None
    generator = keyed_generator(seed, "bag check")
    labelled = torch.nonzero(examples.labels >= 0).squeeze(1)
    labelled = labelled[torch.randperm(len(labelled), generator=generator)[:MOST_LABELLED]]
    group_s = link.group_s
    bags = torch.tensor(sorted(set(group_s.values())))
    bags = bags[torch.randperm(len(bags), generator=generator)[:MOST_BAGS]]
    if len(bags) < FEWEST_BAGS or len(examples.labels[labelled].unique()) < 2:
        return None
    proportions = _proportions(link, bank, bags)
    if float(proportions.std(0).max()) < 1e-6:  # the uniform control: one proportion for all
        return None
    place = {int(bag): i for i, bag in enumerate(bags)}
    rows = [i for i, key in enumerate(examples.keys) if group_s.get(key, -1) in place]
    group = torch.tensor([place[group_s[examples.keys[i]]] for i in rows])
    features = _features(student, examples, [*labelled.tolist(), *rows])
    n_classes = len(examples.class_names)
    known = examples.labels[rows]
    q = label_predictions(
        features[: len(labelled)], examples.labels[labelled], features[len(labelled) :], n_classes
    )
    q[known >= 0] = F.one_hot(known[known >= 0], n_classes).to(q.dtype)
    found = bag_agreement(q, group, proportions, generator=generator)
    if found.p_value <= SIGNIFICANT:
        return None
    return (
        f"The bags look wrong: what {len(labelled)} labelled rows say of the rows in {len(bags)} bags fits the "
        "teacher's proportions of these bags no better than those of shuffled bags (permutation test, "
        f"p = {found.p_value:.2g}). "
        "Check that the groups of both sides belong together; wrong bags make a student worse than no teacher. "
        "(With few labels, or a student whose features say little before training, right bags can look like this.)"
    )


@torch.no_grad()
def _features(student: Student, examples: Examples, rows: list[int]) -> Tensor:
    """Features ``[n, d]`` of rows without a view, in evaluation mode, on the CPU."""
    device = next(student.parameters()).device
    training, found = student.training, []
    student.eval()
    for start in range(0, len(rows), 256):
        inputs = examples.rows(rows[start : start + 256])
        out = student({name: value.to(device) for name, value in inputs.items()})
        found.append(out.features.float().cpu())
    student.train(training)
    return torch.cat(found)


def _proportions(link: Bagged, bank: Bank, bags: Tensor) -> Tensor:
    """The teacher's mean prediction over its side of each bag, ``[g, C]``."""
    wanted = set(bags.tolist())
    members = [(key, group) for key, group in link.group_t.items() if group in wanted]
    teacher = bank.lookup([key for key, _ in members], signals=["logits", "log_probs"])
    probs, groups = teacher.log_predictions().exp(), torch.tensor([group for _, group in members])
    return torch.stack([probs[groups == bag].mean(0) for bag in bags])
