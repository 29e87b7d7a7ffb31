"""Does ARMADA help a text student? `limbeck compare` on pictures that the student never sees.

    python benchmarks/armada.py emoji_color few_pairs --seeds 5 --output runs/armada

Tasks: glyphs, emoji_color, emoji_imagenet, emoji_group, rte. Regimes: ``few`` (10 labels a class, pictures of those
rows only), ``few_pairs`` (10 labels a class, and a picture of every training row) and ``all`` (every label). Recipes
and arms are those that ship:

    limbeck compare --config armada_emoji_color --arms armada --seeds 5

gives the same table (``--file armada_paper`` here is ``--arms armada_paper`` there); this script only spares time. The
student is MiniLM with its upper layer and a new head trained, and what the frozen layers below give for a text does not
change, so it is computed once (without dropout) and the runs start from there; ``student.freeze`` of the recipes trains
the same parameters and computes these layers in every step.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import limbeck.arm_run
import limbeck.arms
import limbeck.plan
from limbeck.arms import compare
from limbeck.data import make_task
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.layers.pooling import pool
from limbeck.recipes import Recipe
from limbeck.recipes.arms_file import changed, read_arms
from limbeck.students import model_from_spec
from limbeck.students.text import encode, tokenizer_of

os.environ.setdefault("LIMBECK_DATA", "../shared/data")
# Task to the recipe that ships and what is changed in it.
SHORT = {
    "student.freeze": ["embeddings", "layers:5"],
    "student.max_length": 48,
    "training": {"max_steps": 60, "n_unlabelled": 16, "learning_rate": 1e-3},
}
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "glyphs": ("armada_glyphs", {}),
    "emoji_color": ("armada_emoji_color", {}),
    "emoji_imagenet": ("armada_emoji_imagenet", {}),  # a teacher that saw photographs alone
    "emoji_group": ("armada_emoji_color", {"data.config.task": "group"}),
    "rte": ("armada_rte_minilm", SHORT),  # its texts are long
}
REGIMES: dict[str, dict[str, Any]] = {
    "few": {"labels_per_class": 10, "pairs": "labelled"},
    "few_pairs": {"labels_per_class": 10, "pairs": "all"},
    "all": {"labels_per_class": None, "pairs": "all"},
}
N_FROZEN = 5
FILES = ("armada", "armada_paper", "armada_terms", "systems_text", "ucmkd_emoji")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--file", default="armada", choices=FILES)
    parser.add_argument("--arms", nargs="*", default=[], help="of the file; default all")
    parser.add_argument("--controls", nargs="*", help="in place of the file's")
    parser.add_argument("--steps", type=int, help="in place of the recipe's")
    parser.add_argument("--output", default="runs/armada")
    options = parser.parse_args()
    file = read_arms(options.file)
    recipe = recipe_of(options.task, options.regime, options.steps)
    states = FrozenLayers(recipe.student.max_length)
    limbeck.plan.model_from_spec = upper_layers  # type: ignore[assignment]
    for module in (limbeck.arms, limbeck.arm_run):  # one checks ahead, the other runs
        module.make_task = lambda *args, **more: states.of(make_task(*args, **more))  # type: ignore[attr-defined]
    folder = Path(options.output) / f"{options.task}-{options.regime}-{options.file}"
    compare(
        recipe,
        arms=file.arms,
        methods=options.arms,
        controls=options.controls if options.controls is not None else file.controls or (),
        seeds=options.seeds,
        output=folder,
        title=folder.name,
    )
    print(folder / "report.html")


def recipe_of(task: str, regime: str, steps: int | None) -> Recipe:
    """The recipe that ships, with the regime's labels and pairs."""
    name, changes = TASKS[task]
    data = dict(REGIMES[regime])
    if task == "rte":  # every row has a drawing
        del data["pairs"]
    more = {"training.max_steps": steps} if steps else {}
    return changed(
        Recipe.load(name), {**changes, "data.config": data, "training.eval_strategy": "no", **more}, task
    )


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


def upper_layers(spec: str, **settings: Any) -> nn.Module:
    model = model_from_spec(spec, **settings)
    return UpperLayers(model) if spec == "minilm" else model


if __name__ == "__main__":
    main()
