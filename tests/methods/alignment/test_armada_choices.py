"""ARMADA where every choice of a row has a teacher row of its own: COPA from its file to a student that has learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from steps import shapes, step_batch
from torch.nn.functional import one_hot

from limbeck.banks import Bank
from limbeck.data.benchmarks.glue import glue
from limbeck.data.task import Task
from limbeck.errors import ConfigError, LinkError, UnknownNameError
from limbeck.methods.alignment.armada import ARMADA
from limbeck.methods.registry import method_config
from limbeck.problems.choice import Choice
from limbeck.signals.links import Draw, PairedChoices
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

N, K, D_S, D_T = 6, 3, 5, 4
NAMES = tuple(f"choice{k}" for k in range(K))


def made(**config: Any) -> ARMADA:
    torch.manual_seed(0)
    settings = method_config("armada", {"width": 8, "teacher_row": "choice", **config})
    return ARMADA(settings, shapes(D_S, D_T, K)).double()


def batch(features_t: torch.Tensor, labels: list[int], pairs: list[int]) -> Any:
    generator = torch.Generator().manual_seed(1)
    each = torch.randn(N, K, D_S, generator=generator, dtype=torch.float64)
    student = StudentOutput(each.mean(1), each.sum(-1), of_choices=each.requires_grad_())
    said = TeacherOutput(features=features_t)
    return step_batch(student, said, pairs=pairs, labels=labels, problem=Choice(NAMES))


FEATURES = torch.randn(4, K, D_T, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
PAIRS, LABELS = [0, 1, -1, 2, 3, -1], [2, 0, 1, -100, -100, -100]


@pytest.mark.parametrize("heads", ["one", "two"])
@pytest.mark.parametrize("manifold", ["pairs", "euclid"])
def test_each_choice_is_scored_from_its_own_row(heads: str, manifold: str) -> None:
    """Choices in another order give the same terms, and what the aligner says of a choice is from that row alone."""
    method = made(heads=heads, manifold=manifold)
    found = method.losses(batch(FEATURES, LABELS, PAIRS))
    order = torch.tensor([2, 0, 1])
    b = batch(
        FEATURES[:, order],
        [int((order == label).nonzero()) if label >= 0 else label for label in LABELS],
        PAIRS,
    )
    b.student.of_choices = b.student.of_choices.detach()[:, order]
    b.student._logits = b.student.logits[:, order]
    for name, term in method.losses(b).items():
        torch.testing.assert_close(term, found[name])
    changed = FEATURES.clone()
    changed[:, 0, 0] += 1
    h_t, _ = method.aligner.read_teacher(torch.stack([FEATURES, changed]))
    scores = method.aligner.head(h_t).squeeze(-1)
    assert torch.equal(scores[0, :, 1:], scores[1, :, 1:])
    assert not torch.allclose(scores[0, :, 0], scores[1, :, 0])


def test_the_aligner_learns_which_choice_is_right_of_rows_it_has_not_seen() -> None:
    """Which no teacher of whole questions can: the right choice may stand at any place."""
    generator = torch.Generator().manual_seed(3)
    right = torch.randint(K, (60,), generator=generator)
    t = 0.3 * torch.randn(60, K, D_T, generator=generator) + one_hot(right, K)[..., None] * torch.tensor(
        [5.0, 0, 0, 0]
    )
    method = made(pretrain="labels").float()
    said, labels = TeacherOutput(features=t), [int(c) if i < 30 else -100 for i, c in enumerate(right)]
    empty = StudentOutput(torch.zeros(60, D_S), torch.zeros(60, K))
    b = step_batch(empty, said, pairs=list(range(60)), labels=labels, problem=Choice(NAMES))
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        method.losses(b)["aligner"].backward()
        optimizer.step()
    found = method.aligner.head(method.aligner.project_teacher(t)).squeeze(-1).argmax(1)
    assert float((found == right)[30:].float().mean()) > 0.9


def test_rows_that_are_not_those_of_the_setting() -> None:
    with pytest.raises(
        ConfigError, match=r"has a row for the question alone; set method.config.teacher_row: row"
    ):
        made().losses(batch(FEATURES[:, 0], LABELS, PAIRS))
    with pytest.raises(
        ConfigError, match=r"has a row for each choice; set method.config.teacher_row: choice"
    ):
        made(teacher_row="row").losses(batch(FEATURES, LABELS, PAIRS))


# ---- the link, and COPA ---------------------------------------------------------------------------------------


def test_the_link_gives_the_rows_of_all_choices(tmp_path: Path) -> None:
    bank = Bank.from_arrays(tmp_path / "b", keys=["a", "b", "c", "d"], features=torch.eye(4))
    link = PairedChoices({"x": ["d", "a"], "y": ["b", "c"]})
    keys = ["y", "z", "x"]
    draws = [Draw("labelled", i, 0, i) for i in range(3)]
    rows = link.rows(bank, keys, None, draws, seed=0)
    assert rows.pair_index.tolist() == [0, -1, 1]
    assert rows.said.features.argmax(-1).tolist() == [[1, 2], [3, 0]]
    nothing = link.rows(bank, ["z"], None, draws[:1], seed=0)
    assert nothing.said.features.shape[0] == 0
    assert link.groups(bank).tolist() == [0, 1, 1, 0]
    assert link.second_stream(keys, torch.tensor([True, False, False])).tolist() == [2]
    with pytest.raises(LinkError, match="the same number of teacher rows"):
        PairedChoices({"x": ["a"], "y": ["b", "c"]})


def copa(folder: Path) -> Task:
    rows = [
        {
            "premise": f"P {i}.",
            "choice1": f"one {i}",
            "choice2": f"two {i}",
            "question": "cause",
            "label": i % 2,
        }
        for i in range(40)
    ]
    for name, part in (("train", rows), ("val", rows[:6])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return glue(str(folder), task="copa", teacher_rows="choice")


def test_copa_asks_the_teacher_about_every_choice(tmp_path: Path) -> None:
    task = copa(tmp_path)
    train, asked = task.splits["train"], task.teacher.splits["link"]
    assert isinstance(task.teacher.link, PairedChoices)
    assert len(asked) == 2 * len(train)
    assert asked.keys[:2] == (f"{train.keys[0]}#0", f"{train.keys[0]}#1")
    row = asked.rows([0, 1])
    assert row["choice"].tolist() == list(train.inputs["choices"][0])
    assert row["text"][0] == row["text"][1] == train.inputs["text"][0]
    assert not bool(asked.targets.known.any())
    with pytest.raises(ConfigError, match="These rows offer no choices"):
        glue(str(rte(tmp_path)), teacher_rows="choice")
    with pytest.raises(UnknownNameError, match="valid ones: row, choice"):
        glue(str(tmp_path), task="copa", teacher_rows="each")


def rte(folder: Path) -> Path:
    own = folder / "rte_files"
    own.mkdir()
    lines = [f"{i}\tA {i}.\tB {i}.\t{('entailment', 'not_entailment')[i % 2]}" for i in range(30)]
    for name in ("train", "dev"):
        (own / f"{name}.tsv").write_text("\n".join(["index\tsentence1\tsentence2\tlabel", *lines]) + "\n")
    return own
