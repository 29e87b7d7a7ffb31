"""What one run of a comparison leaves: its rows, its test items, and facts; two files, the second of which says that
both are whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import DataError, machine_error
from limbeck.evaluation.cost import Cost
from limbeck.evaluation.results import Row, row_from_dict
from limbeck.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from limbeck.problems.base import Problem

RESULT_FILE, ITEMS_FILE = "result.json", "items.safetensors"


@dataclass(frozen=True)
class Outcome:
    """One run.

    Args:
        rows: its scores.
        items: split to what the problem keeps of each of its rows, in their order.
        data: split to a fingerprint of its rows; arms of one seed must agree.
        problem: kind, settings and ``names`` of what was asked, JSON-able.
        metrics: fields of each :class:`Metric` of the problem, the one that decides first.
        curve: (step, value) of the deciding metric on validation.
        warnings: what was warned of.
        cost: what it took.
        pictures: JSON-able, by name: ``map``, ``plan``; only of runs that were asked for them.
        facts: further facts of the data or teacher, JSON-able.
    """

    rows: list[Row]
    items: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    problem: Mapping[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    curve: list[tuple[int, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    pictures: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write ``items.safetensors``, then ``result.json``: where the second exists, both are whole."""
    from safetensors.torch import save

    (folder / RESULT_FILE).unlink(missing_ok=True)
    flat = {f"{split}/{n}": v.contiguous() for split, kept in outcome.items.items() for n, v in kept.items()}
    write_whole(folder / ITEMS_FILE, save(flat))
    plain = {name: value for name, value in vars(outcome).items() if name not in ("items", "rows", "cost")}
    curve = [(step, value) for step, value in outcome.curve if math.isfinite(value)]
    content = {
        **plain,
        "curve": curve,
        "cost": asdict(outcome.cost),
        "rows": [asdict(row) for row in outcome.rows],
    }
    write_whole(folder / RESULT_FILE, json.dumps(content, indent=1, allow_nan=False))


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome in a folder; None where the run has not finished.

    Raises: DataError for a result that was damaged after it had been written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / RESULT_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        flat = load((folder / ITEMS_FILE).read_bytes())
        rows = [row_from_dict(row, f"{path}, row {i}") for i, row in enumerate(content.pop("rows"))]
        cost = Cost(**content.pop("cost"))
        curve = [(int(step), float(value)) for step, value in content.pop("curve")]
        items: dict[str, dict[str, Tensor]] = {}
        for name, value in flat.items():
            split, _, column = name.partition("/")
            items.setdefault(split, {})[column] = value
        return Outcome(rows=rows, cost=cost, curve=curve, items=items, **content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        if isinstance(error, DataError):
            raise
        if (found := machine_error(error, folder)) is not None:
            raise found from error
        raise DataError(
            f"{folder} does not hold a whole result ({error}); delete that folder to run it again."
        ) from error


def problem_of(outcome: Outcome) -> Problem | None:
    """What was asked of the student; None for an outcome that does not say."""
    from limbeck.problems.registry import problem

    if not outcome.problem:
        return None
    spec = dict(outcome.problem)
    return problem(spec, spec.pop("names"))
