"""Which run a checkpoint belongs to: plain facts in, a sentence out.

Facts are JSON values by dotted name. *Settings* are compared and told as they are; *digests* stand for what is too long
to write down (rows, weights, a bank), and are told by name. Settings that change nothing (logging, saving, folders,
workers) are no facts of a run, and neither is its length, which :func:`length_note` speaks about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.errors import CheckpointError
from limbeck.signals.fingerprint import settings_fingerprint, tensor_digest
from limbeck.signals.links.base import Link
from limbeck.training.collator import LinkedTeacher
from limbeck.training.optimisers import ENDLESS

_ENTRIES = 2**26  # of a tensor; a longer one is read at evenly spaced places
_SAMPLE = 2**16  # entries of each weight
_ROWS = 4096  # of a content that lies on disk


# ---- facts ---------------------------------------------------------------------------------------------------


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted names, JSON-able."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = json.loads(json.dumps(value, default=str))
    return found


def without_places(values: Any) -> Any:
    """Settings in which a file or folder that is there counts by its name: data may move, and its content is
    compared."""
    if isinstance(values, Mapping):
        return {str(name): without_places(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [without_places(value) for value in values]
    if isinstance(values, str | Path) and values and len(str(values)) < 4096:
        new = str(values).startswith("causal_lm:")
        scheme, colon, rest = str(values).rpartition("causal_lm:" if new else "hf:")
        path = Path(rest)
        if ("/" in rest or "\\" in rest) and path.exists():
            return f"{scheme}{colon}{path.resolve().name}"
    return values


def rows_digests(what: str, examples: Examples) -> dict[str, str]:
    """Digests of the keys, labels and content of some rows, by what they are of; of a content that lies on disk, of
    evenly spaced rows."""
    rows = examples.all_rows() if isinstance(examples.inputs, Mapping) else _spaced_rows(examples)
    columns = {name: _column_digest(value) for name, value in sorted(rows.items())}
    targets = [tensor_digest(value).hex() for value in examples.targets.tensors().values()]
    return {
        f"the keys of the {what} rows": settings_fingerprint(list(examples.keys)),
        f"the labels of the {what} rows": settings_fingerprint([list(examples.class_names), targets]),
        f"the content of the {what} rows": settings_fingerprint(columns),
    }


def _spaced_rows(examples: Examples) -> Mapping[str, Any]:
    return examples.rows(torch.linspace(0, len(examples) - 1, min(len(examples), _ROWS)).round().long())


def run_digests(
    examples: Examples, teachers: Mapping[str, LinkedTeacher], validation: Examples | None
) -> dict[str, str]:
    """Digests of all that a run reads."""
    digests = rows_digests("training", examples)
    if validation is not None:
        digests |= rows_digests("validation", validation)
    for name, teacher in teachers.items():
        digests[of_teacher("the link", name, teachers)] = link_digest(teacher.link)
        if isinstance(teacher.source, Bank):
            digests[of_teacher("the bank", name, teachers)] = bank_digest(teacher.source)
    return digests


def of_teacher(what: str, name: str, teachers: Collection[str]) -> str:
    """What a digest of one teacher is called; its name matters where there are several."""
    return what if len(teachers) == 1 else f"{what} of {name}"


def _column_digest(column: Any) -> str:
    if isinstance(column, Tensor):
        return sampled_digest(column, _ENTRIES)
    return settings_fingerprint([value if isinstance(value, str) else list(value) for value in column])


def sampled_digest(value: Tensor, entries: int = _SAMPLE) -> str:
    """Digest of shape, type, and at most about ``entries`` evenly spaced values."""
    flat_value = value.detach().reshape(-1)
    step = max(1, -(-flat_value.numel() // entries))
    return settings_fingerprint(
        [list(value.shape), str(value.dtype), tensor_digest(flat_value[::step]).hex()]
    )


def weights_digest(state: Mapping[str, Any]) -> str:
    """Digest of weights by name; of large ones a sample."""
    return settings_fingerprint(
        {name: sampled_digest(value) for name, value in state.items() if isinstance(value, Tensor)}
    )


def link_digest(link: Link) -> str:
    """Digest of what is linked to what."""
    maps = {
        name: sorted(map(str, value.items()))
        for name, value in vars(link).items()
        if isinstance(value, Mapping) and not name.startswith("_")
    }
    return settings_fingerprint([link.name, maps])


def bank_digest(bank: Bank) -> str:
    """Digest of what a bank says: the teacher and the inputs that made it, or where that is not known its files."""
    manifest, parts = bank.manifest, bank.fingerprint
    hashes = {name: entry.get("sha256") for name, entry in manifest.files.items()}
    content = parts if "inputs" in parts else [parts, hashes]
    kind = "" if bank.path is not None else bank.name.partition(" of ")[0]  # of a control that was made of it
    shape = [manifest.rows, manifest.dtype, manifest.signals, manifest.class_names, manifest.views]
    return settings_fingerprint([content, kind, shape])


def layers_digest(module: torch.nn.Module) -> str:
    """Digest of the layers of a module and their settings, as it prints itself."""
    text = " ".join(part.partition(" at 0x")[0] for part in repr(module).splitlines())
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# ---- comparison ----------------------------------------------------------------------------------------------


def check_same_run(checkpoint: Path, found: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose settings, or those digests that ``now`` has, differ from those of ``now``.

    Args:
        found, now: ``{"settings": {name: value}, "digests": {name: digest}}``; a run can be refused by its settings
            before any digest is known. Digests that differ are told only where no setting explains them.

    Raises: CheckpointError naming what differs.
    """
    had, have = flat(found.get("settings", {})), flat(now.get("settings", {}))
    different = [name for name in {**have, **had} if had.get(name, _ABSENT) != have.get(name, _ABSENT)]
    if different:
        told = [f"made with {_told(name, had)}, this run has {_told(name, have)}" for name in different]
        raise _another(checkpoint, f"was {'; '.join(told[:5])}{_more(told)}")
    digests = found.get("digests", {})
    others = [name for name, digest in now.get("digests", {}).items() if digests.get(name) != digest]
    if others:
        raise _another(checkpoint, f"differs from this run in {', '.join(others[:5])}{_more(others)}")


