"""Every setting of transformers works, or is refused before step 1 in a sentence that says what to set instead.

What changes the result is shown to change it, and what does not is shown not to, on runs of a few steps.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from levels import some_of
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.errors import ConfigError
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import method_class, method_config
from limbeck.recipes import Recipe
from limbeck.recipes.recipe import check_recipe
from limbeck.students import Student
from limbeck.training import DistillationArguments, DistillationTrainer, Distiller
from limbeck.training.collator import DistillationCollator
from limbeck.training.optimisers import ENDLESS, OPTIM_ARGS, OPTIMISERS, WITHOUT_WARMUP, WORKS
from limbeck.training.ranges import TRACKERS
from limbeck.training.settings import CONDUCT, FIELDS, RECIPE, RESULT, Refused

# What changes the result: settings that show it.
CHANGING: dict[str, dict[str, Any]] = {
    "max_steps": {"max_steps": 3},
    "gradient_accumulation_steps": {"gradient_accumulation_steps": 2},
    "learning_rate": {"learning_rate": 3e-3},
    "lr_scheduler_type": {"lr_scheduler_type": "constant"},
    "lr_scheduler_kwargs": {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 5e-3}},
    "warmup_steps": {"warmup_steps": 3},
    "optim": {"optim": "sgd"},
    "optim_args": {"optim": "sgd", "optim_args": "momentum=0.9,nesterov=true"},
    "weight_decay": {"weight_decay": 0.5},
    "adam_beta1": {"adam_beta1": 0.5},
    "adam_beta2": {"adam_beta2": 0.9},
    "adam_epsilon": {"adam_epsilon": 0.1},
    "max_grad_norm": {"max_grad_norm": 1e-8},
    "bf16": {"bf16": True},
    "load_best_model_at_end": {
        "load_best_model_at_end": True, "save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps",
        "eval_steps": 1,
        "metric_for_best_model": "loss", "greater_is_better": True,
    },
}  # fmt: skip
# What changes nothing that is learned, several at a time.
CONDUCTS: dict[str, dict[str, Any]] = {
    "logging": {
        "logging_strategy": "steps", "logging_steps": 1, "logging_first_step": True, "log_on_each_node": False,
        "log_level": "error", "log_level_replica": "error", "disable_tqdm": False, "report_to": "all",
        "skip_memory_metrics": False, "debug": "underflow_overflow",
    },
    "logging once": {"logging_strategy": "epoch"},
    "no logging": {"logging_strategy": "no"},
    "evaluation": {
        "eval_strategy": "steps", "eval_steps": 1, "eval_delay": 2, "eval_on_start": True,
        "per_device_eval_batch_size": 5, "eval_accumulation_steps": 1, "eval_use_gather_object": True,
    },
    "evaluation at the end": {"eval_strategy": "epoch"},
    "no evaluation": {"eval_strategy": "no"},
    "saving": {
        "save_strategy": "steps", "save_steps": 1, "save_total_limit": 1, "save_on_each_node": True,
        "metric_for_best_model": "accuracy", "greater_is_better": True,
        "restore_callback_states_from_checkpoint": True,
    },
    "saving the weights": {"save_strategy": "epoch", "save_only_model": True},
    "saving the best": {"save_strategy": "best", "metric_for_best_model": "accuracy"},
    "workers": {
        "dataloader_num_workers": 1, "dataloader_persistent_workers": True, "dataloader_prefetch_factor": 3,
        "dataloader_multiprocessing_context": "fork", "dataloader_pin_memory": True,
    },
    "the machine": {"use_cpu": True, "torch_empty_cache_steps": 9, "full_determinism": True},
    "several processes": {
        "ddp_find_unused_parameters": True, "ddp_bucket_cap_mb": 1, "ddp_broadcast_buffers": False, "ddp_timeout": 60,
    },
}  # fmt: skip
# Tested elsewhere, or with what is not here.
ELSEWHERE = {
    "fp16": "needs a GPU",
    "tf32": "needs an Ampere GPU",
    "optim_target_modules": "needs galore_torch or apollo_torch",
    "project": "needs trackio", "trackio_space_id": "needs trackio", "trackio_bucket_id": "needs trackio",
    "trackio_static_space_id": "needs trackio",
    "ddp_backend": "test_invariance.py, test_processes.py",
    "activation_checkpointing": "test_checkpointing_is_forwarded below",
    "activation_checkpointing_kwargs": "test_checkpointing_is_forwarded below",
    "gradient_checkpointing": "test_checkpointing_is_forwarded below",
    "gradient_checkpointing_kwargs": "test_checkpointing_is_forwarded below",
}  # fmt: skip


def names_of(what: str) -> set[str]:
    return {name for name, found in FIELDS.items() if found == what}


def test_the_table_holds_every_field_of_the_installed_version() -> None:
    installed = {field.name for field in fields(TrainingArguments)}
    assert installed - FIELDS.keys() == set(), "say what becomes of these in training/settings.py"
    assert FIELDS.keys() - installed == set(), "transformers has these no more"
    assert {optimiser.value for optimiser in OptimizerNames} == OPTIMISERS.keys()
    schedules = {schedule.value for schedule in SchedulerType}
    assert ENDLESS | set(WITHOUT_WARMUP) | set(WITHOUT_WARMUP.values()) <= schedules


def test_every_field_that_works_is_shown_to_work() -> None:
    shown = {
        name for values in [*CHANGING.values(), *CONDUCTS.values()] for name in values
    } | ELSEWHERE.keys()
    assert names_of(RESULT) | names_of(CONDUCT) == shown
    assert names_of(RESULT) <= CHANGING.keys() | ELSEWHERE.keys()
    assert names_of(RECIPE) == {"output_dir", "seed", "run_name"}


# ---- what works ----------------------------------------------------------------------------------------------


def trained(toy: ModuleType, bank: Bank, folder: Path, **changed: Any) -> dict[str, Tensor]:
    values: dict[str, Any] = {"max_steps": 4, "eval_strategy": "steps"}
    if changed.get("eval_strategy", "steps") == "steps":
        values["eval_steps"] = 2
    if changed.get("logging_strategy", "steps") != "steps":
        values["logging_steps"] = DistillationArguments.logging_steps
    run = toy.trainer(
        "kd", folder, bank, net=toy.noisy_net, validation=toy.examples(24, 24), **values | changed
    )
    run.train()
    run.predict(run.eval_dataset)
    assert run.state.global_step == run.args.max_steps
    return toy.weights(run)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def base(toy: ModuleType, bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return trained(toy, bank, tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("name", some_of(CHANGING, *list(CHANGING)[:4]))
def test_what_changes_the_result(
    name: str, base: dict[str, Tensor], toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    assert not same(base, trained(toy, bank, tmp_path, **CHANGING[name]))
    plain, changed = (toy.settings(tmp_path, **values).result_settings() for values in ({}, CHANGING[name]))
    assert plain[name] != changed[name]


@pytest.mark.parametrize("name", some_of(CONDUCTS, *list(CONDUCTS)[:3]))
def test_what_does_not(
    name: str,
    base: dict[str, Tensor],
    toy: ModuleType,
    bank: Bank,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")  # where it is installed, `all` would ask for an account
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        assert same(base, trained(toy, bank, tmp_path, **CONDUCTS[name]))
    finally:
        torch.use_deterministic_algorithms(deterministic)
    usual = {"eval_strategy": "steps", "logging_steps": DistillationArguments.logging_steps}
    plain, changed = (toy.settings(tmp_path, **usual | values) for values in ({}, CONDUCTS[name]))
    assert plain.result_settings() == changed.result_settings()


@pytest.mark.parametrize(
    "name", some_of(sorted(name for name, what in OPTIMISERS.items() if what == WORKS), "adamw_torch", "sgd")
)
def test_optimisers(name: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    for key in OPTIM_ARGS.get(name, [None]):
        value = {"nesterov": "true,momentum=0.5", "centered": "true", None: ""}.get(key, "0.5")
        arguments = {} if key is None else {"optim_args": f"{key}={value}"}
        weights = trained(toy, bank, tmp_path, optim=name, max_steps=2, **arguments)
        assert all(torch.isfinite(weight).all() for weight in weights.values())


NEEDED = {
    "cosine_with_min_lr": {"min_lr": 1e-3},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
    "warmup_stable_decay": {"num_decay_steps": 2},
}


@pytest.mark.parametrize(
    "schedule", some_of([schedule.value for schedule in SchedulerType], "linear", "cosine")
)
def test_schedules(schedule: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    if schedule in NEEDED:
        with pytest.raises(
            ConfigError, match=r"transformers refuses these training settings: .*(min_lr|num_decay)"
        ):
            toy.settings(tmp_path, lr_scheduler_type=schedule)
    kwargs = {"lr_scheduler_kwargs": NEEDED[schedule]} if schedule in NEEDED else {}
    warmup = {} if schedule in WITHOUT_WARMUP else {"warmup_steps": 1}
    trained(toy, bank, tmp_path, lr_scheduler_type=schedule, **kwargs, **warmup)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["activation_checkpointing", "gradient_checkpointing"])
def test_checkpointing_is_forwarded(name: str, tmp_path: Path) -> None:
    """Of the student's activations; its arguments go with it."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=3, **sizes))
    seen: list[Any] = []
    enable = model.activation_checkpointing_enable

    def noted(**kwargs: Any) -> None:
        seen.append(kwargs["activation_checkpointing_kwargs"])
        enable(**kwargs)

    model.activation_checkpointing_enable = noted
    rows = Examples.classified(
        {"input_ids": torch.randint(0, 20, (12, 5))}, tuple(range(12)), torch.arange(12) % 3, ("a", "b", "c")
    )
    student = Student(model)
    student.probe(rows.rows([0]))
    method = method_class("supervised")(method_config("supervised"), Shapes(Side(16, 3), {}))
    collate = DistillationCollator(rows, views={}, seed=0)
    values = {name: True, f"{name}_kwargs": {"preserve_rng_state": False}}
    arguments = DistillationArguments(output_dir=str(tmp_path), max_steps=2, n_labelled=6, **values)
    DistillationTrainer(
        Distiller(student, method, problem=rows.problem), arguments, collate, method_name="supervised"
    ).train()
    assert seen == [{"use_reentrant": False, "preserve_rng_state": False}]


