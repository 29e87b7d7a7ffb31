"""From draws to a batch: student rows under their views, the teacher's rows that go with them, and unit counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples, Inputs, View
from limbeck.errors import AbsentClassError, LinkError
from limbeck.seeding import keyed_generator, keyed_seed
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.key import Key
from limbeck.signals.output import TeacherOutput
from limbeck.signals.pairing import Pairing
from limbeck.training.sampler import Draw


class DistillationCollator:
    """Collates draws into what :class:`limbeck.training.Distiller` takes.

    Args:
        examples: the student's training rows.
        pairing, bank: how teacher rows are found; no bank = no teacher rows.
        views: ``weak`` and ``strong``; a missing one leaves the inputs as they are. Labelled rows are seen
            weakly, unlabelled rows strongly, and weakly by the EMA student.
        needs_ema: also make the weak view of the unlabelled rows.
        signals: signals that the method reads; others stay on disk.
        seed: of the views and of the class-matched draws.
    """

    def __init__(
        self,
        examples: Examples,
        pairing: Pairing,
        bank: Bank | None,
        *,
        views: Mapping[str, View],
        needs_ema: bool,
        signals: Sequence[str] | None = None,
        seed: int,
    ) -> None:
        self.examples, self.pairing, self.bank = examples, pairing, bank
        self.views, self.needs_ema, self.seed = views, needs_ema, seed
        self.signals = signals
        self._teacher_of = dict(pairing.teacher_of)
        self._group_s, self._group_t = dict(pairing.group_s), dict(pairing.group_t)
        self._members: dict[int, list[Key]] = {}
        for key, group in self._group_t.items():
            self._members.setdefault(group, []).append(key)
        self._rows_of_class = _rows_of_class(bank) if bank is not None and pairing.link == "by_class" else {}

    def __call__(self, draws: Sequence[Any]) -> dict[str, Any]:
        if draws and not isinstance(draws[0], Draw):
            return _stack(draws)
        index = [draw.row for draw in draws]
        labelled = torch.tensor([draw.stream == "labelled" for draw in draws], dtype=torch.bool)
        labels = self.examples.labels[index].clone()
        labels[~labelled] = UNLABELLED
        keys = [self.examples.keys[i] for i in index]
        raw = without_padding(self.examples.rows(index))
        batch: dict[str, Any] = {
            "inputs": self._student_views(raw, draws, keys, labelled),
            "labels": labels,
            "keys": keys,
            "step": draws[0].step if draws else 0,
            "slot": draws[0].slot if draws else 0,
        }
        if self.examples.targets is not None:
            batch["targets"] = self.examples.targets[index]
        if self.needs_ema:
            rows = torch.nonzero(~labelled).squeeze(1)
            batch["weak_inputs"] = self._view("weak", _take(raw, rows), rows, draws, keys, "ema")
            batch["ema_index"] = _scatter(len(draws), rows)
        batch |= self._teacher_rows(draws, keys, labels)
        batch["counts"] = _counts(batch)
        return batch

    # ---- views ----------------------------------------------------------------------------------------------

    def _student_views(
        self, raw: Inputs, draws: Sequence[Draw], keys: Sequence[Key], labelled: Tensor
    ) -> Inputs:
        weak_rows, strong_rows = torch.nonzero(labelled).squeeze(1), torch.nonzero(~labelled).squeeze(1)
        weak = self._view("weak", _take(raw, weak_rows), weak_rows, draws, keys, "student")
        strong = self._view("strong", _take(raw, strong_rows), strong_rows, draws, keys, "student")
        order = torch.argsort(torch.cat([weak_rows, strong_rows]))
        return {name: torch.cat([weak[name], strong[name]])[order] for name in raw}

    def _view(
        self, name: str, inputs: Inputs, rows: Tensor, draws: Sequence[Draw], keys: Sequence[Key], use: str
    ) -> Inputs:
        view = self.views.get(name)
        if view is None or not len(rows):
            return inputs
        # The slot is in the key because a labelled row may be drawn twice in one step.
        generators = [
            keyed_generator(self.seed, draws[i].step, draws[i].slot, keys[i], name, use)
            for i in rows.tolist()
        ]
        return view(inputs, generators)

    # ---- teacher rows ---------------------------------------------------------------------------------------

    def _teacher_rows(self, draws: Sequence[Draw], keys: Sequence[Key], labels: Tensor) -> dict[str, Any]:
        none = torch.full((len(draws),), -1, dtype=torch.long)
        rows: dict[str, Any] = {"pair_index": none, "group_s": none, "group_t": none[:0]}
        if self.bank is None:
            return rows
        link = self.pairing.link
        if link in ("paired", "partly_paired"):
            linked = torch.tensor(
                [i for i, key in enumerate(keys) if key in self._teacher_of], dtype=torch.long
            )
            teacher = self.bank.lookup(
                [self._teacher_of[keys[i]] for i in linked.tolist()], signals=self.signals
            )
            rows["pair_index"] = _scatter(len(draws), linked)
        elif link == "bagged":
            group_s = [
                self._group_s.get(key, -1) if draw.stream == "unlabelled" else -1
                for key, draw in zip(keys, draws)
            ]
            members = [
                (key, g) for g in dict.fromkeys(g for g in group_s if g >= 0) for key in self._members[g]
            ]
            teacher = self.bank.lookup([key for key, _ in members], signals=self.signals)
            rows["group_s"] = torch.tensor(group_s, dtype=torch.long)
            rows["group_t"] = torch.tensor([g for _, g in members], dtype=torch.long)
        elif link == "by_class":
            linked = torch.nonzero(labels >= 0).squeeze(1)
            picks = [self._of_class(int(labels[i]), draws[i]) for i in linked.tolist()]
            teacher = self.bank.take(torch.tensor(picks, dtype=torch.long).numpy(), self.signals)
            rows["pair_index"] = _scatter(len(draws), linked)
        elif link == "unpaired":
            picks = [keyed_seed(self.seed, d.step, d.slot, "teacher") % len(self.bank) for d in draws]
            teacher = self.bank.take(torch.tensor(picks, dtype=torch.long).numpy(), self.signals)
        else:
            raise LinkError(
                f"The link {link!r} is not one of paired, partly_paired, bagged, by_class, unpaired."
            )
        rows["teacher"] = _tensors(teacher)
        return rows

    def _of_class(self, label: int, draw: Draw) -> int:
        """A bank row of the class, the same wherever this draw ends up."""
        rows = self._rows_of_class.get(label)
        if rows is None:
            name = self.examples.class_names[label]
            raise AbsentClassError(
                f"The bank has no row of class {name!r}; ask the teacher about samples of it."
            )
        return rows[keyed_seed(self.seed, draw.step, draw.slot, "teacher") % len(rows)]


def _rows_of_class(bank: Bank) -> dict[int, list[int]]:
    labels = bank.labels
    if labels is None:
        raise LinkError("The link 'by_class' needs a bank with labels; pass labels= when the bank is made.")
    return {int(c): torch.nonzero(labels == c).squeeze(1).tolist() for c in labels.unique() if c >= 0}


def _take(inputs: Inputs, rows: Tensor) -> Inputs:
    return {name: value[rows] for name, value in inputs.items()}


def _scatter(n: int, rows: Tensor) -> Tensor:
    """``[n]`` with 0, 1, 2, ... at ``rows`` and -1 elsewhere."""
    index = torch.full((n,), -1, dtype=torch.long)
    index[rows] = torch.arange(len(rows))
    return index


def without_padding(inputs: Inputs) -> Inputs:
    """Token inputs ``[n, ..., L]`` without the positions that are padding in every row; others as they are."""
    mask = inputs.get("attention_mask")
    if mask is None or not len(mask):
        return inputs
    shown = torch.nonzero(mask.flatten(0, -2).any(dim=0)).squeeze(1)
    if not len(shown) or len(shown) == mask.shape[-1]:
        return inputs
    span = slice(int(shown[0]), int(shown[-1]) + 1)
    return {name: value[..., span] if value.shape == mask.shape else value for name, value in inputs.items()}


def _stack(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Evaluation rows ``{"inputs": {name: tensor}, "labels": number}`` as one batch."""
    names = items[0]["inputs"]
    return {
        "inputs": without_padding(
            {name: torch.stack([item["inputs"][name] for item in items]) for name in names}
        ),
        "labels": torch.stack([item["labels"] for item in items]),
    }


def _tensors(teacher: TeacherOutput) -> dict[str, Any]:
    """A teacher output as nested tensors, which the Trainer can move to a device."""
    names = ("features", "logits", "log_probs", "labels", "head")
    present = {name: getattr(teacher, name) for name in names if getattr(teacher, name) is not None}
    return present | ({"hidden_states": teacher.hidden_states} if teacher.hidden_states else {})


def _counts(batch: Mapping[str, Any]) -> dict[str, int]:
    """How many of each unit this micro-batch holds; known before any backward pass."""
    group_s = batch["group_s"]
    mask = batch["inputs"].get("attention_mask")
    return {
        "labelled": int((batch["labels"] >= 0).sum()),
        "pair": int((batch["pair_index"] >= 0).sum()),
        "bag": len(group_s[group_s >= 0].unique()),
        "token": int(mask.sum()) if mask is not None else len(batch["labels"]),
        "batch": 1,
    }
