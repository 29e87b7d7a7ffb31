"""Optimisers and schedules by name: which work, and which of their settings they read."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from limbeck.errors import ConfigError, nearest
from limbeck.training.settings import Refused, told_by_transformers

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

WORKS, PACKAGE = "works", "works where its package is installed"
_INSIDE = Refused(
    "it moves the weights inside the backward pass, so gradients are neither clipped nor accumulated; take adafactor, "
    "or gradient_accumulation_steps, to save memory"
)
_AVERAGING = Refused(
    "it keeps other weights for training than for evaluation, which checkpoints and the EMA student do not know; take "
    "adamw_torch_fused with training.ema"
)
OPTIMISERS: dict[str, str | Refused] = {
    "adamw_torch": WORKS,
    "adamw_torch_fused": WORKS,
    "adafactor": WORKS,
    "sgd": WORKS,
    "adagrad": WORKS,
    "rmsprop": WORKS,
    "adamw_torch_xla": PACKAGE,
    "adamw_torch_npu_fused": PACKAGE,
    "adamw_anyprecision": PACKAGE,
    "adamw_torch_4bit": PACKAGE,
    "adamw_torch_8bit": PACKAGE,
    "ademamix": PACKAGE,
    "adamw_bnb_8bit": PACKAGE,
    "adamw_8bit": PACKAGE,
    "ademamix_8bit": PACKAGE,
    "lion_8bit": PACKAGE,
    "lion_32bit": PACKAGE,
    "paged_adamw_32bit": PACKAGE,
    "paged_adamw_8bit": PACKAGE,
    "paged_ademamix_32bit": PACKAGE,
    "paged_ademamix_8bit": PACKAGE,
    "paged_lion_32bit": PACKAGE,
    "paged_lion_8bit": PACKAGE,
    "rmsprop_bnb": PACKAGE,
    "rmsprop_bnb_8bit": PACKAGE,
    "rmsprop_bnb_32bit": PACKAGE,
    "grokadamw": PACKAGE,
    "stable_adamw": PACKAGE,
    "galore_adamw": PACKAGE,
    "galore_adamw_8bit": PACKAGE,
    "galore_adafactor": PACKAGE,
    "apollo_adamw": PACKAGE,
    "galore_adamw_layerwise": _INSIDE,
    "galore_adamw_8bit_layerwise": _INSIDE,
    "galore_adafactor_layerwise": _INSIDE,
    "apollo_adamw_layerwise": _INSIDE,
    "lomo": _INSIDE,
    "adalomo": _INSIDE,
    "schedule_free_radam": _AVERAGING,
    "schedule_free_adamw": _AVERAGING,
    "schedule_free_sgd": _AVERAGING,
}
# The arguments that each takes beside those which are settings of their own; weight decay is one of those.
OPTIM_ARGS = {
    "sgd": {"momentum", "dampening", "nesterov"},
    "adagrad": {"lr_decay", "eps"},
    "rmsprop": {"momentum", "alpha", "eps", "centered"},
}
_WITHOUT_ADAM = {"adafactor", "sgd", "adagrad", "rmsprop"}
_BY_MODULE = {"galore": "galore_torch", "apollo": "apollo_torch"}  # and their packages
WITHOUT_WARMUP = {
    "constant": "constant_with_warmup",
    "reduce_lr_on_plateau": "linear",
    "greedy": "linear",
}
# Schedules that do not ask how long a run will be.
ENDLESS = {"constant", "constant_with_warmup", "inverse_sqrt", "reduce_lr_on_plateau", "greedy"}


def own_group(optimizer: Optimizer, parameters: Iterable[Tensor], rate: float) -> None:
    """Give some of a new optimiser's parameters a learning rate of their own; all else they keep, and the schedule
    scales both."""
    own = {id(value) for value in parameters}
    for group in list(optimizer.param_groups):
        mine = [value for value in group["params"] if id(value) in own]
        if mine:
            group["params"] = [value for value in group["params"] if id(value) not in own]
            optimizer.add_param_group({**group, "params": mine, "lr": rate})


def check_optimiser(arguments: Any, given: Mapping[str, Any]) -> None:
    """Refuse an optimiser that cannot serve, or settings ``given`` that it does not read; ConfigError."""
    name = str(arguments.optim.value)
    what = OPTIMISERS.get(name)
    if isinstance(what, Refused):
        raise ConfigError(f"training.optim={name!r} cannot be used: {what.sentence}.")
    if name in _WITHOUT_ADAM:
        for setting in ("adam_beta1", "adam_beta2", "adam_epsilon"):
            if setting in given:
                raise ConfigError(
                    f"training.{setting} does nothing here: {name} does not read it; leave it out, or take adamw_torch."
                )
    package = _BY_MODULE.get(name.partition("_")[0])
    if package is None and "optim_target_modules" in given:
        raise ConfigError(
            f"training.optim_target_modules does nothing here: {name} moves all trained weights; leave it out."
        )
    if what == WORKS:
        _check_optim_args(name, arguments.optim_args)
    elif package is not None:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"training.optim={name!r} needs the package {package}; install it, or take adafactor."
            )
        if not arguments.optim_target_modules:
            raise ConfigError(
                f"training.optim={name!r} needs training.optim_target_modules, the linear layers that it compresses "
                "(all-linear for all)."
            )
    else:
        with told_by_transformers():
            from transformers import Trainer

            Trainer.get_optimizer_cls_and_kwargs(arguments)


def _check_optim_args(name: str, text: str | None) -> None:
    known = OPTIM_ARGS.get(name, set())
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise ConfigError(
                f"training.optim_args must be like 'momentum=0.9,nesterov=true'; it is {text!r}."
            )
        if key not in known:
            hint = nearest(key, known) if known else "it takes none; leave it out."
            raise ConfigError(f"training.optim_args has no {key!r} for {name}; {hint}")


def check_schedule(arguments: Any, given: Mapping[str, Any]) -> None:
    """Refuse a schedule whose own settings are missing, unknown or not read; ConfigError."""
    name = str(arguments.lr_scheduler_type.value)
    if "warmup_steps" in given and name in WITHOUT_WARMUP:
        raise ConfigError(
            f"training.warmup_steps does nothing here: the schedule {name} has no warm-up; take "
            f"{WITHOUT_WARMUP[name]}, or leave it out."
        )
    with told_by_transformers():
        from torch import zeros
        from torch.optim import SGD
        from transformers import get_scheduler

        get_scheduler(
            arguments.lr_scheduler_type,
            optimizer=SGD([zeros(1)], lr=arguments.learning_rate),
            num_warmup_steps=arguments.get_warmup_steps(arguments.max_steps),
            num_training_steps=arguments.max_steps,
            scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
        )
