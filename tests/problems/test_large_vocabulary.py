"""A language model of 50,000 tokens trains by a fused loss: its logits are never made whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
import torch
from torch import nn
from limbeck.data.base import Examples
from limbeck.methods.registry import plan_method
from limbeck.methods.declared import Shapes, Side
from limbeck.problems import Targets
from limbeck.problems.registry import problem
from limbeck.students import Student
from limbeck.training.distiller import Distiller

def peak():  # MiB; what getrusage says starts at the parent's
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

torch.set_num_threads(1)
torch.manual_seed(0)
V, N, L, D, fused = 50_000, 4, 512, 16, sys.argv[1] == "fused"
posed = problem("token_classes", tuple(map(str, range(V))))
ids = torch.randint(V, (N, L), generator=torch.Generator().manual_seed(0))
model = nn.Sequential(nn.Embedding(V, D), nn.Linear(D, D), nn.Tanh(), nn.Linear(D, V))
student = Student(model, reading="positions")
student.probe({"x": ids[:1, :2]})
targets = Targets(torch.where(torch.arange(L) < L - 1, ids.roll(-1, 1), -100), torch.ones(N, dtype=torch.bool))
plan = plan_method("supervised", {})
distiller = Distiller(student, plan.cls(plan.config, Shapes(Side(D, V))), problem=posed)
optimiser = torch.optim.SGD(distiller.parameters(), lr=10.0)
before, losses = peak(), []
for _ in range(2):
    if fused:
        result = distiller({"x": ids}, targets.tensors(), scales={"labelled": 1 / posed.count(targets)})
        loss = result["loss"]
    else:
        known = targets.values >= 0
        loss = nn.functional.cross_entropy(model(ids)[known], targets.values[known])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(float(loss.detach()))
distiller.eval()
if fused:
    scored = distiller({"x": ids}, targets.tensors())
    assert torch.isfinite(scored["loss"]) and posed.scores(scored["statistics"])["accuracy"] >= 0
print(peak() - before, *losses)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's accounts")
@pytest.mark.full
def test_memory_stays_below_one_set_of_logits() -> None:
    def measured(how: str) -> list[float]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True, timeout=240
        )
        return [float(value) for value in done.stdout.split()]

    (used, first, second), (whole, expected, after) = measured("fused"), measured("logits")
    logits = 4 * 512 * 50_000 * 4 / 2**20  # MiB of one copy
    assert used < 0.6 * logits < whole
    assert first == pytest.approx(expected, rel=1e-4)
    assert second == pytest.approx(after, rel=1e-3)
