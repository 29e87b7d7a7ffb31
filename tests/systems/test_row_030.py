"""L2D (Yang et al., ICCV 2023): several labels a row, and embeddings of labels that lie as the teacher's do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from raw_files import write_csv
from systems.evidence import COLUMNS, NAMES, TRAINING, logged, moved
from torch import Tensor, nn

from limbeck.banks.bank import Bank
from limbeck.distill import distill
from limbeck.predict import predict_files
from limbeck.recipes import Recipe
from limbeck.runner import run

N = 60


class LabelNet(nn.Module):
    """An embedding of each label, then the labels."""

    def __init__(self) -> None:
        super().__init__()
        self.labels = nn.Sequential(nn.Linear(len(COLUMNS), 3 * 5), nn.Tanh(), nn.Unflatten(1, (3, 5)))
        self.head = nn.Linear(3 * 5, len(NAMES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.labels(x).flatten(1))


@pytest.mark.full
def test_labels_and_their_embeddings_teach(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((N, len(COLUMNS)))
    has = x[:, :3] > 0
    cells = ["|".join(n for n, there in zip(NAMES, row) if there) or "|" for row in has]
    rows = [(f"r{i}", cell if i % 4 == 0 else "", *map(float, x[i])) for i, cell in enumerate(cells)]
    write_csv(tmp_path / "table.csv", ("key", "label", *COLUMNS), rows)
    embedded = torch.from_numpy(draw.standard_normal((3, 4, 6)).astype("float32"))
    states = {"labels": torch.einsum("nd,cdk->nck", torch.from_numpy(x.astype("float32")), embedded)}
    logits = torch.from_numpy(6.0 * has - 3).float()
    keys = [f"r{i}" for i in range(N)]
    bank = Bank.from_arrays(
        tmp_path / "bank", keys=keys, logits=logits, hidden_states=states, class_names=NAMES
    )

    def recipe(folder: str, **weights: float) -> Recipe:
        source = {"source": str(tmp_path / "table.csv"), "modality": "table"}
        return Recipe.from_dict(
            {
                "data": {
                    "name": "own",
                    "config": {"student": source, "teacher": None, "problem": "multilabel"},
                },
                "teacher": {"bank": str(bank.path), "link": "paired"},
                "method": {"name": "l2d", "config": {"layer": "labels=labels", **weights}},
                "training": TRAINING,
                "output_dir": str(tmp_path / folder),
            }
        )

    torch.manual_seed(0)
    net = LabelNet()
    on = logged(
        distill(recipe("on", weight_class=1.0), student=net)
    )  # or it would outweigh the others in so few steps
    terms = ("distillation", "class", "instance")
    off = logged(run(recipe("off", **{f"weight_{t}": 0.0 for t in terms}), student=net, show_progress=False))
    assert all(on.terms[term] < off.terms[term] for term in terms)
    assert moved(on.result, off.result)
    assert len(predict_files(tmp_path / "on" / "student", [tmp_path / "table.csv"])) == N
