"""What happens around the steps: EMA updates, the log of terms and their warnings, progress, and log.jsonl."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from limbeck.banks.bank import Bank
from limbeck.errors import CheckpointError, NonFiniteError, some
from limbeck.evaluation.diagnosis.bag_check import bag_warning
from limbeck.files import append_line, write_whole
from limbeck.methods.base import Method
from limbeck.progress import progress
from limbeck.signals.links.base import Link
from limbeck.training.collator import DistillationCollator, teacher_rows
from limbeck.training.distiller import Distiller

logger = logging.getLogger("limbeck")
WEAK_TERM = 0.01  # a term whose share of the gradient is 100 times below the largest is reported


class StepCallback(TrainerCallback):
    """Moves the EMA student after each optimiser step, and keeps ``epoch`` the share of the training done.

    (The Trainer counts epochs from where a run resumed, since our draws leave nothing to skip.) A resumed run logs,
    evaluates and saves as it is told now, not as it was told when the checkpoint was made, and finds its best
    checkpoint where the run folder is now.
    """

    def __init__(self, distiller: Distiller) -> None:
        self.distiller = distiller

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.global_step:
            return
        state.compute_steps(args, state.max_steps)
        if state.best_global_step:
            best = Path(str(args.output_dir)) / f"checkpoint-{state.best_global_step}"
            if not best.is_dir() and args.load_best_model_at_end:
                raise CheckpointError(
                    f"The best checkpoint so far, {best}, is gone, and training.load_best_model_at_end wants it; bring "
                    "it back, or start afresh in another output_dir."
                )
            state.best_model_checkpoint = str(best) if best.is_dir() else None

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.distiller.follow(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        state.epoch = state.global_step / state.max_steps


class TermLog:
    """Collects terms between two logs; warns of terms that do nothing; stops on non-finite ones.

    ``warnings`` keeps what was warned of, for the report.
    """

    def __init__(self, method: Method, method_name: str) -> None:
        self.method, self.method_name = method, method_name
        self.warnings: list[str] = []
        # all terms, and those whose gradient is measured: the same on every rank, whatever steps a rank skipped
        self._names: dict[str, None] = {}
        self._measured: dict[str, None] = {}
        self._sums: dict[str, torch.Tensor] = {}
        self._steps: set[int] = set()
        # squared norms of the gradients at the student's outputs, over the reported step
        self._squares: dict[str, float] = {}
        self._squares_step = -1
        self._bad: list[int] = []

    def record(self, step: int, outputs: dict[str, Any], batch: Mapping[str, Any], *, fp16: bool) -> None:
        """Take in what the distiller made of one collated micro-batch. Under fp16 the loss scaler skips a bad step,
        and the third in a row stops the run; elsewhere the first one does.

        Raises: NonFiniteError naming term, step and keys.
        """
        terms: dict[str, torch.Tensor] = outputs["terms"]
        self._names |= dict.fromkeys(terms)
        self._measured |= dict.fromkeys(outputs.get("gradients", ()))
        if bad := [name for name, term in terms.items() if not math.isfinite(term)]:
            self._non_finite(step, bad, suspects(batch), fp16)
            return
        if self._bad and step > self._bad[-1]:
            self._bad = []
        self._steps.add(step)
        for name, term in terms.items():
            self._sums[name] = self._sums[name] + term if name in self._sums else term
        if "gradients" in outputs:
            if step != self._squares_step:
                self._squares, self._squares_step = dict.fromkeys(outputs["gradients"], 0.0), step
            for name, square in outputs["gradients"].items():
                self._squares[name] += square

    def _non_finite(self, step: int, names: list[str], keys: Sequence[Any], fp16: bool) -> None:
        if not self._bad or step > self._bad[-1]:
            self._bad.append(step)
        message = (
            f"Term {some(names)} of method {self.method_name!r} is not finite at step {step} "
            f"(rows with keys {some(keys)})"
        )
        if not fp16 or len(self._bad) >= 3:
            raise NonFiniteError(
                message
                + "; look at these rows and at the teacher's values for them, or lower the learning rate."
            )
        self.warn(message + "; the step is skipped.")

    def summary(
        self, progress: float, mean_over_ranks: Callable[[list[float]], list[float]] = list
    ) -> dict[str, float]:
        """Means since the last summary, weights and gradient shares, as flat log entries; then starts afresh."""
        weights, names = self.method.weights(progress), list(self._names)
        steps, measured = max(1, len(self._steps)), list(self._measured)
        means = mean_over_ranks(
            [float(self._sums.get(name, 0.0)) / steps for name in names]
            + [self._squares.get(name, 0.0) for name in measured]
        )
        norms = {name: square**0.5 for name, square in zip(measured, means[len(names) :])}
        total = sum(norms.values()) or 1.0
        logs = {f"term/{name}": mean for name, mean in zip(names, means)}
        logs |= {f"weight/{name}": weights[name] for name in names}
        logs |= {f"gradient_share/{name}": norm / total for name, norm in norms.items()}
        if progress > self.method.settled:
            self._check_shares(norms, weights)
        self._sums, self._steps, self._squares, self._squares_step = {}, set(), {}, -1
        return logs

    def _check_shares(self, norms: dict[str, float], weights: dict[str, float]) -> None:
        largest = max(norms.values(), default=0.0)
        for name, norm in norms.items():
            if name in self.method.plan.detached or weights[name] == 0 or not 0 < largest < float("inf"):
                continue
            if norm == 0:
                self.warn(
                    f"Term {name!r} of method {self.method_name!r} has no gradient: it teaches nothing."
                )
            elif norm < WEAK_TERM * largest:
                self.warn(
                    f"Term {name!r} of method {self.method_name!r} has a gradient more than 100 times below the "
                    f"largest; raise weight_{name} or check the teacher's scale."
                )

    def warn(self, message: str) -> None:
        """Log a warning once per run and keep it for the report."""
        about = message.partition(" at step ")[0].partition(" has a gradient")[0]
        if not any(kept.startswith(about) for kept in self.warnings):
            self.warnings.append(message)
            logger.warning(message)


def suspects(batch: Mapping[str, Any]) -> list[Any]:
    """Keys of the rows of a collated batch whose inputs, or whose teacher's values, are not finite; all keys when
    there is no such row."""
    keys = list(batch["keys"])
    bad = torch.zeros(len(keys), dtype=torch.bool)
    for value in batch.get("inputs", {}).values():
        bad |= _non_finite_rows(value)
    for rows in teacher_rows(batch).values():
        for name in ("features", "logits", "log_probs"):
            if (value := getattr(rows.said, name)) is None or not len(value):
                continue
            wrong = _non_finite_rows(value)
            pair, group = rows.pair_index.cpu(), rows.group_s.cpu()
            bad |= (pair >= 0) & wrong[pair.clamp(min=0)]
            bad |= (group >= 0) & torch.isin(group, rows.group_t.cpu()[wrong[: len(rows.group_t)]])
    return [key for key, wrong in zip(keys, bad.tolist()) if wrong] or keys


def _non_finite_rows(value: torch.Tensor) -> torch.Tensor:
    """``[n]`` bool, on the CPU."""
    return ~torch.isfinite(value).reshape(len(value), -1).all(1).cpu()


class BagCheck(TrainerCallback):
    """Warns, before the first step, when the bags do not fit the labels (see ``evaluation/diagnosis/bag_check.py``)."""

    def __init__(self, distiller: Distiller, collate: DistillationCollator, terms: TermLog) -> None:
        self.distiller, self.collate, self.terms = distiller, collate, terms

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and state.global_step == 0 and self.distiller.method.plan.has_teacher:
            for teacher in self.collate.teachers.values():
                if teacher.link.in_bags and isinstance(teacher.source, Bank):
                    self._check(teacher.link, teacher.source)

    def _check(self, link: Link, bank: Bank) -> None:
        sentence = bag_warning(self.distiller.student, self.collate.examples, link, bank)
        if sentence is not None:
            self.terms.warn(sentence)


class RunLog(TrainerCallback):
    """Writes every log of the Trainer to ``log.jsonl``, one JSON object a line.

    A new run starts the file afresh; a resumed one keeps the lines up to its checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.jsonl"
        self.entries: dict[str, list[tuple[int, float]]] = defaultdict(list)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        kept = []
        if state.global_step and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [entry for entry in map(_entry, lines) if entry and entry["step"] <= state.global_step]
        write_whole(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))
        self.entries.clear()
        for entry in kept:
            self._remember(entry)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        entry = {"step": state.global_step, **logs}
        append_line(self.path, json.dumps(entry))
        self._remember(entry)

    def _remember(self, entry: dict[str, Any]) -> None:
        for name, value in entry.items():
            if name != "step":
                self.entries[name].append((entry["step"], value))


def _entry(line: str) -> dict[str, Any] | None:
    """A line of the log; None for one that a kill has cut, or that is none."""
    try:
        entry = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None
    is_entry = isinstance(entry, dict) and all(isinstance(value, int | float) for value in entry.values())
    return entry if is_entry and "step" in entry else None


def tensorboard_in(folder: Path, callbacks: Sequence[TrainerCallback]) -> None:
    """TensorBoard's events into ``folder/tensorboard``, unless ``TENSORBOARD_LOGGING_DIR`` says where; transformers
    would put them beside the checkpoints, which go when a run is done."""
    from transformers.integrations import TensorBoardCallback

    for callback in callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder / "tensorboard")


class ProgressBar(TrainerCallback):
    """Steps done, rate and remaining time, on standard error, when the training takes longer than two seconds."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._stack = ExitStack()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self._advance = self._stack.enter_context(
                progress(self.title, state.max_steps - state.global_step, "steps")
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self._advance(1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away; also after a training that failed."""
        self._stack.close()
