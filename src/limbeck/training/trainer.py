"""transformers' Trainer with two streams, global unit counts, an EMA student, and checkpoints without pickles."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import EvalLoopOutput, IntervalStrategy, TrainOutput, rotate_checkpoints
from transformers.utils import SAFE_WEIGHTS_NAME

from limbeck.data.base import Examples
from limbeck.errors import ConfigError, nearest
from limbeck.files import writing
from limbeck.methods.settings import config_told
from limbeck.students.changes.compiled import blocks_compiled
from limbeck.training.arguments import DistillationArguments
from limbeck.training.callbacks import BagCheck, ProgressBar, StepCallback, TermLog
from limbeck.training.checkpoints import (
    METHOD_FILE,
    UNFINISHED,
    check_files,
    going_on,
    last_checkpoint,
    load_weights,
    publish,
)
from limbeck.training.collator import DistillationCollator
from limbeck.training.descents import check_descents
from limbeck.training.distiller import Distiller
from limbeck.training.identity import layers_digest, run_digests, run_settings
from limbeck.training.optimisers import own_group
from limbeck.training.sampler import Draws, TwoStreamSampler
from limbeck.training.settings import told_by_transformers
from limbeck.training.sharding import check_sharding
from limbeck.training.step.ahead import AheadLoader, reads_large_banks
from limbeck.training.step.lengths import regroups, row_lengths
from limbeck.training.step.packages import packages_looked_up_once
from limbeck.training.step.walks import modules_of, parameters_of
from limbeck.training.streams import in_bags, streams

# Where each process holds every gradient whole, so that torch's own clipping is right.
WHOLE_GRADIENTS = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


class EvaluationRows(torch.utils.data.Dataset):
    """Examples as ``{"inputs", "targets"}`` items for evaluation."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return self.__getitems__([i])[0]

    def __getitems__(self, numbers: list[int]) -> list[dict[str, Any]]:
        """Several at once, as a loader asks: one read of the rows."""
        index = torch.tensor(numbers)
        parts = {"inputs": self.examples.rows(index), "targets": self.examples.targets.rows(index).tensors()}
        return [
            {part: {name: value[i] for name, value in columns.items()} for part, columns in parts.items()}
            for i in range(len(numbers))
        ]


