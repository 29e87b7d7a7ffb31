"""ARMADA for students that write: its terms, where gradients go, how small its aligner is, and a run from pictures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_language
import torch
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.methods.alignment.armada_writing import ARMADAWriting, ARMADAWritingConfig, prompt_state
from limbeck.methods.registry import plan_method
from limbeck.problems.base import Targets
from limbeck.recipes import Recipe
from limbeck.runner import run

# Two tokens of a prompt, two of an answer; three of a prompt alone, one of padding.
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
VALUES = torch.tensor([[-100, -100, 7, 0], [-100, -100, -100, -100]])


def made(d: int = 6, n_teacher: int = 5, **config: Any) -> ARMADAWriting:
    torch.manual_seed(0)
    sizes = SimpleNamespace(
        student=SimpleNamespace(width=d, n_outputs=128_256), teacher=SimpleNamespace(width=n_teacher)
    )
    return ARMADAWriting(ARMADAWritingConfig(**config), sizes)  # type: ignore[arg-type]


def batch(features: torch.Tensor, said: torch.Tensor, rows: list[int]) -> Any:
    return SimpleNamespace(
        inputs={"attention_mask": MASK},
        targets=Targets(VALUES, torch.tensor([True, False])),
        teacher=SimpleNamespace(paired=lambda: (torch.tensor(rows, dtype=torch.long), {"features": said})),
        student=SimpleNamespace(features=features),
        label_loss=lambda: features.sum() * 0 + 3.0,
    )


@pytest.mark.parametrize("state", ["mean", "last"])
def test_the_state_is_of_the_prompt_alone(state: str) -> None:
    features = torch.randn(2, 4, 6)
    found = prompt_state(features, MASK.bool() & (VALUES == -100), state)
    first, second = features[0, :2], features[1, :3]
    expected = [first.mean(0), second.mean(0)] if state == "mean" else [first[1], second[2]]
    torch.testing.assert_close(found, torch.stack(expected))


def test_terms_and_their_gradients() -> None:
    method = made(width=4)
    features, said = torch.randn(2, 4, 6, requires_grad=True), torch.randn(1, 5)
    terms = method.losses(batch(features, said, [1]))
    assert terms.keys() == method.plan.units.keys()
    z_s = method.student_projection(features[1, :3].mean(0, keepdim=True))
    z_t = method.teacher_projection(said)
    torch.testing.assert_close(terms["manifold"], (z_s - z_t).norm())
    torch.testing.assert_close(terms["aligner"], F.mse_loss(method.reconstruction(z_t), said))
    terms["manifold"].backward(retain_graph=True)
    assert features.grad is not None
    moved = features.grad.abs().amax(-1) > 0
    assert moved.tolist() == [[False] * 4, [True, True, True, False]]
    assert all(p.grad is None for p in method.teacher_projection.parameters())
    features.grad = None
    terms["aligner"].backward()
    assert features.grad is None
    assert all(p.grad is not None for p in method.teacher_projection.parameters())


def test_no_row_with_a_teacher() -> None:
    terms = made(width=4).losses(batch(torch.randn(2, 4, 6), torch.zeros(0, 5), []))
    assert float(terms["manifold"].detach()) == float(terms["aligner"].detach()) == 0


def test_the_aligner_is_small_whatever_the_vocabulary() -> None:
    method = made(d=4096, n_teacher=1024)  # a LLaMA of 8 billion parameters, 128,256 tokens
    assert sum(p.numel() for p in method.parameters()) < 10_000_000


def test_the_aligner_learns_to_reconstruct() -> None:
    method, said = made(width=16), torch.randn(2, 5)
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = method.losses(batch(torch.randn(2, 4, 6), said, [0, 1]))["aligner"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def test_the_aligner_learns_beforehand_without_a_student() -> None:
    method, said = made(width=16, pretrain="reconstruction"), torch.randn(2, 5)
    assert method.plan.units == {"aligner": "pair"}
    assert method.plan.student == "asked"
    b = batch(torch.zeros(0), said, [0, 1])
    b.student = b.label_loss = None
    optimiser, losses = torch.optim.Adam(method.parameters(), lr=1e-2), []
    for _ in range(60):
        (loss,) = method.losses(b).values()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    assert all(p.grad is None for p in method.student_projection.parameters())


def test_a_frozen_aligner_is_not_moved() -> None:
    method = made(width=4, aligner="frozen")
    features = torch.randn(2, 4, 6, requires_grad=True)
    terms = method.losses(batch(features, torch.randn(1, 5), [1]))
    assert terms.keys() == method.plan.units.keys() == {"supervised", "manifold"}
    sum(terms.values()).backward()
    still = (*method.teacher_projection.parameters(), *method.reconstruction.parameters())
    assert not any(p.requires_grad for p in still)
    assert all(p.grad is not None for p in method.student_projection.parameters())
    with pytest.raises(ConfigError, match="'frozen' has no stage of its own"):
        plan_method("armada_writing", {"aligner": "frozen", "pretrain": "reconstruction"})


@pytest.mark.full
@pytest.mark.parametrize("control", ["none", "shuffled"])
def test_a_run_from_pictures(tmp_path: Path, control: str) -> None:
    pytest.importorskip("matplotlib")
    words = tiny_language.folder(tmp_path / "words")
    still = {"eval_strategy": "no", "save_strategy": "no"}
    result = run(Recipe.from_dict({
        "data": {"name": "glyph_questions", "config": {"labels_per_class": 4}},
        "teacher": {
            "model": "image_encoder", "config": {"in_channels": 1, "channels": [4, 4]},
            "training": {"max_steps": 2, "n_labelled": 8},
        },
        "student": {"model": f"causal_lm:{words}", "config": {"hidden_size": 16, "num_attention_heads": 2,
                                                              "num_hidden_layers": 1}, "max_length": 128},
        "method": {"name": "armada_writing", "config": {"width": 8}},
        "training": {"max_steps": 2, "n_labelled": 4, "n_unlabelled": 4, **still},
        "control": control,
        "output_dir": str(tmp_path / "run"),
    }))  # fmt: skip
    assert 0 <= result.metrics["test"]["option_accuracy"] <= 1
