"""The product in one picture: an image model that reads digits teaches a small audio model to hear them."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError, UnknownNameError, nearest

# Where one embedded run's numbers come from: every arm has these, the baseline included.
TRAINING: dict[str, Any] = {
    "n_labelled": 32,
    "n_unlabelled": 64,
    "n_bags": 4,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "weight_decay_on": "all",
    "warmup_steps": 0.1,
    "lr_scheduler_type": "cosine",
    "max_grad_norm": 5.0,
    "ema": True,
}


@dataclass(frozen=True)
class DemoArm:
    """An arm of the demo: method and settings, the link it gets, and what its teacher gives, in words."""

    method: str
    link: str
    given: str
    config: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


ARMS: dict[str, DemoArm] = {
    "supervised": DemoArm("supervised", "none", "no teacher"),
    "ucmkd": DemoArm("ucmkd", "by_class", "images of the same classes, no link"),
    "ucmkd_bilevel": DemoArm(
        "ucmkd", "by_class", "images of the same classes, no link", {"scheme": "bilevel"}
    ),
    "feature_ot": DemoArm("feature_ot", "by_class", "images of the same classes, no link"),
    "kd": DemoArm("kd", "by_class", "images of the same classes, no link"),
    "paired": DemoArm("kd", "paired", "one image for each unlabelled clip", {"temperature": 1.0}),
    "bagged": DemoArm("bagkd", "bagged", "16 images for each 16 unlabelled clips, order unknown"),
    "bagged_independent": DemoArm(
        "bagkd",
        "bagged",
        "16 images of a similar mix for each 16 unlabelled clips",
        data={"counts": "independent"},
    ),
    "feature_ot_bagged": DemoArm(
        "feature_ot", "bagged", "16 images for each 16 unlabelled clips, order unknown"
    ),
}
DEFAULT_ARMS = ("supervised", "ucmkd", "paired", "bagged")
CONTROLS = ("shuffled", "random")


@dataclass(frozen=True)
class DemoOptions:
    """What ``limbeck demo`` is asked for.

    Args:
        output: folder of results; a demo started again there goes on where it stopped.
        quick: one seed and half the steps, unless they are given.
        seeds, labels, steps: seeds, labelled clips of each digit, optimiser steps; each at least 1.
        images: ``sklearn`` or ``mnist:DIR``.    audio: ``speech`` or ``fsdd:DIR``.
        unseen_speakers: speakers that are only tested on.
        arms: names of :data:`ARMS`.    controls: of ``shuffled`` and ``random``, run beside every arm.
    """

    output: str = "limbeck-demo"
    quick: bool = False
    seeds: int = 3
    labels: int = 5
    steps: int = 240
    images: str = "sklearn"
    audio: str = "speech"
    unseen_speakers: tuple[str, ...] = ()
    arms: tuple[str, ...] = DEFAULT_ARMS
    controls: tuple[str, ...] = ("shuffled",)

    def __post_init__(self) -> None:
        for what, names, known in (("arm", self.arms, ARMS), ("control", self.controls, CONTROLS)):
            for name in names:
                if name not in known:
                    raise UnknownNameError(f"The demo has no {what} {name!r}; {nearest(name, known)}")
        for what in ("seeds", "labels", "steps"):
            if getattr(self, what) < 1:
                raise ConfigError(f"--{what} must be at least 1; it is {getattr(self, what)}.")


class Demo:
    """Runs the arms of one :class:`DemoOptions`; tasks and the teacher's bank are shared between them."""

    def __init__(self, options: DemoOptions) -> None:
        self.options = options
        self.folder = Path(options.output)
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}
        self.task = lru_cache(maxsize=4)(self._task)

    def run(self, *, show_progress: bool = True) -> Path:
        """Everything, up to the report; returns its path."""
        from limbeck.evaluation import Arm, compare, write_metrics

        logging.getLogger("limbeck").setLevel(logging.ERROR)  # warnings of runs are kept for the report
        self.bank = self._bank()
        arms = [Arm(name, self._controls(name), self._identity(name)) for name in self.options.arms]
        comparison = compare(
            arms, self._run, range(self.options.seeds), output=self.folder, show_progress=show_progress
        )
        write_metrics(self.folder, comparison.rows, self.info())
        self.rows = comparison.rows
        from limbeck.reporting import report_folder

        return report_folder(self.folder)

    # ---- parts ----------------------------------------------------------------------------------------------

    def _task(self, link: str, seed: int, data: str = "{}") -> Any:
        from limbeck.data import make_task

        config = {
            "images": self.options.images,
            "audio": self.options.audio,
            "labels_per_class": self.options.labels,
            "unseen_speakers": list(self.options.unseen_speakers),
            "link": "by_class" if link == "none" else link,
            **json.loads(data),
        }
        return make_task("av_digits", config, seed=seed)

    def _bank(self) -> Any:
        """The image teacher's answers: it is trained and asked once, later starts read them from the folder."""
        from limbeck.recipes import TeacherSpec
        from limbeck.run import teacher_bank

        task = self.task("by_class", 0)
        bank = teacher_bank(TeacherSpec(), task, self.folder)
        self.facts["teacher_accuracy"] = task.info["teacher_accuracy"]
        return bank

    def _controls(self, name: str) -> tuple[str, ...]:
        return () if ARMS[name].link == "none" else self.options.controls

    def recipe(self, name: str, control: str, seed: int) -> Any:
        """The recipe of one run."""
        from limbeck.recipes import DataSpec, MethodSpec, Recipe, TeacherSpec

        arm = ARMS[name]
        data = {
            "images": self.options.images,
            "audio": self.options.audio,
            "labels_per_class": self.options.labels,
            "unseen_speakers": list(self.options.unseen_speakers),
            "link": "by_class" if arm.link == "none" else arm.link,
            **arm.data,
        }
        return Recipe(
            data=DataSpec("av_digits", data),
            teacher=TeacherSpec(bank=str(self.folder / "bank")),
            method=MethodSpec(arm.method, dict(arm.config)),
            control=control,  # type: ignore[arg-type]
            training={**TRAINING, "max_steps": self.options.steps},
            output_dir=str(self.folder / "runs" / f"{name}-{control}-{seed}"),
            seed=seed,
        )

    def _identity(self, name: str) -> dict[str, Any]:
        """What decides an arm's results, besides the seed."""
        from limbeck import __version__

        recipe = asdict(self.recipe(name, "none", 0))
        return {
            "version": __version__,
            **{k: v for k, v in recipe.items() if k not in ("output_dir", "seed")},
        }

    def _run(self, arm: Any, control: str, seed: int) -> list[Any]:
        from limbeck.evaluation import Row
        from limbeck.run import run

        spec = ARMS[arm.name]
        task = self.task(spec.link, seed, json.dumps(dict(spec.data)))
        result = run(self.recipe(arm.name, control, seed), task=task, bank=self.bank, show_progress=False)
        self._keep(arm.name, control, seed, result)
        return [
            Row(
                arm.name,
                spec.method,
                spec.link,
                control,
                seed,
                split,
                "accuracy",
                value,
                result.seconds,
                result.steps,
            )
            for split, value in result.scores.items()
        ]

    def _keep(self, name: str, control: str, seed: int, result: Any) -> None:
        """What the report needs beyond the rows, written beside the run."""
        (result.folder / "warnings.json").write_text(json.dumps(result.warnings))
        if control == "none" and seed == 0 and ARMS[name].link in ("paired", "bagged"):
            (self.folder / "map.json").write_text(json.dumps(self._map(name, result)))

    def _map(self, name: str, result: Any) -> dict[str, Any]:
        """Teacher and student features of test rows, in two dimensions."""
        import torch

        from limbeck.reporting import feature_map

        with result.task.splits.final_evaluation() as final, torch.no_grad():
            clips = final["test"]
            heard = result.student(clips.inputs).features
        seen = next(self.bank.blocks(600))
        features = {"image teacher": seen.features, f"audio student ({name})": heard}
        labels = {"image teacher": seen.labels, f"audio student ({name})": clips.labels}
        return feature_map(features, labels, class_names=clips.class_names)

    def info(self) -> dict[str, Any]:
        """Facts for ``metrics.json`` and the report."""
        import torch
        import transformers

        from limbeck import __version__

        task = self.task("by_class", 0)
        accuracy = self.facts["teacher_accuracy"]
        return {
            "title": "An image model teaches an audio model to hear digits",
            "summary": (
                f"Teacher: reads images of digits ({accuracy['test']:.1%} right). Student: hears clips of spoken "
                f"digits, {self.options.labels} labelled clips of each. All arms: same steps, views and scoring."
            ),
            "given": {name: ARMS[name].given for name in self.options.arms},
            "data": {k: v for k, v in task.info.items() if k not in ("link", "seed", "teacher_accuracy")},
            "teacher": {f"accuracy, {split}": f"{value:.1%}" for split, value in accuracy.items()},
            "training": {**TRAINING, "max_steps": self.options.steps},
            "versions": {
                "limbeck": __version__,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "python": platform.python_version(),
            },
            "machine": {
                "processor": platform.machine(),
                "cores": os.cpu_count(),
                "threads": torch.get_num_threads(),
            },
            "recipe": asdict(self.recipe(self.options.arms[-1], "none", 0)),
        }


def parse_list(text: str) -> tuple[str, ...]:
    """``a,b`` as a tuple; empty entries are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def demo_options(values: Mapping[str, Any], given: Sequence[str]) -> DemoOptions:
    """Options from parsed flags; ``--quick`` changes what was not given."""
    values = dict(values)
    if values.get("quick"):
        values |= {k: v for k, v in {"seeds": 1, "steps": 120}.items() if k not in given}
    return DemoOptions(**values)
