"""Systems that distil nothing themselves: a small thing with the same interface teaches, learns or measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from levels import some_of
from systems.evidence import NAMES, Evidence, N
from torch import Tensor, nn

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import Task
from limbeck.distill import distill
from limbeck.evaluation.agreement import agreement
from limbeck.methods.registry import method_class
from limbeck.problems.base import Targets
from limbeck.problems.metric import AGREEMENT, TEACHER_GAP
from limbeck.problems.registry import problem
from limbeck.recipes import Recipe
from limbeck.runner import run
from limbeck.teachers import CallableTeacher

# ---- teachers ---------------------------------------------------------------------------------------------------


def rows() -> list[dict[str, Any]]:
    """The rows of the evidence, as a model of many modalities would be shown them."""
    draw = np.random.default_rng(3)
    means = draw.standard_normal((len(NAMES), 6))
    return [
        {
            "key": f"{NAMES[i % 3]}{i // 3}",
            "pixels": torch.from_numpy(means[i % 3] + 0.2 * draw.standard_normal(6)).float(),
            "caption": f"the {NAMES[i % 3]} of day {i}",
        }
        for i in range(N)
    ]


def words(captions: list[str]) -> Tensor:
    """Counts of the names in a text."""
    return torch.tensor([[float(text.count(name)) for name in NAMES] for text in captions])


FIXED = torch.from_numpy(np.random.default_rng(4).standard_normal((6, 4))).float()
TO_CLASS = torch.from_numpy(np.random.default_rng(5).standard_normal((4, 3))).float()


def concepts(x: Mapping[str, Any]) -> Mapping[str, Any]:
    """Two projections into one space of concepts, which are averaged."""
    return {"features": (x["pixels"] @ FIXED + words(x["caption"]) @ TO_CLASS.T) / 2}


def tokens_of_any(x: Mapping[str, Any]) -> Mapping[str, Any]:
    """Tokens of what was given, as frozen features."""
    return {"features": torch.cat([(x["pixels"] > 0).float(), words(x["caption"])], dim=1)}


def one_encoder(x: Mapping[str, Any]) -> Mapping[str, Any]:
    """One encoder, of which an expert is chosen by what arrives, at length 1."""
    return {"features": nn.functional.normalize(torch.tanh(x["pixels"] @ FIXED), dim=1)}


def fusion(x: Mapping[str, Any]) -> Mapping[str, Any]:
    """Both modalities at once, to classes."""
    return {"logits": x["pixels"] @ FIXED @ TO_CLASS + 4 * words(x["caption"])}


def answers(x: Mapping[str, Any]) -> Mapping[str, Any]:
    """A multimodal language model: it answers in words, and its answer is read as a class."""
    said = [f"This is the {text.split()[1]}." for text in x["caption"]]
    return {"text": said, "logits": 6 * words(said)}


def two_looks(x: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answers to the whole picture and to a part of it, merged."""
    part = torch.cat([x["pixels"][:, :3], torch.zeros_like(x["pixels"][:, 3:])], dim=1)
    looks = [(p @ FIXED @ TO_CLASS).log_softmax(-1).exp() for p in (x["pixels"], part)]
    return {"log_probs": ((looks[0] + looks[1]) / 2).log()}


def described(x: Mapping[str, Any]) -> Mapping[str, Any]:
    """Any modality to text, and the text to a vector."""
    said = [f"Something like a {text.split()[1]}" for text in x["caption"]]
    return {"text": said, "features": words(said)}


# row: what teaches, and how
TEACHERS: dict[str, tuple[Callable[..., Any], str, dict[str, Any]]] = {
    "094": (concepts, "info_nce", {}),
    "119": (tokens_of_any, "fitnets", {}),
    "134": (one_encoder, "info_nce", {"symmetric": True}),
    "135": (fusion, "kd", {}),
    "157": (answers, "kd", {"temperature": 1.0}),
    "172": (two_looks, "kd", {"temperature": 1.0}),
    "174": (described, "fitnets", {}),
}


@pytest.mark.parametrize("row", some_of(TEACHERS, "157"))
def test_a_callable_teaches(row: str, evidence: Evidence, tmp_path: Path) -> None:
    """Asked once into a bank; the student, which reads numbers alone, comes nearer to what it says."""
    function, method, config = TEACHERS[row]
    names = NAMES if method == "kd" else None
    access: Any = "logits" if method == "kd" else "features"
    teacher = CallableTeacher(function, class_names=names, access=access)
    bank = Bank.build(tmp_path / "bank", teacher, rows(), key="key")
    spec = {"bank": str(bank.path), "link": "paired"}
    (term,) = set(method_class(method).units) - {"supervised"}
    on = evidence.ran(tmp_path / "on", method, config, teacher=spec)
    off = evidence.ran(tmp_path / "off", method, {**config, f"weight_{term}": 0.0}, teacher=spec)
    assert on.terms[term] < off.terms[term]


