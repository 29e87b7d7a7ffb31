"""Each problem by hand: loss, scores, answers, and labels as they are read."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ClassNamesError, ConfigError, DataError, UnknownNameError
from limbeck.problems import PROBLEMS, Choice, Classification, MultiLabel, Problem, Regression, Targets
from limbeck.problems.base import Bare
from limbeck.problems.classification import numbered
from limbeck.problems.registry import problem, problem_class
from limbeck.problems.smoothing import smoothed

NAMES = ("ant", "bee", "cat")
KINDS: dict[str, Problem] = {kind: problem_class(kind)(NAMES) for kind in PROBLEMS}
POSITIONS = {"token_classes": (4,), "segmentation": (3, 2), "generation": (4,)}  # of a row
UNITS = {"generation": 3}  # of a row, where not all positions: nothing says the first token
LABELLED = [kind for kind in PROBLEMS if KINDS[kind].has_label_loss]


def targets(kind: str, n: int) -> Targets:
    """Of ``n`` rows, every third unknown."""
    generator = torch.Generator().manual_seed(n)
    known = torch.arange(n) % 3 != 2
    if kind == "regression":
        return Targets(torch.randn(n, generator=generator), known)
    if kind == "multilabel":
        return Targets((torch.rand(n, 3, generator=generator) > 0.5).float(), known)
    if kind == "embedding":
        return Targets(torch.randn(n, 3, generator=generator), known)
    return Targets(torch.randint(3, (n, *POSITIONS.get(kind, ())), generator=generator), known)


def logits(kind: str, n: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    shape = (n, *POSITIONS.get(kind, ()), KINDS[kind].n_outputs() or 3)
    return torch.randn(shape, generator=torch.Generator().manual_seed(n + 1)).to(dtype)


# ---- every problem ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LABELLED)
def test_a_loss_is_a_sum_over_known_units(kind):
    posed, z, wanted = KINDS[kind], logits(kind, 9), targets(kind, 9)
    whole = posed.loss(Bare(z), wanted)
    parts = [posed.loss(Bare(z[rows]), wanted.rows(rows)) for rows in (torch.arange(4), torch.arange(4, 9))]
    assert float(whole) == pytest.approx(float(sum(parts)))
    assert posed.count(wanted) == 6 * UNITS.get(kind, math.prod(POSITIONS.get(kind, ())))
    kept = wanted.known
    assert float(posed.loss(Bare(z[kept]), wanted.rows(kept))) == pytest.approx(float(whole))


@pytest.mark.parametrize("kind", LABELLED)
def test_nothing_known_is_zero_with_a_gradient_path(kind):
    posed, z = KINDS[kind], logits(kind, 4).requires_grad_()
    wanted = targets(kind, 4).forgotten(torch.ones(4, dtype=torch.bool))
    loss = posed.loss(Bare(z), wanted)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not z.grad.any()
    assert all(
        math.isnan(value) for value in posed.scores(posed.statistics(Bare(z.detach()), wanted)).values()
    )


@pytest.mark.parametrize("kind", LABELLED)
def test_gradients(kind):
    posed, wanted = KINDS[kind], targets(kind, 5)
    z, other = logits(kind, 5).requires_grad_(), logits(kind, 6)[:5].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: posed.loss(Bare(x), wanted), (z,))
    both = lambda a, b: posed.match(a, b, temperature=2.0, trains_teacher=True)  # noqa: E731
    assert torch.autograd.gradcheck(both, (z, other))
    posed.match(z, other, temperature=2.0).backward()
    assert other.grad is None


@pytest.mark.parametrize("kind", LABELLED)
def test_a_match_is_zero_where_both_agree(kind):
    z = logits(kind, 5)
    assert float(KINDS[kind].match(z, z, temperature=3.0)) == pytest.approx(0, abs=1e-12)
    assert float(KINDS[kind].match(z, -z, temperature=3.0)) > 0


@pytest.mark.parametrize("kind", LABELLED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(kind, dtype):
    loss = KINDS[kind].loss(Bare(logits(kind, 6, dtype)), targets(kind, 6))
    assert loss.dtype == torch.float32
    assert bool(loss.isfinite())


@pytest.mark.parametrize("kind", LABELLED)
def test_scores_have_every_metric_and_answers_every_name(kind):
    posed, z, wanted = KINDS[kind], logits(kind, 30), targets(kind, 30)
    statistics = posed.statistics(Bare(z), wanted)
    assert all(len(value) == 30 for value in statistics.values())
    assert set(posed.scores(statistics)) == {metric.name for metric in posed.metrics}
    answers = [{}, {}] if posed.writes else posed.answers(z[:2])  # it answers with a tokenizer
    assert len(answers) == 2
    assert all(isinstance(answer, dict) for answer in answers)


@pytest.mark.parametrize("kind", LABELLED)
def test_huge_logits_stay_finite(kind):
    z = 1e4 * logits(kind, 6).sign()
    wanted = targets(kind, 6)
    assert bool(KINDS[kind].loss(Bare(z), wanted).isfinite())
    assert all(math.isfinite(v) for v in KINDS[kind].scores(KINDS[kind].statistics(Bare(z), wanted)).values())


@pytest.mark.parametrize("kind", PROBLEMS)
def test_settings_make_it_again(kind):
    posed = problem({"kind": kind, "decides": KINDS[kind].measures[-1].name}, NAMES)
    assert posed.metrics[0] == posed.metric == posed.measures[-1]
    assert problem(posed.spec(), NAMES) == posed


# ---- one by one ---------------------------------------------------------------------------------------------


def test_classification_by_hand():
    # confidence 0.9 in every row, three of four right: predictions 0, 0, 1, 1 for labels 0, 1, 1, 1
    z = torch.tensor([[math.log(9), 0.0], [math.log(9), 0.0], [0.0, math.log(9)], [0.0, math.log(9)]])
    posed, wanted = Classification(("a", "b")), numbered([0, 1, 1, 1])
    found = posed.scores(posed.statistics(Bare(z), wanted))
    assert found["accuracy"] == pytest.approx(0.75)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["calibration_error"] == pytest.approx(0.15, abs=1e-6)
    assert found["brier"] == pytest.approx((3 * 2 * 0.1**2 + 2 * 0.9**2) / 4)
    assert float(posed.loss(Bare(z), wanted)) == pytest.approx(-3 * math.log(0.9) - math.log(0.1), rel=1e-6)
    assert posed.classes(numbered([None, 1])).tolist() == [-100, 1]
    assert posed.answers(z[:1])[0]["probabilities"] == pytest.approx({"a": 0.9, "b": 0.1})


def test_unlabelled_rows_and_absent_classes_are_not_scored():
    z = torch.tensor([[1e4, 0.0, -1e4], [0.0, 1e4, 0.0], [5.0, 0.0, 0.0]], dtype=torch.float64)
    posed = Classification(NAMES)
    found = posed.scores(posed.statistics(Bare(z), numbered([0, 1, -100])))
    assert found == {
        "accuracy": 1.0,
        "macro_f1": 1.0,
        "calibration_error": pytest.approx(0.0),
        "brier": pytest.approx(0.0),
    }


def test_what_is_kept_of_every_row():
    z = torch.tensor([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0], [0.0, 5.0, 0.0]])
    posed = Classification(NAMES)
    kept = posed.statistics(Bare(z), numbered([0, 1, 1, None]))
    assert posed.item_values(kept, "accuracy").tolist() == [1, 1, 0]
    assert float(posed.item_values(kept, "brier").mean()) == pytest.approx(posed.scores(kept)["brier"])
    assert posed.item_values(kept, "macro_f1") is None
    assert posed.confusion(kept).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    sure, right = posed.confidences(kept)
    assert right.tolist() == [True, True, False]
    assert sure.tolist() == pytest.approx([math.exp(5) / (math.exp(5) + 2)] * 3)
    line = Regression(("height",))
    kept = line.statistics(Bare(z[:, :1]), Targets(torch.ones(4), torch.ones(4).bool()))
    assert line.item_values(kept, "rmse") is line.confusion(kept) is line.confidences(kept) is None


def test_smoothing_is_for_classes():
    wanted, z = numbered([0]), torch.zeros(1, 2)
    assert smoothed(Classification(("a", "b")), 0.2).label_smoothing == 0.2
    assert smoothed(Regression(("x",)), 0.0) == Regression(("x",))
    assert float(smoothed(Classification(("a", "b")), 0.2).loss(Bare(z), wanted)) == pytest.approx(
        math.log(2)
    )
    with pytest.raises(
        ConfigError, match="Label smoothing is for classes; set label_smoothing to 0 for a regression"
    ):
        smoothed(Regression(("x",)), 0.1)


def test_regression_by_hand():
    posed, wanted = Regression(("height",)), Targets(torch.tensor([1.0, 2.0, 4.0]), torch.ones(3).bool())
    z = torch.tensor([[1.0], [3.0], [2.0]])
    assert float(posed.loss(Bare(z), wanted)) == 1 + 4
    found = posed.scores(posed.statistics(Bare(z), wanted))
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert found["pearson"] == pytest.approx(0.3273268)
    assert found["spearman"] == pytest.approx(0.5)
    constant = posed.scores(posed.statistics(Bare(torch.ones(3, 1)), wanted))
    assert (constant["pearson"], constant["spearman"]) == (0.0, 0.0)  # a constant predicts nothing
    assert posed.answers(z[:1]) == [{"value": 1.0}]


def test_several_labels_by_hand():
    posed = MultiLabel(("a", "b"))
    wanted = Targets(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.ones(2).bool())
    z = torch.tensor([[math.log(3), -math.log(3)], [0.0, -math.log(3)]])
    parts = [-math.log(0.75), -math.log(0.75), math.log(2), -math.log(0.25)]
    assert float(posed.loss(Bare(z), wanted)) == pytest.approx(sum(parts) / 2)
    found = posed.scores(posed.statistics(Bare(z), wanted))
    assert found["micro_f1"] == pytest.approx(2 * 2 / (2 * 2 + 1))  # a found twice; b missed once
    assert found["macro_f1"] == pytest.approx((1 + 0) / 2)
    (answer,) = posed.answers(z[:1])
    assert answer["classes"] == ["a"]
    assert answer["probabilities"] == pytest.approx({"a": 0.75, "b": 0.25})


def test_choices_need_no_class_everywhere():
    posed = Choice(("choice 0", "choice 1"))
    posed.check(numbered([0, 0]), "t.csv")
    with pytest.raises(DataError, match="holds no labels"):
        posed.check(numbered([None, None]), "t.csv")


# ---- labels as they are read --------------------------------------------------------------------------------


def test_labels_of_each_kind():
    assert Classification.targets_of(["b", None, "a"], ("a", "b")).values.tolist() == [1, 0, 0]
    assert Classification.names_in(["b", None, "a", "b"], "label") == ("a", "b")
    assert Regression.label(" 1.5 ") == 1.5
    assert Regression.names_in([1.0], "price") == ("price",)
    assert MultiLabel.label("a| b |a") == ("a", "b")
    assert MultiLabel.label("|") == ()
    assert MultiLabel.label(["b", "a"]) == ("b", "a")
    found = MultiLabel.targets_of([("a",), None, ()], ("a", "b"))
    assert (found.values.tolist(), found.known.tolist()) == ([[1, 0], [0, 0], [0, 0]], [True, False, True])


@pytest.mark.parametrize("cell", ["", "tall", "nan", "inf", None, []])
def test_no_number(cell):
    with pytest.raises(DataError, match="where a finite number is predicted"):
        Regression.label(cell)


def test_labels_that_are_no_names():
    with pytest.raises(ClassNamesError, match="Labels are no class names: 'z'"):
        Classification.targets_of(["a", "z"], ("a",))
    with pytest.raises(ClassNamesError, match="'z'"):
        MultiLabel.targets_of([("a", "z")], ("a",))
    with pytest.raises(DataError, match="7 where class names joined by"):
        MultiLabel.label(7)


@given(st.lists(st.one_of(st.none(), st.sampled_from(NAMES)), max_size=20))
def test_class_numbers_are_those_of_the_names(labels):
    found = Classification.targets_of(labels, NAMES)
    assert [NAMES[v] if k else None for v, k in zip(found.values.tolist(), found.known.tolist())] == labels


@pytest.mark.parametrize(
    ("posed", "labels", "words"),
    [
        (Classification(("a",)), numbered([0]), "only one class"),
        (Classification(()), numbered([None]), "no labels"),
        (Classification(NAMES), numbered([0, 1]), "no row of class 'cat'"),
        (Regression(("x",)), Targets(torch.ones(2), torch.ones(2).bool()), "one value"),
        (Regression(("x",)), Targets(torch.ones(2), torch.zeros(2).bool()), "no value"),
        (
            MultiLabel(("a", "b")),
            Targets(torch.tensor([[1.0, 0.0]]), torch.ones(1).bool()),
            "no row of class 'b'",
        ),
        (MultiLabel(()), Targets(torch.zeros(1, 0), torch.ones(1).bool()), "no labels"),
    ],
)
def test_nothing_to_learn(posed, labels, words):
    with pytest.raises(DataError, match=rf"t\.csv.*{words}"):
        posed.check(labels, "t.csv")


# ---- by name ------------------------------------------------------------------------------------------------


def test_names_and_settings():
    assert problem("regression", ["x"]) == Regression(("x",))
    with pytest.raises(
        UnknownNameError, match="There is no problem 'clasification'; did you mean 'classification'"
    ):
        problem_class("clasification")
    with pytest.raises(UnknownNameError, match="A regression has no metric 'rmsd'; did you mean 'rmse'"):
        problem({"kind": "regression", "decides": "rmsd"}, ["x"])
    with pytest.raises(ConfigError, match="'regression' has no setting 'decide'; did you mean 'decides'"):
        problem({"kind": "regression", "decide": "rmse"}, ["x"])
    with pytest.raises(ConfigError, match="A problem is a name, or"):
        problem({"decides": "rmse"}, ["x"])


def test_further_metrics_of_a_classification() -> None:
    """Matthews' correlation and F1 by their formulas of the four counts."""
    posed = problem({"kind": "classification", "also": ["matthews", "f1"], "decides": "f1"}, ("no", "yes"))
    assert posed.metric.name == "f1"
    assert problem(posed.spec(), posed.names) == posed
    found = torch.tensor([1, 1, 1, 0, 0, 0, 0, 1])
    true = torch.tensor(
        [1, 1, 0, 0, 0, 1, 0, 1]
    )  # 3 true positives, 1 false one, 1 false negative, 3 true negatives
    logits = torch.nn.functional.one_hot(found, 2).float()
    scores = posed.scores(posed.statistics(Bare(logits), numbered(true)))
    assert scores["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert scores["matthews"] == pytest.approx((3 * 3 - 1 * 1) / (4 * 4 * 4 * 4) ** 0.5)
    with pytest.raises(ConfigError, match="f1 is of two classes, and there are 3; take macro_f1"):
        problem({"kind": "classification", "also": ["f1"]}, ("a", "b", "c"))
    with pytest.raises(UnknownNameError, match="did you mean 'matthews'"):
        problem({"kind": "classification", "also": ["mathews"]}, ("a", "b"))
