"""The product in one picture: an image model that reads digits teaches a small audio model to hear them."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck import __version__
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.files import write_whole

if TYPE_CHECKING:
    from limbeck.banks import Bank
    from limbeck.data import Task
    from limbeck.evaluation import Arm, Row
    from limbeck.recipes import Recipe
    from limbeck.runner import RunResult

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
    "ucmkd": DemoArm("ucmkd", "by_class", "images of the same classes, nothing else"),
    "ucmkd_bilevel": DemoArm(
        "ucmkd", "by_class", "images of the same classes, nothing else", {"scheme": "bilevel"}
    ),
    "feature_ot": DemoArm("feature_ot", "by_class", "images of the same classes, nothing else"),
    "kd": DemoArm("kd", "by_class", "images of the same classes, nothing else"),
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
QUICK = {"seeds": 1, "steps": 120}  # options of a demo of less than a minute
MAPPED_LINKS = ("paired", "bagged")  # elsewhere a test clip has nothing to do with the images of the map
WARNINGS_FILE, MAP_FILE = "warnings.json", "map.json"


@dataclass(frozen=True)
class DemoOptions:
    """What ``limbeck demo`` is asked for.

    Args:
        output: folder of results; a demo started again there goes on where it stopped.
        seeds, labels, steps: seeds, labelled clips of each digit, optimiser steps; each at least 1.
        images: ``sklearn`` or ``mnist:DIR``.    audio: ``speech`` or ``fsdd:DIR``.
        unseen_speakers: speakers that are only tested on.
        arms: names of :data:`ARMS`.    controls: of ``shuffled`` and ``random``, run beside every arm.
    """

    output: str = "limbeck-demo"
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
        if not self.arms:
            raise ConfigError(f"--arms names no arm; give some of {', '.join(ARMS)}.")
        for what in ("seeds", "labels", "steps"):
            if getattr(self, what) < 1:
                raise ConfigError(f"--{what} must be at least 1; it is {getattr(self, what)}.")


class Demo:
    """Runs the arms of one :class:`DemoOptions`, all taught by one bank.

    After :meth:`run`: ``rows``, the results; ``warnings``, what was warned of in runs without a control.
    """

    def __init__(self, options: DemoOptions) -> None:
        self.options = options
        self.folder = Path(options.output)
        self.rows: list[Row] = []
        self.warnings: list[str] = []

    def run(self, *, show_progress: bool = True) -> Path:
        """Everything, up to the report; returns its path."""
        from limbeck.evaluation import Arm, compare
        from limbeck.reporting import report_folder

        self.folder.mkdir(parents=True, exist_ok=True)
        with _one_thread(), _warnings_kept_for_later():
            self.task, self.bank = self._teach_teacher()
            arms = [Arm(name, self._controls(name), self._identity(name)) for name in self.options.arms]
            self.rows = compare(
                arms,
                self._run,
                range(self.options.seeds),
                output=self.folder,
                info=self.info(),
                show_progress=show_progress,
            ).rows
        self.warnings = self._warnings()
        self._place_map()
        return report_folder(self.folder)

    # ---- what is run ----------------------------------------------------------------------------------------

    def recipe(self, name: str, control: str = "none", seed: int = 0) -> Recipe:
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
            control=control,
            training={**TRAINING, "max_steps": self.options.steps},
            output_dir=str(self._runs() / f"{name}-{control}-{seed}"),
            seed=seed,
        )

    def _teach_teacher(self) -> tuple[Task, Bank]:
        """A task, and the image teacher's answers: it is trained and asked once, and read from then on."""
        from limbeck.data import make_task
        from limbeck.recipes import TeacherSpec
        from limbeck.teacher_stage import teacher_bank

        task = make_task("av_digits", self.recipe("supervised").data.config, seed=0)
        return task, teacher_bank(TeacherSpec(), task, self.folder)

    def _run(self, arm: Arm, control: str, seed: int) -> list[Row]:
        from limbeck.distill import result_rows
        from limbeck.runner import run

        result = run(self.recipe(arm.name, control, seed), bank=self.bank, show_progress=False)
        write_whole(result.folder / WARNINGS_FILE, json.dumps(result.warnings))
        if control == "none" and seed == 0 and ARMS[arm.name].link in MAPPED_LINKS:
            with suppress(DataError):  # too few test clips of a class for a map
                write_whole(result.folder / MAP_FILE, json.dumps(self._map(arm.name, result)))
        return result_rows(result, arm=arm.name)

    def _controls(self, name: str) -> tuple[str, ...]:
        return () if ARMS[name].link == "none" else self.options.controls

    def _identity(self, name: str) -> dict[str, Any]:
        """What decides an arm's results, besides the seed."""
        recipe = asdict(self.recipe(name))
        return {
            "version": __version__,
            **{k: v for k, v in recipe.items() if k not in ("output_dir", "seed")},
        }

    def _runs(self) -> Path:
        """The folder of the runs with these settings: other settings have another one, so none are mixed."""
        from limbeck.evaluation.comparison import config_hash

        about_more_runs = ("output", "seeds", "arms", "controls")
        settings = {k: v for k, v in asdict(self.options).items() if k not in about_more_runs}
        return self.folder / "runs" / config_hash({"version": __version__, **settings})[:8]

    # ---- what is told ---------------------------------------------------------------------------------------

    def _warnings(self) -> list[str]:
        found = []
        for seed in range(self.options.seeds):
            for name in self.options.arms:
                path = self._runs() / f"{name}-none-{seed}" / WARNINGS_FILE
                texts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
                found += [f"{name}, seed {seed}: {text}" for text in texts]
        return found

    def _map(self, name: str, result: RunResult) -> dict[str, Any]:
        """Teacher and student features of test rows, in two dimensions."""
        import torch

        from limbeck.reporting import feature_map

        with result.task.splits.final_evaluation() as final, torch.no_grad():
            clips = final["test"]
            heard = result.student(clips.all_rows()).features
        seen = next(self.bank.blocks(600))
        student = f"audio student ({name})"
        features: dict[str, Any] = {"image teacher": seen.features, student: heard}
        labels: dict[str, Any] = {"image teacher": seen.labels, student: clips.labels}
        return feature_map(features, labels, class_names=clips.class_names)

    def _place_map(self) -> None:
        """The map of the last arm that has one, where the report looks for it."""
        made = [self._runs() / f"{name}-none-0" / MAP_FILE for name in self.options.arms]
        made = [path for path in made if path.is_file()]
        (self.folder / MAP_FILE).unlink(missing_ok=True)
        if made:
            write_whole(self.folder / MAP_FILE, made[-1].read_bytes())

    def info(self) -> dict[str, Any]:
        """Facts for ``metrics.json`` and the report."""
        import torch
        import transformers

        accuracy = self.task.info["teacher_accuracy"]
        elsewhere = ("link", "seed", "teacher_accuracy")
        return {
            "title": "An image model teaches an audio model to hear digits",
            "summary": (
                f"Teacher: reads images of digits ({accuracy['test']:.1%} right). Student: hears clips of spoken "
                f"digits, {self.options.labels} labelled clips of each. All arms: same steps, views and scoring."
            ),
            "given": {name: ARMS[name].given for name in self.options.arms},
            "runs_folder": str(self._runs().relative_to(self.folder)),
            "data": {k: v for k, v in self.task.info.items() if k not in elsewhere},
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
            "recipe": asdict(self.recipe(self.options.arms[-1])),
        }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Nets this small lose more to threads that wait for each other than they gain from them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _warnings_kept_for_later() -> Iterator[None]:
    """Runs keep what they warn of; printed among their progress bars nobody would know whose it is."""
    logger = logging.getLogger("limbeck")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
