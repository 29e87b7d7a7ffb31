"""Does ARMADA help a text student? Arms x controls x seeds on pictures that the student never sees.

    python benchmarks/armada.py emoji_color few_pairs --seeds 5 --output runs/armada

Tasks: glyphs, emoji_color, emoji_group, rte. Regimes: ``few`` (10 labels a class, pictures of those rows only),
``few_pairs`` (10 labels a class, and a picture of every training row) and ``all`` (every label). One image teacher is
trained and asked once per task; every arm has the same student, steps, batches, learning rate and scoring.

The student is MiniLM with its upper layer and a new head trained. What the frozen layers below give for a text does
not change, so it is computed once (without dropout) and the runs start from there; ``student.freeze`` in a recipe
trains the same parameters and computes the frozen layers in every step.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import limbeck.plan
from limbeck.data import make_task
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.distill import result_rows
from limbeck.evaluation import Arm, compare
from limbeck.evaluation.results import Row
from limbeck.layers.pooling import pool
from limbeck.recipes import DataSpec, MethodSpec, Recipe, StudentSpec, TeacherSpec
from limbeck.reporting import report_folder
from limbeck.runner import run
from limbeck.students import model_from_spec
from limbeck.students.text import encode, tokenizer_of
from limbeck.teacher_stage import teacher_bank

DATA = Path(os.environ.get("LIMBECK_DATA", "../shared/data"))
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "glyphs": ("glyphs", {"task": "holes"}),
    "emoji_color": ("emoji", {"folder": str(DATA / "emoji"), "task": "dominant_color"}),
    "emoji_group": ("emoji", {"folder": str(DATA / "emoji"), "task": "group"}),
    "rte": ("glue", {"folder": str(DATA / "glue"), "task": "rte", "illustrate": f"emoji:{DATA / 'emoji'}"}),
}
REGIMES: dict[str, dict[str, Any]] = {
    "few": {"labels_per_class": 10, "pairs": "labelled"},
    "few_pairs": {"labels_per_class": 10, "pairs": "all"},
    "all": {"labels_per_class": None, "pairs": "all"},
}
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised": ("supervised", {}),
    "label_smoothing": ("supervised", {"label_smoothing": 0.1}),
    "kd": ("kd", {"temperature": 1.0}),
    "armada_pairs": ("armada", {"manifold": "pairs"}),
    "armada_means": ("armada", {"manifold": "means"}),
    "armada_cosine": ("armada", {"manifold": "cosine"}),
    "armada_without_manifold": ("armada", {"weight_manifold": 0.0}),
}
N_FROZEN = 5
MAX_LENGTH = {"rte": 48}  # tokens; elsewhere 16
STUDENT = StudentSpec(model="minilm", freeze=["embeddings", f"layers:{N_FROZEN}"])
TRAINING: dict[str, Any] = {
    "max_steps": 100,
    "n_labelled": 16,
    "n_unlabelled": 32,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "warmup_steps": 0.1,
    "lr_scheduler_type": "linear",
    "eval_strategy": "no",
    "save_strategy": "no",
}
RTE = {"max_steps": 60, "n_unlabelled": 16}  # its texts are long
TEACHERS: dict[str, tuple[dict[str, Any], int]] = {
    "glyphs": ({"in_channels": 1, "channels": [16, 32, 64, 128]}, 800),
    "emoji_color": ({"channels": [16, 32, 64, 128]}, 400),
    "emoji_group": ({"channels": [16, 32, 64, 128]}, 400),
    "rte": ({"channels": [16, 32, 64]}, 300),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--controls", nargs="*", default=["shuffled", "random"])
    parser.add_argument("--output", default="runs/armada")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(options.output) / f"{options.task}-{options.regime}"
    limbeck.plan.model_from_spec = upper_layers  # type: ignore[assignment]
    states = FrozenLayers(MAX_LENGTH.get(options.task, 16))
    task = make_task(*data_of(options.task, "all"), seed=0)
    bank = teacher_bank(teacher_of(options.task), task, Path(options.output) / options.task)
    arms = [arm(name, options.task, options.regime, options.controls) for name in options.arms]

    def one(chosen: Arm, control: str, seed: int) -> list[Row]:
        recipe = recipe_of(chosen.name, options.task, options.regime, control, seed, folder)
        own = states.of(make_task(recipe.data.name, recipe.data.config, seed=seed))
        return result_rows(run(recipe, task=own, bank=bank, show_progress=False), arm=chosen.name)

    accuracy = task.info.get("teacher_accuracy", {})
    compare(arms, one, range(options.seeds), output=folder, info={"title": folder.name, "teacher": accuracy})
    print(report_folder(folder))


class FrozenLayers:
    """What MiniLM's frozen layers give for a text, computed once a text."""

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length
        self.encoder = model_from_spec("minilm", n_classes=2).eval().encoder
        self.tokenizer = tokenizer_of("minilm")
        self.known: dict[Any, Tensor] = {}

    def of(self, task: Task) -> Task:
        return replace(task, splits=task.splits.map(self._states))

    @torch.no_grad()
    def _states(self, examples: Examples) -> Examples:
        columns = {name: examples.inputs[name] for name in examples.text_columns}
        rows = list(zip(*columns.values(), strict=True))
        new = [i for i, row in enumerate(rows) if row not in self.known]
        for start in range(0, len(new), 64):
            part = new[start : start + 64]
            tokens, _ = encode(self.tokenizer, {n: v[part] for n, v in columns.items()}, self.max_length)
            states = self.encoder(**tokens, output_hidden_states=True).hidden_states[N_FROZEN]
            for i, state, mask in zip(part, states, tokens["attention_mask"], strict=True):
                self.known[rows[i]] = state[mask.bool()].clone()
        found = [self.known[row] for row in rows]
        lengths = torch.tensor([len(state) for state in found])
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        padded = nn.utils.rnn.pad_sequence(found, batch_first=True)
        return replace(examples, inputs={"states": padded, "shown": mask})


