"""What descents on fast weights cost beside their own passes: ucmkd, bilevel, this library's form.

    python benchmarks/descents.py [--rounds 40]

One process, one thread, processor time. *Own passes* are three forward and backward passes of the student with the two
losses that are descended and the outer one, nothing else; *step* is the distiller's forward and backward. The ratio is
that of two medians, measured in turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from limbeck.data import make_task
from limbeck.plan import make_trainer
from limbeck.problems.base import Targets
from limbeck.recipes import MethodSpec, Recipe, TeacherSpec
from limbeck.runner import teacher_bank
from limbeck.training.distiller import Distiller


def passes(distiller: Distiller, batch: dict[str, Any]) -> None:
    """A forward and a backward pass for each loss."""
    parameters = [p for p in distiller.student.parameters() if p.requires_grad]
    inputs = batch["inputs"]
    rest = {name: value for name, value in batch.items() if name not in ("inputs", "targets")}
    b = distiller._step_batch(inputs, Targets(**batch["targets"]), rest, 0.0, 0)
    for name in ("feature", "label", None):
        b.student = distiller._run(inputs)
        loss = (
            distiller.method.losses(b)["supervised"]
            if name is None
            else distiller.method.descent_loss(b, name)
        )
        torch.autograd.grad(loss, parameters, allow_unused=True)


def step(distiller: Distiller, batch: dict[str, Any]) -> None:
    distiller.zero_grad(set_to_none=True)
    distiller(**batch)["loss"].backward()


def seconds(what: Callable[..., None], *given: Any) -> float:
    start = time.process_time()
    what(*given)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        task = make_task(
            "av_digits", {"images": "sklearn", "audio": "speech", "link": "by_class", "labels_per_class": 2}
        )
        bank = teacher_bank(TeacherSpec(training={"max_steps": 50}), task, folder / "teacher")
        training = {"n_labelled": 32, "max_steps": 2, "ema": False, "eval_strategy": "no"}
        recipe = Recipe(
            method=MethodSpec("ucmkd", {"scheme": "bilevel"}), training=training, output_dir=str(folder)
        )
        trainer = make_trainer(recipe, task, {"teacher": bank}, folder)
        trainer.create_optimizer()
        batch = next(iter(trainer.get_train_dataloader()))
        given = {k: v for k, v in batch.items() if k not in ("keys", "counts")}
        distiller = trainer.model.train()
        times: dict[str, list[float]] = {"own passes": [], "step": []}
        for turn in range(options.rounds + 3):
            found = {"own passes": seconds(passes, distiller, given), "step": seconds(step, distiller, given)}
            if turn >= 3:
                for name, value in found.items():
                    times[name].append(value)
    own, whole = (statistics.median(values) for values in times.values())
    print(f"own passes {1e3 * own:.1f} ms, step {1e3 * whole:.1f} ms, ratio {whole / own:.3f} (at most 1.15)")


if __name__ == "__main__":
    main()
