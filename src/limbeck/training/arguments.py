"""The settings of a training run: transformers' own, and ours beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from transformers import TrainingArguments

from limbeck.errors import ConfigError


@dataclass
class DistillationArguments(TrainingArguments):
    """``transformers.TrainingArguments`` with the two streams, the EMA student and defaults that suit them.

    The batch is global: ``n_labelled`` rows and ``n_unlabelled`` rows (or ``n_bags`` whole bags) are drawn from
    (seed, step) and then cut over ranks and ``gradient_accumulation_steps``; ``per_device_train_batch_size`` is not
    used. Length is ``max_steps``.
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
    ema_decay: float = field(
        default=0.99, metadata={"help": "Decay min(ema_decay, (t+1)/(t+10)), in [0, 1)."}
    )
    weight_decay_on: Literal["all", "weights"] = field(
        default="weights",
        metadata={"help": "'weights' spares biases and norms; 'all' decays every parameter."},
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_steps < 1:
            raise ConfigError(f"training.max_steps must be at least 1; it is {self.max_steps}.")
        if self.n_labelled < 0 or self.n_unlabelled < 0 or self.n_bags < 1:
            raise ConfigError("training.n_labelled and n_unlabelled must be at least 0, n_bags at least 1.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"training.ema_decay must lie in [0, 1); it is {self.ema_decay}.")