_ABSENT = object()


def _told(name: str, settings: Mapping[str, Any]) -> str:
    return f"{name}={settings[name]!r}" if name in settings else f"no {name}"


def _more(items: list[str]) -> str:
    return f" and {len(items) - 5} more" if len(items) > 5 else ""


def _another(checkpoint: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {checkpoint} {what}; resume with the same settings and data, or start afresh in another "
        "output_dir."
    )


def run_settings(arguments: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run: those of its arguments that change what is learned, and ``own`` ones; without its
    length."""
    training = arguments.result_settings()
    training.pop("max_steps")
    settings = {"seed": arguments.seed, **own, "training": training, "processes": arguments.world_size}
    return flat(settings)


def length_note(
    step: int, had: int, now: int, *, schedule: str, warmup: float, ramp_end: float, where: Path
) -> str | None:
    """What it means to go on from ``step`` of a run of ``had`` steps to ``now``; None where it means nothing.

    A run may be made longer or shorter. Where the learning rate or the weights of the terms follow the share of the
    training done, they follow that of the new length from here on.

    Raises: CheckpointError if the checkpoint lies behind the new end.
    """
    if step > now:
        raise CheckpointError(
            f"The checkpoint {where} is at step {step}, behind the end of this run (max_steps={now}); raise max_steps, "
            "or start afresh in another output_dir."
        )
    followed = [
        *(["the learning rate"] if schedule not in ENDLESS or 0 < warmup < 1 else []),
        *(["the weights of the terms"] if ramp_end > 0 else []),
    ]
    if had == now or not followed or step == now:
        return None
    return (
        f"This run goes on from step {step} of {had}, to step {now}: from there on max_steps={now} sets "
        f"{' and '.join(followed)}, so the result is not that of {now} steps from the start."
    )
