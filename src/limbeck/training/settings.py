"""What becomes of each field of ``transformers.TrainingArguments``: it works, or it is refused before step 1.

A setting that is read by nobody is worse than an error: a recipe of three epochs would train 240 steps. The table is
literal and complete; a test fails when transformers adds or removes a field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from typing import Any

from limbeck.errors import ConfigError, LimbeckError

RESULT = "works, and changes what is learned"  # part of what a checkpoint says of its run
CONDUCT = "works, and changes how it is run, told or saved"
RECIPE = "set by the recipe itself"


@dataclass(frozen=True)
class Refused:
    """Why a field does nothing here, and what does it; ``but`` are the values that say what is so anyway."""

    sentence: str
    but: tuple[Any, ...] = ()


_TWO_STREAMS = "a batch is drawn from two streams of rows with replacement"
_BATCH = f"{_TWO_STREAMS}; set training.n_labelled, n_unlabelled or n_bags, which count over all devices"
_HUB = "the run folder is not pushed; upload its student/ folder when the run is done"
_SHARDED = "a run is sharded by `accelerate launch` with FSDP version 2 in its config (see recipes/README.md)"
_SCRIPT = (
    "it speaks to scripts of transformers; a run always trains, and evaluates as training.eval_strategy says"
)

FIELDS: dict[str, str | Refused] = {
    "output_dir": RECIPE,
    "seed": RECIPE,
    "run_name": RECIPE,
    "data_seed": Refused("one seed decides all draws, the recipe's own (or training.seed)", (None,)),
    "resume_from_checkpoint": Refused("go on with --resume (resume=True, or train(resume_from_checkpoint=))", (None,)),
    "label_names": Refused("labels are those of the data", (["targets"], None)),
    # ---- length and batch
    "max_steps": RESULT,
    "num_train_epochs": Refused(
        f"{_TWO_STREAMS}, so there are no epochs; set training.max_steps (E epochs of N labelled rows are about "
        "E * N / n_labelled steps)",
        (0,),
    ),
    "per_device_train_batch_size": Refused(_BATCH, (1,)),
    "auto_find_batch_size": Refused(
        "a batch is never made smaller behind your back; lower training.n_labelled and n_unlabelled, or raise "
        "training.gradient_accumulation_steps, which needs less memory for the same batch",
        (False,),
    ),
    "gradient_accumulation_steps": RESULT,
    "average_tokens_across_devices": Refused("terms are always divided by counts over all devices", (True,)),
    "train_sampling_strategy": Refused(f"{_TWO_STREAMS}, keyed by the seed and the step", ("random",)),
    "length_column_name": Refused("rows are not grouped by length", ("length",)),
    "dataloader_drop_last": Refused("it would leave rows out of every score", (False,)),
    "ignore_data_skip": Refused("draws are keyed by the step, so there is nothing to skip", (True,)),
    # ---- optimiser and schedule (see optimisers.py)
    "learning_rate": RESULT,
    "lr_scheduler_type": RESULT,
    "lr_scheduler_kwargs": RESULT,
    "warmup_steps": RESULT,
    "optim": RESULT,
    "optim_args": RESULT,
    "optim_target_modules": RESULT,
    "weight_decay": RESULT,
    "adam_beta1": RESULT,
    "adam_beta2": RESULT,
    "adam_epsilon": RESULT,
    "max_grad_norm": RESULT,
    # ---- loss
    "label_smoothing_factor": Refused(
        "losses are the method's; smooth the labels by method.config.label_smoothing where the method has it (ucmkd)",
        (0.0,),
    ),
    "neftune_noise_alpha": Refused(
        "noise belongs to the student; set dropout in student.config, or a noisy view of the data", (None,)
    ),
    # ---- number formats, memory and speed
    "bf16": RESULT,
    "fp16": RESULT,
    "tf32": RESULT,
    "bf16_full_eval": Refused(
        "it would leave the student that ships in half precision; set training.bf16, or student.dtype", (False,)
    ),
    "fp16_full_eval": Refused(
        "it would leave the student that ships in half precision; set training.fp16, or student.dtype", (False,)
    ),
    "activation_checkpointing": CONDUCT,
    "activation_checkpointing_kwargs": CONDUCT,
    "gradient_checkpointing": CONDUCT,
    "gradient_checkpointing_kwargs": CONDUCT,
    "torch_compile": Refused(
        "a step is not compiled as a whole, since its terms are looked at one by one; set training.compile_student",
        (False,),
    ),
    "torch_compile_backend": Refused("training.compile_student takes the name of a backend; leave it out", (None,)),
    "torch_compile_mode": Refused("blocks are compiled in torch's default mode; leave it out", (None,)),
    "use_liger_kernel": Refused(
        "its kernels replace losses that are not used here; for large vocabularies there is "
        "limbeck.functional.fused_linear_divergence",
        (False,),
    ),
    "liger_kernel_config": Refused("training.use_liger_kernel is refused too; leave it out", (None,)),
    "use_cache": Refused("a student reads whole rows and generates nothing", (False,)),
    "torch_empty_cache_steps": CONDUCT,
    "full_determinism": CONDUCT,
    "use_cpu": CONDUCT,
    # ---- logging
    "logging_strategy": CONDUCT,
    "logging_steps": CONDUCT,
    "logging_first_step": CONDUCT,
    "log_on_each_node": CONDUCT,
    "log_level": CONDUCT,
    "log_level_replica": CONDUCT,
    "logging_nan_inf_filter": Refused("a loss that is not finite is an error here", (False,)),
    "include_num_input_tokens_seen": Refused("steps and rows are counted, not tokens", ("no", False)),
    "disable_tqdm": CONDUCT,
    "report_to": CONDUCT,
    "project": CONDUCT,
    "trackio_space_id": CONDUCT,
    "trackio_bucket_id": CONDUCT,
    "trackio_static_space_id": CONDUCT,
    "debug": CONDUCT,
    "skip_memory_metrics": CONDUCT,
    # ---- evaluation
    "eval_strategy": CONDUCT,
    "eval_steps": CONDUCT,
    "eval_delay": CONDUCT,
    "eval_on_start": CONDUCT,
    "per_device_eval_batch_size": CONDUCT,
    "eval_accumulation_steps": CONDUCT,
    "eval_use_gather_object": CONDUCT,
    "prediction_loss_only": Refused("a run is scored by its predictions", (False,)),
    "eval_do_concat_batches": Refused("a score is of all rows at once", (True,)),
    "batch_eval_metrics": Refused("a score is of all rows at once", (False,)),
    "include_for_metrics": Refused("a score is of predictions and labels alone", ([], None)),
    # ---- checkpoints
    "save_strategy": CONDUCT,
    "save_steps": CONDUCT,
    "save_total_limit": CONDUCT,
    "save_only_model": CONDUCT,
    "save_on_each_node": CONDUCT,
    "load_best_model_at_end": RESULT,
    "metric_for_best_model": CONDUCT,
    "greater_is_better": CONDUCT,
    "restore_callback_states_from_checkpoint": CONDUCT,
    "enable_jit_checkpoint": Refused(
        "a run that stopped at a signal would be scored as if it were done; set training.save_steps and go on with "
        "--resume",
        (False,),
    ),
    "push_to_hub": Refused(_HUB, (False,)),
    "hub_token": Refused(_HUB, (None,)),
    "hub_private_repo": Refused(_HUB, (None,)),
    "hub_model_id": Refused(_HUB, (None,)),
    "hub_strategy": Refused(_HUB, ("every_save",)),
    "hub_always_push": Refused(_HUB, (False,)),
    "hub_revision": Refused(_HUB, (None,)),
    # ---- loading of rows
    "dataloader_num_workers": CONDUCT,
    "dataloader_pin_memory": CONDUCT,
    "dataloader_persistent_workers": CONDUCT,
    "dataloader_prefetch_factor": CONDUCT,
    "dataloader_multiprocessing_context": CONDUCT,
    "dataloader_in_order": Refused("steps come in the order of their draws", (True,)),
    "remove_unused_columns": Refused("a batch is made of views and teacher rows, not of columns", (False,)),
    # ---- several devices
    "accelerator_config": Refused(
        "batches are cut here, not by accelerate; set training.gradient_accumulation_steps and n_labelled", (None,)
    ),
    "parallelism_config": Refused("of parallel forms there are DDP and FSDP version 2; leave it out", (None,)),
    "ddp_find_unused_parameters": CONDUCT,
    "ddp_bucket_cap_mb": CONDUCT,
    "ddp_broadcast_buffers": CONDUCT,
    "ddp_static_graph": Refused(
        "the terms of a step differ (their shares of the gradient are measured now and then); leave it out",
        (None, False),
    ),
    "ddp_backend": CONDUCT,
    "ddp_timeout": CONDUCT,
    "fsdp": Refused(_SHARDED, (None, "", False)),
    "fsdp_config": Refused(_SHARDED, (None,)),
    "deepspeed": Refused(f"DeepSpeed is not supported; {_SHARDED}", (None,)),
    "local_rank": Refused("torchrun tells it to each process", (-1,)),
    # ---- what speaks to scripts
    "do_train": Refused(_SCRIPT, (False,)),
    "do_eval": Refused(_SCRIPT, (False,)),
    "do_predict": Refused(_SCRIPT, (False,)),
}  # fmt: skip
OWNED_BY_RECIPE = frozenset(name for name, what in FIELDS.items() if what == RECIPE)
TRACKIO = ("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")
# A setting that is read only where another one does not have these values, and what to set with it.
_ONLY_WITH: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "save_steps": ("save_strategy", ("no", "epoch", "best"), "save_strategy: steps"),
    "save_total_limit": ("save_strategy", ("no",), "save_strategy: steps"),
    "save_only_model": ("save_strategy", ("no",), "save_strategy: steps"),
    "eval_steps": ("eval_strategy", ("no", "epoch"), "eval_strategy: steps"),
    "eval_delay": ("eval_strategy", ("no",), "eval_strategy: steps"),
    "logging_steps": ("logging_strategy", ("no", "epoch"), "logging_strategy: steps"),
    "greater_is_better": ("metric_for_best_model", (None,), "metric_for_best_model"),
    "activation_checkpointing_kwargs": ("activation_checkpointing", (None, False), "activation_checkpointing: true"),
    "gradient_checkpointing_kwargs": ("gradient_checkpointing", (None, False), "gradient_checkpointing: true"),
    "dataloader_persistent_workers": ("dataloader_num_workers", (0,), "dataloader_num_workers"),
    "dataloader_prefetch_factor": ("dataloader_num_workers", (0,), "dataloader_num_workers"),
    "dataloader_multiprocessing_context": ("dataloader_num_workers", (0,), "dataloader_num_workers"),
}  # fmt: skip
# What is chosen by scores, where these have a say in what is learned.
_CHOOSING = (
    "eval_strategy", "eval_steps", "eval_delay", "metric_for_best_model", "greater_is_better",
)  # fmt: skip


def refusal(name: str, value: Any) -> str | None:
    """Why the setting cannot have this value; None if it can."""
    what = FIELDS.get(name)
    if isinstance(what, Refused) and not any(value is one or value == one for one in what.but):
        return what.sentence
    return None


def is_refused(name: str) -> bool:
    return isinstance(FIELDS.get(name), Refused)


def changed_settings(arguments: Any) -> dict[str, Any]:
    """Fields of a dataclass instance that differ from their defaults."""
    changed = {}
    for field in fields(arguments):
        factory = field.default_factory
        default = factory() if factory is not MISSING else field.default
        value = getattr(arguments, field.name, default)
        if value is not default and value != default:
            changed[field.name] = value
    return changed


def check_refusals(where: str, values: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first setting that does nothing here, saying what to set instead."""
    for name, value in values.items():
        why = refusal(name, value)
        if why is not None:
            raise ConfigError(f"{where}.{name} does nothing here: {why}.")