# ---- what is refused -----------------------------------------------------------------------------------------

# A value of each refused field that asks for something.
ASKING: dict[str, Any] = {
    "data_seed": 3, "resume_from_checkpoint": "here", "label_names": ["x"], "num_train_epochs": 3.0,
    "per_device_train_batch_size": 8, "auto_find_batch_size": True, "average_tokens_across_devices": False,
    "train_sampling_strategy": "group_by_length", "length_column_name": "n", "dataloader_drop_last": True,
    "ignore_data_skip": False, "label_smoothing_factor": 0.1, "neftune_noise_alpha": 5.0, "bf16_full_eval": True,
    "fp16_full_eval": True, "torch_compile": True, "torch_compile_backend": "inductor",
    "torch_compile_mode": "default", "use_liger_kernel": True, "liger_kernel_config": {"rope": True},
    "use_cache": True, "logging_nan_inf_filter": True, "include_num_input_tokens_seen": "all",
    "prediction_loss_only": True, "eval_do_concat_batches": False, "batch_eval_metrics": True,
    "include_for_metrics": ["inputs"], "enable_jit_checkpoint": True, "push_to_hub": True, "hub_token": "t",
    "hub_private_repo": True, "hub_model_id": "me/mine", "hub_strategy": "end", "hub_always_push": True,
    "hub_revision": "main", "dataloader_in_order": False, "remove_unused_columns": True,
    "accelerator_config": {"split_batches": True}, "parallelism_config": {"tp_size": 2}, "ddp_static_graph": True,
    "fsdp": "full_shard", "fsdp_config": {"version": 2}, "deepspeed": {"zero_optimization": {"stage": 1}},
    "local_rank": 0, "do_train": True, "do_eval": True, "do_predict": True,
}  # fmt: skip
REFUSED = sorted(name for name, what in FIELDS.items() if isinstance(what, Refused))


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_nothing_is_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    words = f"training.{name} does nothing here: "
    for make in (
        lambda: DistillationArguments(output_dir=str(tmp_path), **{name: ASKING[name]}),
        lambda: check_recipe(Recipe(training={name: ASKING[name]})),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        said = str(caught.value)
        assert said.startswith(words)
        assert said.endswith(".")
        assert said.count(". ") == 0, "one sentence"
    recipe = Recipe()
    recipe.teacher.training = {name: ASKING[name]}
    with pytest.raises(ConfigError, match=f"teacher.training.{name} does nothing here"):
        check_recipe(recipe)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_so_anyway_may_be_said(name: str, tmp_path: Path) -> None:
    what = FIELDS[name]
    assert isinstance(what, Refused)
    for value in what.but:
        DistillationArguments(output_dir=str(tmp_path), **{name: value})
    default = next(field for field in fields(DistillationArguments) if field.name == name)
    value = default.default_factory() if callable(default.default_factory) else default.default
    assert any(value == allowed for allowed in what.but)


@pytest.mark.parametrize("name", ["num_train_epochs", "per_device_train_batch_size"])
def test_a_recipe_cannot_say_transformers_own_default_either(name: str) -> None:
    default = next(field.default for field in fields(TrainingArguments) if field.name == name)
    with pytest.raises(
        ConfigError, match=f"training.{name} does nothing here: .*; set training.(max_steps|n_labelled)"
    ):
        check_recipe(Recipe(training={name: default}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"save_steps": 5}, "save_steps does nothing without training.save_strategy: steps"),
        ({"save_total_limit": 5}, "save_total_limit does nothing without training.save_strategy"),
        ({"eval_strategy": "no", "eval_steps": 5}, "eval_steps does nothing without training.eval_strategy"),
        ({"logging_strategy": "no", "logging_steps": 5}, "logging_steps does nothing without"),
        ({"greater_is_better": True}, "does nothing without training.metric_for_best_model"),
        ({"dataloader_prefetch_factor": 2}, "training.dataloader_num_workers"),
        ({"gradient_checkpointing_kwargs": {"x": 1}}, "without training.gradient_checkpointing: true"),
    ],
)
def test_what_needs_another_setting_says_which(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        check_recipe(Recipe(training=values))
    with pytest.raises(ConfigError, match=words):
        DistillationArguments(
            output_dir=str(tmp_path), **{"eval_strategy": "steps", "eval_steps": 1, **values}
        )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"optim": "lomo"}, "optim='lomo' cannot be used: it moves the weights inside the backward pass"),
        ({"optim": "galore_adamw_layerwise"}, "cannot be used: it moves the weights inside"),
        ({"optim": "schedule_free_adamw"}, "cannot be used: it keeps other weights"),
        ({"optim": "galore_adamw"}, "needs the package galore_torch"),
        ({"optim": "nothing"}, "transformers refuses these training settings: nothing is not a valid Optim"),
        ({"optim_target_modules": "all-linear"}, "optim_target_modules does nothing here"),
        ({"optim": "sgd", "adam_beta1": 0.8}, "adam_beta1 does nothing here: sgd does not read it"),
        ({"optim_args": "momentum=0.9"}, "no 'momentum' for adamw_torch_fused; it takes none"),
        ({"optim": "sgd", "optim_args": "momentun=0.9"}, "no 'momentun' for sgd; did you mean 'momentum'"),
        ({"optim": "sgd", "optim_args": "momentum"}, "optim_args must be like"),
        ({"optim": "sgd", "optim_args": "weight_decay=0.1"}, "no 'weight_decay' for sgd"),
        (
            {"lr_scheduler_type": "constant", "warmup_steps": 3},
            "the schedule constant has no warm-up; take constant_with",
        ),
        (
            {"lr_scheduler_kwargs": {"min_lr": 1.0}},
            "transformers refuses .* unexpected keyword argument 'min_lr'",
        ),
        ({"lr_scheduler_type": "nothing"}, "nothing is not a valid SchedulerType"),
        ({"learning_rate": -1.0}, r"learning_rate must lie in \[0, 1e\+06\]; it is -1"),
        ({"learning_rate": float("nan")}, r"learning_rate must lie in \[0, 1e\+06\]; it is nan"),
        ({"learning_rate": "fast"}, "learning_rate must be a number; it is 'fast'"),
        ({"max_steps": 2.5}, "max_steps must be a whole number; it is 2.5"),
        ({"max_steps": True}, "max_steps must be a whole number"),
        ({"adam_beta1": 1.0}, r"adam_beta1 must lie in \[0, 1\)"),
        ({"gradient_accumulation_steps": 0}, r"gradient_accumulation_steps must lie in \[1, 1,000,000\]"),
        ({"save_strategy": "steps", "save_steps": 0}, "save_steps must be above 0"),
        ({"seed": -1}, r"seed must lie in \[0, 4,294,967,295\]; it is -1"),
        ({"log_level": "loud"}, "log_level has no level 'loud'"),
        ({"report_to": "wandbb"}, "report_to has no tracker 'wandbb'; did you mean 'wandb'"),
        ({"project": "mine"}, "project does nothing here: only the tracker trackio reads it"),
        ({"debug": "tpu_metrics_debug"}, "there are no TPUs here"),
        ({"eval_strategy": "often"}, "often is not a valid IntervalStrategy"),
        ({"fp16": True, "use_cpu": True}, "fp16 needs a GPU; set training.bf16"),
        (
            {"load_best_model_at_end": True, "save_strategy": "epoch"},
            "requires the save and eval strategy to match",
        ),
    ],
)
def test_values_that_cannot_be_used(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        DistillationArguments(output_dir=str(tmp_path), **values)


def test_a_tracker_whose_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "wandb", ("no_such_package",))
    with pytest.raises(ConfigError, match="report_to: wandb needs its package; install it"):
        DistillationArguments(output_dir=str(tmp_path), report_to=["wandb"])


def test_trackers_are_those_of_transformers() -> None:
    assert set(TRACKERS) == set(INTEGRATION_TO_CALLBACK)


def test_a_figure_that_no_evaluation_gives(toy: ModuleType, tmp_path: Path) -> None:
    for name in ("f1", "eval_f1"):
        with pytest.raises(ConfigError, match="metric_for_best_model has no 'f1' here; valid ones: loss"):
            toy.trainer("supervised", tmp_path, None, metric_for_best_model=name)
    with pytest.raises(ConfigError, match=r"transformers refuses these training settings: .*eval_dataset"):
        toy.trainer("supervised", tmp_path, None, eval_strategy="steps")