@pytest.mark.full
def test_row_165_logits_of_every_token_teach(tmp_path: Path) -> None:
    """A joint discrete model shows a distribution at every token."""
    ids = torch.randint(2, 12, (48, 6), generator=torch.Generator().manual_seed(0))
    posed, known = problem("token_classes", ("low", "high")), torch.arange(48) < 6
    classes = (ids >= 7).long()
    data = Examples(
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        tuple(range(48)),
        Targets(classes, known),
        posed,
    )
    held = Examples(data.all_rows(), tuple(range(48)), Targets(classes, torch.ones(48).bool()), posed)
    logits = 5 * nn.functional.one_hot(classes, 2).float()
    bank = Bank.from_arrays(tmp_path / "bank", keys=range(48), logits=logits, class_names=posed.names)
    values = {
        "teacher": {"bank": str(bank.path), "link": "paired"},
        "student": {"model": "token_encoder", "config": {"vocab_size": 12, "width": 16}},
        "training": {"max_steps": 60, "learning_rate": 2e-2, "save_strategy": "no"},
        "method": {"name": "kd", "config": {"temperature": 1.0, "weight_supervised": 0.0}},
        "output_dir": str(tmp_path / "run"),
    }
    result = run(
        Recipe.from_dict(values),
        task=Task("tokens", Splits(train=data, validation=held, test=held)),
        bank=bank,
    )
    assert result.scores["test"] > 0.9


# ---- students ---------------------------------------------------------------------------------------------------


class WithMemory(nn.Module):
    """A net with a block of stored slots that it attends to."""

    def __init__(self, n_columns: int = 4) -> None:
        super().__init__()
        self.read, self.head = nn.Linear(n_columns, 8), nn.Linear(8, len(NAMES))
        self.slots = nn.Parameter(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        asked = torch.tanh(self.read(x))
        return self.head(asked + (asked @ self.slots.T).softmax(-1) @ self.slots)


class StateSpace(nn.Module):
    """No attention: a state that decays from column to column."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.decay, self.head = (
            nn.Linear(1, 8),
            nn.Parameter(torch.zeros(8)),
            nn.Linear(8, len(NAMES)),
        )

    def forward(self, x: Tensor) -> Tensor:
        state = 0 * self.enter(x[:, :1])
        for column in x.unbind(1):
            state = state * torch.sigmoid(self.decay) + self.enter(column[:, None])
        return self.head(torch.tanh(state))


@pytest.mark.full
@pytest.mark.parametrize(
    ("student", "part"), [(WithMemory, "slots"), (StateSpace, "decay")], ids=["083", "180"]
)
@pytest.mark.parametrize("method", ["kd", "fitnets"])
def test_any_network_learns_and_ships(
    student: type[nn.Module], part: str, method: str, evidence: Evidence, tmp_path: Path
) -> None:
    given = student()
    before = given.get_parameter(part).detach().clone()
    result = distill(evidence.recipe(tmp_path / "run", method), student=given)
    assert not torch.equal(dict(result.student.named_parameters())[f"model.{part}"], before)
    evidence.ships(result)


# ---- metrics ----------------------------------------------------------------------------------------------------


def taught_by(toy: ModuleType, folder: Path, logits: Tensor, seed: int = 3) -> Tensor:
    """Logits ``[n, C]`` of a student of these predictions, of all rows."""
    bank = toy.bank(folder / "bank", logits=logits)
    trainer = toy.trainer("kd", folder, bank, config={"weight_supervised": 0.0}, max_steps=60, seed=seed)
    trainer.train()
    with torch.no_grad():
        return trainer.model.student(toy.examples().all_rows()).logits


def random_logits(seed: int) -> Tensor:
    """Whose class is a matter of the row alone."""
    return 3 * torch.randn(48, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.full
def test_row_044_a_copy_of_the_teacher_seldom_agrees_with_it(toy: ModuleType, tmp_path: Path) -> None:
    """Self-distillation: student and teacher are one architecture, and yet do not become one function."""
    teacher = taught_by(toy, tmp_path / "teacher", random_logits(0))
    student = taught_by(toy, tmp_path / "student", teacher, seed=4)
    found = agreement(student, teacher.log_softmax(-1))
    assert 0.5 < found[AGREEMENT.name] < 1
    assert found[TEACHER_GAP.name] > 0


@pytest.mark.full
def test_row_167_the_true_teacher_is_the_most_similar(toy: ModuleType, tmp_path: Path) -> None:
    candidates = [random_logits(seed) for seed in range(4)]
    student = taught_by(toy, tmp_path, candidates[2])
    gaps = [agreement(student, c.log_softmax(-1))[TEACHER_GAP.name] for c in candidates]
    assert min(range(4), key=gaps.__getitem__) == 2


# ---- surveys ----------------------------------------------------------------------------------------------------


def test_row_034_each_category_has_a_method() -> None:
    """Response, feature and relation; offline, online and self."""
    rooms = {
        name: method_class(name).__module__.split(".")[2] for name in ("kd", "hints", "rkd", "dml", "bagkd")
    }
    assert rooms == {
        "kd": "response",
        "hints": "features",
        "rkd": "relations",
        "dml": "online",
        "bagkd": "bags",
    }
    assert "fellow" in method_class("dml").peers  # online: both learn
    assert "ema" in method_class("bagkd").peers  # self: an average of the student
