"""A teacher as a method reads it: what the method wants of it, and a bank with its signals, classes and control."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.banks.controls import prototype_like, random_like, shuffled, uniform_like
from limbeck.banks.folder.fields import HIDDEN
from limbeck.data.base import Examples
from limbeck.errors import MissingSignalError
from limbeck.methods.declared import Side
from limbeck.signals.layers import stored_layer
from limbeck.signals.links.base import Link
from limbeck.signals.output import ACCESS_OF_SIGNAL
from limbeck.signals.teacher import Teacher
from limbeck.training.collator import LinkedTeacher


@dataclass(frozen=True)
class Taught:
    """One teacher of a run.

    Args:
        linked: how the collator finds its rows.    side: its sizes.
        live: who is asked in every step; None for a bank.
        layers: layer as the method names it to the hidden states' own name.
        warnings: what a user should know.
    """

    linked: LinkedTeacher
    side: Side
    live: Teacher | None = None
    layers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What a method wants of one teacher; ``train``, the student's rows, is read by the control ``prototype`` alone."""

    method: str
    link: Link
    needs: frozenset[str]
    layers: tuple[str, ...]
    control: str
    seed: int
    class_names: tuple[str, ...]
    class_map: Mapping[str, str] | None
    reads_classes: bool
    train: Examples | None = None
    class_means: bool = False

    @property
    def signals(self) -> list[str]:
        """What is read of the store; log-probabilities do in the place of logits, the head is always there."""
        return sorted(self.needs - {"head"} | ({"log_probs"} if "logits" in self.needs else set()))


def check_signals(method: str, needs: Collection[str], signals: Collection[str], access: str | None) -> None:
    """Refuse a method that needs signals which the teacher does not give, before step 1."""
    offered = set(signals) | ({"logits"} if "log_probs" in signals else set())
    for need in sorted(needs):
        if need not in offered:
            raise MissingSignalError(
                f"Method {method!r} needs the teacher's {need!r}, but this bank holds only "
                f"{', '.join(sorted(signals)) or 'nothing'} (access level {access or 'unknown'!r}); a teacher with "
                f"access level {ACCESS_OF_SIGNAL[need]!r} gives it."
            )


def banked(bank: Bank, wanted: Wanted) -> Taught:
    """A bank as a method reads it; errors as :func:`readable`."""
    check_signals(wanted.method, wanted.needs, bank.signals, bank.access)
    warnings = []
    if wanted.reads_classes:
        if bank.class_names is None:
            warnings.append(
                f"The bank {bank.name} does not name its classes; they are taken to be those of the data, in their "
                f"order ({', '.join(wanted.class_names)})."
            )
        bank = bank.with_class_names(wanted.class_names, wanted.class_map)
    columns = bank.manifest.signals
    hidden = {n.removeprefix(HIDDEN): tuple(e["shape"]) for n, e in columns.items() if n.startswith(HIDDEN)}
    n_layers = bank.manifest.notes.get("layers")
    layers = {
        asked: stored_layer(asked, hidden, n_layers, f"the bank {bank.name}") for asked in wanted.layers
    }
    bank = _controlled(bank, wanted)
    side = Side(
        bank.width("features"),
        bank.width("logits") or bank.width("log_probs"),
        {asked: hidden[stored] for asked, stored in layers.items()},
        class_means=class_means(bank) if wanted.class_means else None,
    )
    linked = LinkedTeacher(bank, wanted.link, wanted.signals)
    return Taught(linked, side, layers=layers, warnings=tuple(warnings))


def class_means(bank: Bank) -> Tensor:
    """``[C, D]`` mean features of each class, float32: by the bank's labels; without labels by the class that the
    teacher holds likeliest, and zero for a class that it never does.

    Raises: AbsentClassError for a class without rows among the labels.
    """
    if bank.labels is not None and bool((bank.labels >= 0).any()):
        return cast(Tensor, bank.prototypes().features)
    sums = torch.zeros(bank.width("logits") or bank.width("log_probs") or 0, bank.width("features") or 0)
    counts = torch.zeros(len(sums))
    for block in bank.blocks(8192):
        classes = block.log_predictions().argmax(-1)
        sums.index_add_(0, classes, block["features"].float())
        counts += torch.bincount(classes, minlength=len(sums))
    return sums / counts.clamp(min=1)[:, None]


def _controlled(bank: Bank, wanted: Wanted) -> Bank:
    if wanted.control == "shuffled":
        return shuffled(bank, wanted.link, wanted.seed)
    if wanted.control == "random":
        return random_like(bank, wanted.seed)
    if wanted.control == "prototype":
        train = wanted.train
        assert train is not None
        return prototype_like(bank, wanted.link.told_classes(bank, train.keys, train.labels))
    return uniform_like(bank) if wanted.control == "uniform" else bank
