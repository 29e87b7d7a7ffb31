"""The settings of a training run: transformers' own, and ours beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from transformers import TrainingArguments
from transformers.training_args import trainer_log_levels

from limbeck.errors import ConfigError, nearest
from limbeck.training.optimisers import check_optimiser, check_schedule
from limbeck.training.ranges import LATER_RESULT, OWN_RESULT, check_ranges, tracker_names, without_package
from limbeck.training.settings import (
    TRACKIO,
    changed_settings,
    check_companions,
    check_refusals,
    result_settings,
    told_by_transformers,
)


@dataclass
class DistillationArguments(TrainingArguments):
    """``transformers.TrainingArguments`` with the two streams, the EMA student and defaults that suit them.

    The batch is global: ``n_labelled`` rows and ``n_unlabelled`` rows (or ``n_bags`` whole bags) are drawn from
    (seed, step) and then cut over ranks and ``gradient_accumulation_steps``. Length is ``max_steps``. What becomes of
    each field of transformers is in ``settings.py``; one that nothing reads is refused.

    Raises: ConfigError naming the setting, and what to set instead.
    """

    n_labelled: int = field(
        default=32, metadata={"help": "Labelled rows a step, drawn with replacement, >= 0."}
    )
    n_unlabelled: int = field(
        default=64, metadata={"help": "Unlabelled rows a step for methods that use them, >= 0."}
    )
    n_bags: int = field(default=4, metadata={"help": "Whole bags a step when the link is bagged, >= 1."})
    ema: bool = field(
        default=False, metadata={"help": "Keep an EMA student; it is then the one that is scored."}
    )
    scores: str | None = field(
        default=None,
        metadata={
            "help": "Who is scored and shipped: student, or a peer's name; null: the average, if one is kept."
        },
    )
    ema_decay: float = field(
        default=0.99, metadata={"help": "Decay min(ema_decay, (t+1)/(t+10)), in [0, 1)."}
    )
    weight_decay_on: Literal["all", "weights"] = field(
        default="weights",
        metadata={"help": "'weights' spares biases and norms; 'all' decays every parameter."},
    )
    method_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Learning rate of the method's own parts (an aligner, projections); null: learning_rate."
        },
    )
    compile_student: bool | str = field(
        default=False,
        metadata={
            "help": "Run the student's blocks through torch.compile while it trains; a text names the backend."
        },
    )
    max_steps: int = field(default=240, metadata={"help": "Optimiser steps, >= 1."})
    logging_steps: float = field(
        default=20, metadata={"help": "Log terms and their gradient shares every so often."}
    )
    save_strategy: str = field(default="no", metadata={"help": "'no', 'steps' or 'epoch'."})
    report_to: str | list[str] | None = field(
        default="none", metadata={"help": "Trackers, as in transformers."}
    )
    disable_tqdm: bool | None = field(
        default=True, metadata={"help": "Our own progress bar is shown instead."}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Our batches are not columns."})
    dataloader_pin_memory: bool = field(default=False, metadata={"help": "Worth it only beside a GPU."})
    ignore_data_skip: bool = field(
        default=True, metadata={"help": "Draws are keyed by step: nothing to skip."}
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "A non-finite loss is an error here."}
    )
    label_names: list[str] | None = field(
        default_factory=lambda: ["targets"], metadata={"help": "Of the evaluation."}
    )
    # so that what is asked for can be told from what is not
    num_train_epochs: float = field(default=0.0, metadata={"help": "Not used: set max_steps."})
    per_device_train_batch_size: int = field(
        default=1, metadata={"help": "Not used: set n_labelled and n_unlabelled."}
    )

    def __post_init__(self) -> None:
        given = changed_settings(self)
        check_refusals("training", given)
        check_ranges(vars(self))
        if self.fp16 and (self.use_cpu or not _has_accelerator()):
            raise ConfigError("training.fp16 needs a GPU; set training.bf16, which a CPU can do too.")
        if self.debug == "tpu_metrics_debug":
            raise ConfigError("training.debug knows underflow_overflow; there are no TPUs here.")
        self._check_trackers(given)
        for name in ("log_level", "log_level_replica"):
            if getattr(self, name) not in trainer_log_levels:
                hint = nearest(str(getattr(self, name)), trainer_log_levels)
                raise ConfigError(f"training.{name} has no level {getattr(self, name)!r}; {hint}")
        with told_by_transformers():
            super().__post_init__()
        check_companions("training", given, lambda name: getattr(self, name))
        check_optimiser(self, given)
        check_schedule(self, given)

    def result_settings(self) -> dict[str, Any]:
        """What changes the result, as plain values: part of what a checkpoint says of its run."""
        later = tuple(name for name in LATER_RESULT if getattr(self, name) is not None)
        return result_settings(self, OWN_RESULT + later)

    def _check_trackers(self, given: Mapping[str, Any]) -> None:
        wanted = [self.report_to] if isinstance(self.report_to, str) else list(self.report_to or ())
        for name in TRACKIO:
            if name in given and not {"trackio", "all"} & set(wanted):
                raise ConfigError(
                    f"training.{name} does nothing here: only the tracker trackio reads it; add trackio to "
                    "training.report_to, or leave it out."
                )
        names = tracker_names(wanted)
        if not names:
            return
        from transformers.integrations import get_available_reporting_integrations

        for name in names:
            if name not in get_available_reporting_integrations():
                raise ConfigError(without_package(name))


def _has_accelerator() -> bool:
    import torch

    return torch.accelerator.is_available()
