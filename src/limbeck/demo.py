"""The product in one picture: an image model that reads digits teaches a small audio model to hear them. One call of
:func:`limbeck.compare`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.recipes.arms_file import ArmPatch, read_arms

if TYPE_CHECKING:
    from limbeck.evaluation import Comparison
    from limbeck.recipes import Recipe

RECIPE, ARMS_FILE = "av_digits", "digits"
BASELINE = "supervised"
DEFAULT_ARMS = (BASELINE, "ucmkd", "paired", "bagged")
CONTROLS = ("shuffled", "random", "label_smoothing")
QUICK = {"seeds": 1, "steps": 120}  # options of a demo of less than a minute
MOST = {"seeds": 10_000, "labels": 10**6, "steps": 10**9, "jobs": 1024}
TITLE = "An image model teaches an audio model to hear digits"


def demo_arms() -> dict[str, ArmPatch]:
    """All arms of the demo by name, the student without a teacher first."""
    return {BASELINE: ArmPatch({"method": {"name": BASELINE}}), **read_arms(ARMS_FILE).arms}


@dataclass(frozen=True)
class DemoOptions:
    """What ``limbeck demo`` is asked for.

    Args:
        output: folder of results; a demo started again there goes on where it stopped.
        seeds, labels, steps, jobs: seeds, labelled clips of each digit, optimiser steps, processes; each at least 1.
        images: ``sklearn`` or ``mnist:DIR``.    audio: ``speech`` or ``fsdd:DIR``.
        unseen_speakers: speakers that are only tested on.
        arms: names of :func:`demo_arms`.    controls: run beside every arm.
    """

    output: str = "limbeck-demo"
    seeds: int = 3
    labels: int = 5
    steps: int = 240
    jobs: int = 1
    images: str = "sklearn"
    audio: str = "speech"
    unseen_speakers: tuple[str, ...] = ()
    arms: tuple[str, ...] = DEFAULT_ARMS
    controls: tuple[str, ...] = ("shuffled",)

    def __post_init__(self) -> None:
        for what, names, known in (("arm", self.arms, demo_arms()), ("control", self.controls, CONTROLS)):
            for name in names:
                if name not in known:
                    raise UnknownNameError(f"The demo has no {what} {name!r}; {nearest(name, known)}")
        if not set(self.arms) - {BASELINE}:
            raise ConfigError(f"--arms names no arm with a teacher; give some of {', '.join(demo_arms())}.")
        for what, most in MOST.items():
            if not 1 <= getattr(self, what) <= most:
                raise ConfigError(f"--{what} must lie in [1, {most:,}]; it is {getattr(self, what)}.")


def check_extra(options: DemoOptions) -> None:
    """ConfigError, before anything is computed, without the packages that these sources need."""
    needed = ["soundfile"]
    needed += ["sklearn"] if options.images == "sklearn" else []
    needed += ["espeakng_loader"] if options.audio == "speech" else []
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"The demo needs more packages ({', '.join(missing)}); install them with: pip install 'limbeck[demo]'."
        )


def demo_recipe(options: DemoOptions) -> Recipe:
    """The recipe that all arms of the demo change."""
    from limbeck.recipes import Recipe

    recipe = Recipe.load(RECIPE)
    data = {
        "images": options.images,
        "audio": options.audio,
        "labels_per_class": options.labels,
        "unseen_speakers": list(options.unseen_speakers),
    }
    return replace(
        recipe,
        data=replace(recipe.data, config={**recipe.data.config, **data}),
        training={**recipe.training, "max_steps": options.steps},
        output_dir=options.output,
    )


def run_demo(options: DemoOptions, *, show_progress: bool = True) -> Comparison:
    """Everything, up to the report."""
    from limbeck.arms import compare

    known = demo_arms()
    chosen: Mapping[str, ArmPatch] = {name: known[name] for name in options.arms if name != BASELINE}
    return compare(
        demo_recipe(options),
        arms=chosen,
        controls=options.controls,
        seeds=options.seeds,
        jobs=options.jobs,
        output=Path(options.output),
        title=TITLE,
        show_progress=show_progress,
    )
