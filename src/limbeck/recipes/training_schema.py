"""The trainer's settings with their types and defaults, as the parser of a recipe takes them.

A literal, so that a recipe is read without torch and transformers, whose import takes seconds. It is made from
:class:`limbeck.training.DistillationArguments`, and a test fails, and prints it anew, where the two differ. Names of
transformers' enumerations are plain texts here.
"""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Any, Literal

TRAINING: dict[str, tuple[Any, Any]] = {
    "output_dir": (str | None, None),
    "per_device_train_batch_size": (int, 1),
    "num_train_epochs": (float, 0.0),
    "max_steps": (int, 240),
    "learning_rate": (float, 5e-05),
    "lr_scheduler_type": (str, "linear"),
    "lr_scheduler_kwargs": (dict | str | None, None),
    "warmup_steps": (float, 0),
    "optim": (str, "adamw_torch_fused"),
    "optim_args": (str | None, None),
    "weight_decay": (float, 0.0),
    "adam_beta1": (float, 0.9),
    "adam_beta2": (float, 0.999),
    "adam_epsilon": (float, 1e-08),
    "optim_target_modules": (str | list[str] | None, None),
    "gradient_accumulation_steps": (int, 1),
    "average_tokens_across_devices": (bool, True),
    "max_grad_norm": (float, 1.0),
    "label_smoothing_factor": (float, 0.0),
    "bf16": (bool, False),
    "fp16": (bool, False),
    "bf16_full_eval": (bool, False),
    "fp16_full_eval": (bool, False),
    "tf32": (bool | None, None),
    "activation_checkpointing": (bool | None, None),
    "activation_checkpointing_kwargs": (dict[str, Any] | str | None, None),
    "gradient_checkpointing": (bool | None, None),
    "gradient_checkpointing_kwargs": (dict[str, Any] | str | None, None),
    "torch_compile": (bool, False),
    "torch_compile_backend": (str | None, None),
    "torch_compile_mode": (str | None, None),
    "use_liger_kernel": (bool, False),
    "liger_kernel_config": (dict[str, bool] | None, None),
    "use_cache": (bool, False),
    "neftune_noise_alpha": (float | None, None),
    "torch_empty_cache_steps": (int | None, None),
    "auto_find_batch_size": (bool, False),
    "logging_strategy": (str, "steps"),
    "logging_steps": (float, 20),
    "logging_first_step": (bool, False),
    "log_on_each_node": (bool, True),
    "logging_nan_inf_filter": (bool, False),
    "include_num_input_tokens_seen": (str | bool, "no"),
    "log_level": (str, "passive"),
    "log_level_replica": (str, "warning"),
    "disable_tqdm": (bool | None, True),
    "report_to": (str | list[str] | None, "none"),
    "run_name": (str | None, None),
    "project": (str, "huggingface"),
    "trackio_space_id": (str | None, None),
    "trackio_bucket_id": (str | None, None),
    "trackio_static_space_id": (str | Literal[False] | None, None),
    "eval_strategy": (str, "no"),
    "eval_steps": (float | None, None),
    "eval_delay": (float, 0),
    "per_device_eval_batch_size": (int, 8),
    "prediction_loss_only": (bool, False),
    "eval_on_start": (bool, False),
    "eval_do_concat_batches": (bool, True),
    "eval_use_gather_object": (bool, False),
    "eval_accumulation_steps": (int | None, None),
    "include_for_metrics": (list[str], []),
    "batch_eval_metrics": (bool, False),
    "save_only_model": (bool, False),
    "save_strategy": (str, "no"),
    "save_steps": (float, 500),
    "save_on_each_node": (bool, False),
    "save_total_limit": (int | None, None),
    "enable_jit_checkpoint": (bool, False),
    "push_to_hub": (bool, False),
    "hub_token": (str | None, None),
    "hub_private_repo": (bool | None, None),
    "hub_model_id": (str | None, None),
    "hub_strategy": (str, "every_save"),
    "hub_always_push": (bool, False),
    "hub_revision": (str | None, None),
    "load_best_model_at_end": (bool, False),
    "metric_for_best_model": (str | None, None),
    "greater_is_better": (bool | None, None),
    "ignore_data_skip": (bool, True),
    "restore_callback_states_from_checkpoint": (bool, False),
    "full_determinism": (bool, False),
    "seed": (int, 42),
    "data_seed": (int | None, None),
    "use_cpu": (bool, False),
    "accelerator_config": (dict | str | None, None),
    "parallelism_config": (Any, None),
    "dataloader_drop_last": (bool, False),
    "dataloader_num_workers": (int, 0),
    "dataloader_pin_memory": (bool, False),
    "dataloader_persistent_workers": (bool, False),
    "dataloader_prefetch_factor": (int | None, None),
    "dataloader_multiprocessing_context": (str | None, None),
    "dataloader_in_order": (bool, True),
    "remove_unused_columns": (bool, False),
    "label_names": (list[str] | None, ["targets"]),
    "train_sampling_strategy": (str, "random"),
    "length_column_name": (str, "length"),
    "ddp_find_unused_parameters": (bool | None, None),
    "ddp_bucket_cap_mb": (int | None, None),
    "ddp_broadcast_buffers": (bool | None, None),
    "ddp_static_graph": (bool | None, None),
    "ddp_backend": (str | None, None),
    "ddp_timeout": (int, 1800),
    "fsdp": (str | None, None),
    "fsdp_config": (dict[str, Any] | str | None, None),
    "deepspeed": (dict | str | None, None),
    "debug": (str, ""),
    "skip_memory_metrics": (bool, True),
    "do_train": (bool, False),
    "do_eval": (bool, False),
    "do_predict": (bool, False),
    "resume_from_checkpoint": (str | None, None),
    "local_rank": (int, -1),
    "n_labelled": (int, 32),
    "n_unlabelled": (int, 64),
    "n_bags": (int, 4),
    "ema": (bool, False),
    "scores": (str | None, None),
    "ema_decay": (float, 0.99),
    "weight_decay_on": (Literal["all", "weights"], "weights"),
    "method_learning_rate": (float | None, None),
    "compile_student": (bool | str, False),
}  # fmt: skip


def settings_class(skip: frozenset[str]) -> type:
    """A dataclass of the settings but those to ``skip``, for the parser to read."""

    def entry(name: str) -> tuple[str, Any, Any]:
        kind, default = TRAINING[name]
        if isinstance(default, list):
            return name, kind, field(default_factory=lambda: list(default))
        return name, kind, field(default=default)

    made = make_dataclass("Training", [entry(name) for name in TRAINING if name not in skip])
    made.__doc__ = (
        "Settings of the trainer: transformers' own, and the two streams, the EMA student and the like."
    )
    return made