class DistillationTrainer(Trainer):
    """Trains a :class:`Distiller`. The only data override is the training data loader.

    Args:
        model: the distiller.    args: the arguments.
        data_collator: a :class:`DistillationCollator`; it holds training rows and teachers.
        method_name: as in the registry, for logs and checkpoints.
        validation: examples for ``eval_strategy``.
        facts: what else a checkpoint says of its run: ``settings``, and ``digests`` of what was given (see
            ``identity.py``); going on with others is refused.
    """

    model: Distiller
    args: DistillationArguments

    def __init__(
        self,
        model: Distiller,
        args: DistillationArguments,
        data_collator: DistillationCollator,
        *,
        method_name: str,
        validation: Examples | None = None,
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.method_name, self.collate = method_name, data_collator
        self.validation, self.facts = validation, facts or {}
        self._layers = layers_digest(model.student)  # before anything is wrapped
        self._writes_unfinished = False
        self._loader: DataLoader | None = None
        self.terms = TermLog(model.method, method_name)
        check_best_metric(args, validation)
        with told_by_transformers():
            super().__init__(
                model=model,
                args=args,
                data_collator=data_collator,
                train_dataset=Draws(len(data_collator.examples)),
                eval_dataset=EvaluationRows(validation) if validation is not None else None,
                compute_metrics=self._scores,
                **kwargs,
            )
        if args.n_gpu > 1:
            raise ConfigError(
                "Several GPUs in one process (DataParallel) are not supported; launch with torchrun."
            )
        check_descents(
            model.method,
            accumulation=args.gradient_accumulation_steps,
            fsdp=self.is_fsdp_enabled,
            deepspeed=self.is_deepspeed_enabled,
            fp16=args.fp16,
        )
        check_sharding(self)
        self.remove_callback(PrinterCallback)
        self.add_callback(StepCallback(model))
        self.add_callback(BagCheck(model, data_collator, self.terms))

    def train(
        self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any
    ) -> TrainOutput:
        """As the Trainer's; a checkpoint is checked before anything is read from it, and a progress bar goes away also
        when the training fails.

        Raises: CheckpointError.
        """
        folder = last_checkpoint(self.args.output_dir, resume_from_checkpoint)
        if folder is not None:
            self.check_resume(folder)
        try:
            with packages_looked_up_once(), self._student_compiled():
                return super().train(None if folder is None else str(folder), *args, **kwargs)
        finally:
            if isinstance(self._loader, AheadLoader):
                self._loader.close()
            for callback in self.callback_handler.callbacks:
                if isinstance(callback, ProgressBar):
                    callback.close()

    def _student_compiled(self) -> AbstractContextManager[None]:
        if not (how := self.args.compile_student):
            return nullcontext()
        return blocks_compiled(self.model.student, how if isinstance(how, str) else "inductor")

    # ---- data -----------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """Batches of draws for this rank, made ahead where a large bank is read; not prepared by accelerate, since the
        sampler cuts by rank itself."""
        args = self.args
        plan = self.model.method.plan
        labelled, unlabelled = streams(self.collate, has_teacher=plan.has_teacher, unlabelled=plan.unlabelled)
        sampler = TwoStreamSampler(
            labelled,
            unlabelled,
            n_labelled=args.n_labelled,
            n_units=args.n_bags if in_bags(self.collate) else args.n_unlabelled,
            max_steps=args.max_steps,
            seed=args.seed,
            accumulation=args.gradient_accumulation_steps,
            rank=args.process_index,
            world_size=args.world_size,
            lengths=row_lengths(self.collate.examples) if regroups(plan) else None,
            first_step=lambda: self.state.global_step,
        )
        looks_ahead = not args.dataloader_num_workers and reads_large_banks(self.collate)
        self._loader = (AheadLoader if looks_ahead else DataLoader)(
            Draws(len(self.collate.examples)),
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            multiprocessing_context=args.dataloader_multiprocessing_context,
            pin_memory=args.dataloader_pin_memory and torch.cuda.is_available(),
            generator=torch.Generator(),  # its own, so that starting an epoch leaves the global one alone
        )
        return self._loader

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor]:
        """The micro-batches of a step, and each unit's count over all micro-batches and ranks."""
        batches = list(itertools.islice(epoch_iterator, num_batches))
        names = list(batches[0]["counts"]) if batches else ["batch"]
        total = torch.tensor([sum(batch["counts"][n] for batch in batches) for n in names])
        if self.args.world_size > 1:
            # accelerate scales what it reduces by a float, so the counts go as one
            total = self.accelerator.reduce(total.double().to(device), reduction="sum").cpu()
        scales = {n: self.args.world_size / max(1.0, float(c)) for n, c in zip(names, total)}
        for batch in batches:
            batch["scales"] = scales
        return batches, total

    # ---- the step -------------------------------------------------------------------------------------------

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """As the Trainer's: a batch that is made on the CPU is there already."""
        return inputs if self.args.device.type == "cpu" else super()._prepare_inputs(inputs)

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """As the Trainer's, without its walk over the names of all parameters and its search for sharded gradients."""
        if self.accelerator.distributed_type not in WHOLE_GRADIENTS or self._has_mixed_mesh_grads(model):
            return super()._clip_grad_norm(model)
        self.accelerator.unscale_gradients()
        return clip_grad_norm_(parameters_of(modules_of(model)), self.args.max_grad_norm)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """None are counted, as before: a Distiller does not say its own."""
        return 0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The weighted terms over their global counts; in evaluation the mean label loss of the scored student."""
        if not model.training:
            outputs = model(**inputs)
            return (outputs["loss"], outputs) if return_outputs else outputs["loss"]
        step = self.state.global_step
        batch = {k: v for k, v in inputs.items() if k not in ("keys", "counts")}
        outputs = model(
            **batch,
            progress=step / self.args.max_steps,
            seed=self.args.seed,
            rate=self._rate(),
            report=self._logs_after(step),
        )
        self.terms.record(step, outputs, inputs, fp16=self.args.fp16)
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def _rate(self) -> float:
        """Learning rate of this step."""
        return float(self.optimizer.param_groups[0]["lr"]) if self.optimizer is not None else 0.0

    def _scores(self, prediction: Any) -> dict[str, float]:
        """The problem's metrics of an ``EvalPrediction`` whose predictions are statistics."""
        gathered = {name: torch.from_numpy(value) for name, value in prediction.predictions.items()}
        return self.model.problem.scores(gathered)

    def _logs_after(self, step: int) -> bool:
        """Whether the Trainer will log at the end of this step."""
        if self.args.logging_strategy != IntervalStrategy.STEPS:
            return False
        done, every = step + 1, max(1, int(self.state.logging_steps))
        return done % every == 0 or (done == 1 and self.args.logging_first_step)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds terms, weights and gradient shares, over all ranks, to the Trainer's logs."""
        if "loss" in logs:
            logs = logs | self.terms.summary(
                self.state.global_step / self.args.max_steps, self._mean_over_ranks
            )
        super().log(logs, start_time)

    def _mean_over_ranks(self, values: list[float]) -> list[float]:
        if self.args.world_size == 1:
            return values
        mine = torch.tensor(values, dtype=torch.float64, device=self.args.device)
        return self.accelerator.reduce(mine, reduction="mean").tolist()

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        # by shape, since transformers knows LayerNorm but not BatchNorm
        smallest = 0 if self.args.weight_decay_on == "all" else 2
        return [name for name, value in model.named_parameters() if value.ndim >= smallest]

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """As the Trainer's, with the method's own parts at their own learning rate, where one is set."""
        new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        rate = self.args.method_learning_rate
        if new and rate is not None:
            own_group(optimizer, self.model.method.parameters(), rate)
        return optimizer

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """As the Trainer's; how often a run is evaluated does not change its draws, such as those of dropout."""
        with torch.random.fork_rng(devices=[]):
            return super().evaluation_loop(*args, **kwargs)

    # ---- checkpoints ----------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """As the Trainer's, but the checkpoint gets its name only when all of it is on disk."""
        folder, limit = Path(super()._get_output_dir(trial)), self.args.save_total_limit
        name = f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            self._writes_unfinished, self.args.save_total_limit = True, None
            with writing(folder / name):
                super()._save_checkpoint(model, trial)
        except BaseException:  # half a checkpoint only takes space
            shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
            raise
        finally:
            self._writes_unfinished, self.args.save_total_limit = False, limit
        self.accelerator.wait_for_everyone()
        best = folder / f"checkpoint-{self.state.best_global_step}"
        if self.state.best_global_step and (best.name == name or best.is_dir()):
            self.state.best_model_checkpoint = str(best)
        if self.args.should_save:
            with writing(folder / name):
                self.state.save_to_json(str(folder / UNFINISHED / name / TRAINER_STATE_NAME))
                publish(folder / UNFINISHED / name, folder / name)
                (folder / UNFINISHED).rmdir()
            rotate_checkpoints(str(folder), limit, self.state.best_model_checkpoint)
        self.accelerator.wait_for_everyone()

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder) / UNFINISHED) if self._writes_unfinished else folder

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Distiller weights (tied ones once), the method's name and config, and what was warned of; no pickles."""
        if not self.args.should_save:
            return
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, str(folder / SAFE_WEIGHTS_NAME), metadata={"format": "pt"})
        facts = self._identity() | {"max_steps": self.args.max_steps, "warnings": self.terms.warnings}
        (folder / METHOD_FILE).write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def check_resume(self, folder: Path) -> None:
        """Refuse a checkpoint that is damaged or of another run; CheckpointError."""
        ramp_end = self.model.method.settled
        self._kept_warnings, self._note = going_on(folder, self._identity(), self.model, self.args, ramp_end)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        kept = self._kept_warnings
        self.terms.warnings[:] = [*kept, *(w for w in self.terms.warnings if w not in kept)]
        if self._note is not None:
            self.terms.warn(self._note)
        load_weights(Path(resume_from_checkpoint), model or self.model)

    def _load_best_model(self) -> None:
        """The best checkpoint's weights, if they are whole."""
        folder = Path(str(self.state.best_model_checkpoint))
        check_files(folder)
        load_weights(folder, self.model)

    def _identity(self) -> dict[str, Any]:
        """What is this run's, and not another's."""
        settings = run_settings(self.args, self.facts.get("settings", {}))
        method = {"name": self.method_name, "config": config_told(self.model.method.config)}
        return method | {"settings": settings, "digests": self._digests}

    @cached_property
    def _digests(self) -> dict[str, str]:
        """Of all that is read; made when a checkpoint is first written or read."""
        digests = run_digests(self.collate.examples, self.collate.teachers, self.validation)
        return digests | {"the student's layers": self._layers} | dict(self.facts.get("digests", {}))


def check_best_metric(args: DistillationArguments, validation: Examples | None) -> None:
    """Refuse to choose by a figure that the evaluation does not give; ConfigError."""
    name = (args.metric_for_best_model or "loss").removeprefix("eval_")
    given = ["loss", *([] if validation is None else [metric.name for metric in validation.problem.metrics])]
    if name not in given:
        raise ConfigError(f"training.metric_for_best_model has no {name!r} here; {nearest(name, given)}")