def check_companions(where: str, given: Iterable[str], value_of: Callable[[str], Any]) -> None:
    """Raise ConfigError for a setting that is ``given`` and read only beside another one."""
    for name in given:
        other, idle, need = _ONLY_WITH.get(name, ("", (), ""))
        if other and value_of(other) in idle:
            raise ConfigError(
                f"{where}.{name} does nothing without {where}.{need}; set that too, or leave it out."
            )


def result_settings(arguments: Any, own: tuple[str, ...]) -> dict[str, Any]:
    """The settings that change what is learned, as plain values; ``own`` names those beside transformers'."""
    names = [name for name, what in FIELDS.items() if what == RESULT and hasattr(arguments, name)]
    chooses = arguments.load_best_model_at_end or arguments.lr_scheduler_type in (
        "reduce_lr_on_plateau",
        "greedy",
    )
    names += [*own, *(_CHOOSING if chooses else ())]
    return {name: _plain(getattr(arguments, name)) for name in names}


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, str):
        return str(getattr(value, "value", value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


@contextmanager
def told_by_transformers() -> Iterator[None]:
    """What transformers says of settings that it refuses, as one ConfigError."""
    try:
        yield
    except LimbeckError:
        raise
    except (ValueError, TypeError, KeyError, ImportError, NotImplementedError) as error:
        text = " ".join(str(error.args[0] if error.args else error).replace("`", "").split())
        text = text.replace("--", "training.").replace("args.", "training.").rstrip(". ")
        raise ConfigError(f"transformers refuses these training settings: {text}.") from error
