"""Settings of the trainer beside transformers' own, and the range of each number: read without torch."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from typing import Any

from limbeck.errors import ConfigError, nearest
from limbeck.seeding import LARGEST_SEED
from limbeck.training.optimisers import OPTIMISERS

# Settings of ours that change what is learned, and those that change how it is computed.
OWN_RESULT = ("n_labelled", "n_unlabelled", "n_bags", "ema", "ema_decay", "scores", "weight_decay_on")
LATER_RESULT = ("method_learning_rate",)  # later than the first checkpoints: named where they are set
OWN_CONDUCT = ("compile_student",)
# Name to least and largest value, and whether the largest is taken; None = no bound.
RANGES: dict[str, tuple[float, float | None, bool]] = {
    "max_steps": (1, 10**9, True),
    "n_labelled": (0, 10**6, True),
    "n_unlabelled": (0, 10**6, True),
    "n_bags": (1, 10**6, True),
    "ema_decay": (0, 1, False),
    "seed": (0, LARGEST_SEED, True),
    "learning_rate": (0, 1e6, True),
    "method_learning_rate": (0, 1e6, True),
    "weight_decay": (0, 1e6, True),
    "adam_beta1": (0, 1, False),
    "adam_beta2": (0, 1, False),
    "adam_epsilon": (0, 1e6, True),
    "max_grad_norm": (0, None, True),
    "warmup_steps": (0, 10**9, True),
    "gradient_accumulation_steps": (1, 10**6, True),
    "logging_steps": (1e-6, None, True),
    "eval_steps": (1e-6, None, True),
    "eval_delay": (0, None, True),
    "eval_accumulation_steps": (1, None, True),
    "per_device_eval_batch_size": (1, 10**6, True),
    "save_steps": (1e-6, None, True),
    "save_total_limit": (1, None, True),
    "torch_empty_cache_steps": (1, None, True),
    "dataloader_num_workers": (0, 1024, True),
    "dataloader_prefetch_factor": (1, 10**6, True),
    "ddp_bucket_cap_mb": (1, None, True),
    "ddp_timeout": (1, None, True),
}
_WHOLE = {
    "max_steps", "n_labelled", "n_unlabelled", "n_bags", "seed", "gradient_accumulation_steps", "save_total_limit",
    "eval_accumulation_steps", "per_device_eval_batch_size", "torch_empty_cache_steps", "dataloader_num_workers",
    "dataloader_prefetch_factor", "ddp_bucket_cap_mb", "ddp_timeout",
}  # fmt: skip
_EVERY = ("no", "steps", "epoch")
# Settings of which transformers takes some words alone.
CHOICES: dict[str, tuple[str, ...]] = {
    "optim": tuple(OPTIMISERS),
    "lr_scheduler_type": (
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
        "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay", "greedy",
    ),
    "logging_strategy": _EVERY,
    "eval_strategy": _EVERY,
    "save_strategy": (*_EVERY, "best"),
    "weight_decay_on": ("all", "weights"),
}  # fmt: skip
# Trackers of transformers, and the packages of which each needs one; none = transformers alone knows (a namespace of
# packages, a variable of the environment).
TRACKERS: dict[str, tuple[str, ...]] = {
    "azure_ml": (), "clearml": ("clearml",), "codecarbon": ("codecarbon",), "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub",), "dvclive": ("dvclive",), "flyte": ("flytekit",), "kubeflow": (), "mlflow": ("mlflow",),
    "neptune": ("neptune",), "swanlab": ("swanlab",), "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",), "wandb": ("wandb",),
}  # fmt: skip


def tracker_names(asked: Any, where: str = "training") -> list[str]:
    """The trackers that ``report_to`` asks for by name; ConfigError for one that there is none of."""
    names = [asked] if isinstance(asked, str) else asked if isinstance(asked, list) else []
    for name in names:
        if not isinstance(name, str) or name not in (*TRACKERS, "none", "all"):
            raise ConfigError(f"{where}.report_to has no tracker {name!r}; {nearest(str(name), TRACKERS)}")
    return [name for name in names if name not in ("none", "all")]


def check_trackers(asked: Any, where: str = "training") -> None:
    """Refuse a tracker whose package is not installed, as far as that shows without loading it; ConfigError."""
    for name in tracker_names(asked, where):
        if TRACKERS[name] and not any(map(_is_installed, TRACKERS[name])):
            raise ConfigError(without_package(name, where))


def without_package(name: str, where: str = "training") -> str:
    """The sentence of a tracker that cannot be used."""
    return (
        f"{where}.report_to: {name} needs its package; install it (pip install {name.replace('_', '-')}), or leave it "
        "out: log.jsonl holds every figure."
    )


def _is_installed(package: str) -> bool:
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None  # else a folder of that name, of old runs perhaps


def check_choices(values: Mapping[str, Any], where: str = "training") -> None:
    """Refuse a word that a setting does not know; ConfigError with the nearest."""
    for name, known in CHOICES.items():
        value = values.get(name)
        if isinstance(value, bool):  # YAML's no
            value = "no" if not value else "yes"
        if isinstance(value, str) and value not in known:
            raise ConfigError(f"{where}.{name} has no {value!r}; {nearest(value, known)}")


def check_ranges(values: Mapping[str, Any], where: str = "training") -> None:
    """Refuse a number outside its range, or what is no number; ConfigError."""
    for name, (low, high, closed) in RANGES.items():
        value = values.get(name)
        if value is None:
            continue
        wanted = "a whole number" if name in _WHOLE else "a number"
        if isinstance(value, bool) or not isinstance(value, int if name in _WHOLE else int | float):
            raise ConfigError(f"{where}.{name} must be {wanted}; it is {value!r}.")
        fits = value >= low and (high is None or value < high or (closed and value == high))
        if fits and math.isfinite(value):
            continue
        if high is None:
            bound = "above 0" if 0 < low < 1 else f"at least {low:g}"
            raise ConfigError(f"{where}.{name} must be {bound} and finite; it is {value}.")
        raise ConfigError(
            f"{where}.{name} must lie in [{_plain(low)}, {_plain(high)}{']' if closed else ')'}; it is {value}."
        )


def _plain(bound: float) -> str:
    """Whole numbers in full, with commas."""
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"