class UpperLayers(nn.Module):
    """MiniLM from the first trained layer on: states ``[n, L, d]`` to logits."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layers, self.dropout, self.head = (
            model.encoder.encoder.layer[N_FROZEN:],
            model.dropout,
            model.head,
        )

    def forward(self, states: Tensor, shown: Tensor) -> Tensor:
        length = int(shown.sum(1).max())
        states, shown = states[:, :length], shown[:, :length]
        hidden = (1 - shown[:, None, None].float()) * torch.finfo(torch.float32).min
        for layer in self.layers:
            out = layer(states, hidden)
            states = out[0] if isinstance(out, tuple) else out
        return self.head(self.dropout(pool(states, "mean", shown)))


def upper_layers(spec: str, *, n_classes: int, **settings: Any) -> nn.Module:
    model = model_from_spec(spec, n_classes=n_classes, **settings)
    return UpperLayers(model) if spec == "minilm" else model


def teacher_of(task: str) -> TeacherSpec:
    config, steps = TEACHERS[task]
    return TeacherSpec(model="image_encoder", config=config, training={"max_steps": steps, "n_labelled": 64})


def data_of(task: str, regime: str) -> tuple[str, dict[str, Any]]:
    name, config = TASKS[task]
    settings = {**config, **REGIMES[regime]}
    if name == "glue":  # every row has a drawing
        del settings["pairs"]
    return name, settings


def recipe_of(name: str, task: str, regime: str, control: str, seed: int, folder: Path) -> Recipe:
    method, config = ARMS[name]
    return Recipe(
        data=DataSpec(*data_of(task, regime)),
        teacher=teacher_of(task),
        student=replace(STUDENT, max_length=MAX_LENGTH.get(task, 16)),
        method=MethodSpec(method, dict(config)),
        control=control,  # type: ignore[arg-type]
        training={**TRAINING, **(RTE if task == "rte" else {})},
        output_dir=str(folder / "runs" / f"{name}-{control}-{seed}"),
        seed=seed,
    )


def arm(name: str, task: str, regime: str, controls: list[str]) -> Arm:
    recipe: Mapping[str, Any] = asdict(recipe_of(name, task, regime, "none", 0, Path()))
    decides = {key: value for key, value in recipe.items() if key not in ("output_dir", "seed")}
    alone = ARMS[name][0] == "supervised" or name == "armada_without_manifold"
    return Arm(name, () if alone else tuple(controls), decides)


if __name__ == "__main__":
    main()
