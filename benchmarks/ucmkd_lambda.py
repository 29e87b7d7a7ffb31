"""What lambda does inside UCMKD: how far the copies move, and how far that turns the gradient that the student gets.

    python benchmarks/ucmkd_lambda.py [--images mnist:DIR --audio fsdd:DIR] [--bank FOLDER] [--steps 120] [--rate 0.01]

An audio student of av_digits is trained alone; then each variant takes its inner phases from there, on the same
batches. *Moved*: length of the copies' displacement over that of the weights. *Turned*: the outer gradient at the
copies less the one at the weights, over the latter's length. *Of a shuffled teacher*: with other classes' features.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.banks.controls import shuffled
from limbeck.data import make_task
from limbeck.plan import make_trainer
from limbeck.recipes import DataSpec, MethodSpec, Recipe, TeacherSpec
from limbeck.teacher_stage import teacher_bank
from limbeck.training import distiller as distiller_file
from limbeck.training.descents import FastWeights

METHODS = ("ucmkd_paper", "ucmkd_official", "ucmkd")
LAMBDAS = (0.2, 0.6, 1.0, 10.0, 100.0)
MADE: list[FastWeights] = []


class Recorded(FastWeights):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        MADE.append(self)


def effect(
    trainer: Any, weights: dict[str, Tensor], batches: list[Any], rate: float
) -> tuple[Tensor, Tensor]:
    """The displacement of the copies, and the outer gradient, both meaned over the batches, flat."""
    student = trainer.model.student
    student.load_state_dict(weights)
    trainer.model.train()
    moves, gradients = [], []
    for batch in batches:
        trainer.model.zero_grad()
        MADE.clear()
        rest = {name: value for name, value in batch.items() if name not in ("keys", "counts")}
        trainer.model(**rest, scales={"labelled": 1 / batch["counts"]["labelled"]}, rate=rate)[
            "loss"
        ].backward()
        student.load_state_dict(weights)  # BatchNorm's statistics
        named = dict(student.named_parameters())
        gradients.append(torch.cat([p.grad.flatten() for p in named.values()]))
        values = MADE[0].values if MADE else named
        moves.append(torch.cat([(values[n] - p).detach().flatten() for n, p in named.items()]))
    return torch.stack(moves), torch.stack(gradients)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", default="sklearn")
    parser.add_argument("--audio", default="speech")
    parser.add_argument("--bank", default=None)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--rate", type=float, default=0.01)
    values = parser.parse_args()
    torch.set_num_threads(1)
    distiller_file.FastWeights = Recorded  # type: ignore[misc]
    data = {"images": values.images, "audio": values.audio, "labels_per_class": 2, "link": "by_class"}
    folder = Path(tempfile.mkdtemp())
    recipe = Recipe(
        data=DataSpec("av_digits", data),
        method=MethodSpec("supervised"),
        training={
            "max_steps": values.steps,
            "n_labelled": 32,
            "learning_rate": 0.002,
            "eval_strategy": "no",
            "use_cpu": True,
        },
        output_dir=str(folder),
    )
    task = make_task("av_digits", data)
    made = TeacherSpec(training={"max_steps": 600})
    bank = Bank.open(values.bank) if values.bank else teacher_bank(made, task, folder / "teacher")
    alone = make_trainer(recipe, task, {}, folder)
    alone.train()
    weights = {name: value.clone() for name, value in alone.model.student.state_dict().items()}
    size = torch.cat([p.detach().flatten() for p in alone.model.student.parameters()]).norm()
    banks = {"real": bank, "shuffled": shuffled(bank, task.teacher.link, 0)}

    def measured(method: str, config: dict[str, Any], teacher: str) -> tuple[Tensor, Tensor]:
        recipe.method = MethodSpec(method, config)
        trainer = make_trainer(recipe, task, {"teacher": banks[teacher]}, folder)
        drawn = iter(trainer.get_train_dataloader())
        return effect(trainer, weights, [next(drawn) for _ in range(8)], values.rate)

    print(
        "| method | lambda | moved | turned | the displacement of a shuffled teacher: cosine to the real one's |"
    )
    print("|---|---|---|---|---|")
    for method in METHODS:
        scheme = {"scheme": "bilevel"} if method == "ucmkd" else {}
        smoothing = {} if method == "ucmkd_paper" else {"label_smoothing": 0.1}
        none = {**scheme, **smoothing, "weight_feature": 0.0, "weight_label": 0.0}
        _, plain = measured(method, none, "real")
        for factor in LAMBDAS:
            config = {**scheme, **smoothing, "weight_feature": factor, "weight_label": factor}
            (moves, found), (others, _) = (measured(method, config, teacher) for teacher in banks)
            turned = ((found - plain).norm(dim=1) / plain.norm(dim=1)).mean()
            same = torch.nn.functional.cosine_similarity(moves, others).mean()
            moved = moves.norm(dim=1).mean() / size
            print(
                f"| `{method}` | {factor:g} | {float(moved):.1e} | {float(turned):.2g} | {float(same):.3f} |"
            )


if __name__ == "__main__":
    main()
