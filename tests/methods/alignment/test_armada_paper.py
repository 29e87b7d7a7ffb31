"""ARMADA as the paper prints it: equations 1 to 5 and their gradients by hand, and which weights each term moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from steps import shapes, step_batch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.methods.alignment.armada import ARMADA
from limbeck.methods.base import Curve, StepBatch
from limbeck.methods.registry import method_config, plan_method
from limbeck.problems.base import Targets
from limbeck.problems.regression import Regression
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

D_S, D_T, WIDTH, CLASSES = 3, 4, 5, 3
FORMS = ("cosine", "euclid", "elementwise")
LABELS, TAU = [2, 0], 5.0
EXACT = {"rel": 0, "abs": 1e-8}


def made(name: str, *, n_outputs: int = CLASSES, **config: Any) -> ARMADA:
    torch.manual_seed(0)
    settings = method_config(name, {"width": WIDTH, **config})
    return ARMADA(settings, shapes(D_S, D_T, n_outputs)).double()


def drawn(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def batch(n_outputs: int = CLASSES) -> tuple[StepBatch, Tensor, Tensor]:
    """Two labelled rows, each with its row of the teacher."""
    features, logits = drawn(2, D_S, seed=1).requires_grad_(), drawn(2, n_outputs, seed=2).requires_grad_()
    said = TeacherOutput(features=drawn(2, D_T, seed=3))
    student = StudentOutput(features, logits)
    if n_outputs == 1:
        targets = Targets(torch.tensor([0.5, -1.0], dtype=torch.float64), torch.tensor([True, True]))
        b = step_batch(student, said, pairs=[1, 0], targets=targets, problem=Regression(("value",)))
    else:
        b = step_batch(student, said, pairs=[1, 0], labels=LABELS)
    return b, features, logits


# ---- by hand, from the weights -------------------------------------------------------------------------------


def linear(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


class ByHand:
    """Every quantity of the paper's table 1, of the two rows of :func:`batch`."""

    def __init__(self, method: ARMADA, b: StepBatch) -> None:
        aligner = method.aligner
        x = b.student.features.detach().numpy()
        t = b.teacher.said.features.numpy()[[1, 0]]
        inner = linear(aligner.teacher_hidden[0], t)
        erf = np.vectorize(__import__("math").erf)
        self.h_ts = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
        self.o_ts, self.p_ts = linear(aligner.head, self.h_ts), linear(aligner.teacher_projection, self.h_ts)
        self.o_s, self.p_s = b.student.logits.detach().numpy(), linear(aligner.student_projection, x)
        self.aux_s = linear(aligner.auxiliary_head, self.p_s)
        self.aux_ts = linear(aligner.teacher_auxiliary_head, self.p_ts)


def equation_1(o: np.ndarray) -> tuple[float, np.ndarray]:
    """Cross-entropy summed over the rows, and its gradient: the prediction less the truth."""
    q, truth = softmax(o), np.eye(CLASSES)[LABELS]
    return float(-(truth * np.log(q)).sum()), q - truth


def equation_2(o_s: np.ndarray, o_ts: np.ndarray) -> tuple[float, np.ndarray]:
    """Distance of the softened predictions; its gradient through the Jacobian of the softmax, written out."""
    q, p = softmax(o_s / TAU), softmax(o_ts / TAU)
    gap = q - p
    length = np.sqrt((gap**2).sum(1, keepdims=True))
    u = gap / length
    return float(length.sum()), q * (u - (q * u).sum(1, keepdims=True)) / TAU


def equations_3_to_5(form: str, p_s: np.ndarray, p_ts: np.ndarray) -> tuple[float, np.ndarray]:
    """The manifold term, and its gradient at the student's projections; the elementwise one summed over the rows."""
    m_s, m_t = p_s.mean(0), p_ts.mean(0)
    if form == "cosine":
        return float(1 - m_s @ m_t), np.tile(-m_t / len(p_s), (len(p_s), 1))
    if form == "euclid":
        length = np.sqrt(((m_s - m_t) ** 2).sum())
        return float(length), np.tile((m_s - m_t) / length / len(p_s), (len(p_s), 1))
    length = np.sqrt(((p_s - p_ts) ** 2).sum(1, keepdims=True))
    return float(length.sum()), (p_s - p_ts) / length


@pytest.mark.parametrize("form", FORMS)
def test_values_and_gradients_of_equations_1_to_5(form: str) -> None:
    method = made(f"armada_paper_{form}")
    b, features, logits = batch()
    hand = ByHand(method, b)
    found = method.losses(b)
    to_student = method.aligner.student_projection.weight.detach().numpy()
    to_aux = method.aligner.auxiliary_head.weight.detach().numpy()
    loss_s, slope_s = equation_1(hand.o_s)
    match, slope_match = equation_2(hand.o_s, hand.o_ts)
    manifold, slope_m = equations_3_to_5(form, hand.p_s, hand.p_ts)
    aux, slope_aux = equation_1(hand.aux_s)
    aux_match, slope_aux_match = equation_2(hand.aux_s, hand.aux_ts)
    values = {
        "supervised": loss_s,
        "logits": match,
        "manifold": manifold,
        "auxiliary": aux,
        "auxiliary_logits": aux_match,
        "aligner": equation_1(hand.o_ts)[0],
        "aligner_auxiliary": equation_1(hand.aux_ts)[0],
    }
    assert {name: float(term) for name, term in found.items()} == pytest.approx(values, **EXACT)
    slopes = {
        "supervised": (logits, slope_s),
        "logits": (logits, slope_match),
        "manifold": (features, slope_m @ to_student),
        "auxiliary": (features, slope_aux @ to_aux @ to_student),
        "auxiliary_logits": (features, slope_aux_match @ to_aux @ to_student),
    }
    for name, (at, slope) in slopes.items():
        (gradient,) = torch.autograd.grad(found[name], at, retain_graph=True)
        np.testing.assert_allclose(gradient.numpy(), slope, rtol=0, atol=1e-8, err_msg=name)
    (gradient,) = torch.autograd.grad(found["aligner"], method.aligner.head.bias)
    np.testing.assert_allclose(gradient.numpy(), equation_1(hand.o_ts)[1].sum(0), rtol=0, atol=1e-8)


def test_a_regression_has_the_identity_in_place_of_the_softmax() -> None:
    method = made("armada_paper_euclid", n_outputs=1)
    b, _, logits = batch(1)
    hand, found = ByHand(method, b), method.losses(b)
    assert float(found["logits"]) == pytest.approx(float(np.abs(hand.o_s - hand.o_ts).sum() / TAU), **EXACT)
    (gradient,) = torch.autograd.grad(found["logits"], logits)
    np.testing.assert_allclose(gradient.numpy(), np.sign(hand.o_s - hand.o_ts) / TAU, rtol=0, atol=1e-8)


def test_the_printed_match_pulls_many_times_less_than_ours() -> None:
    """Which is why KL at T = 1 is ours."""
    b, _, logits = batch()
    sizes = {}
    for match in ("l2", "kl"):
        found = made("armada", heads="two", match=match).losses(b)["logits"]
        sizes[match] = float(torch.autograd.grad(found, logits)[0].norm())
    assert sizes["kl"] > 5 * sizes["l2"]


# ---- weights -------------------------------------------------------------------------------------------------


def test_alpha_shares_label_losses_and_matches() -> None:
    found = made("armada_paper_cosine", alpha=0.25).weights(0.0)
    assert found == {
        "supervised": 0.75, "auxiliary": 0.75, "logits": 0.25, "auxiliary_logits": 0.25, "manifold": 1.0,
        "aligner": 1.0, "aligner_auxiliary": 1.0,
    }  # fmt: skip
    curved = made("armada", alpha=0.5, weight_logits={"from": 0, "to": 4, "until": 0.5})
    assert [curved.weights(at)["logits"] for at in (0.0, 0.25, 1.0)] == [0.0, 1.0, 2.0]
    assert curved.settled == 0.5
    assert isinstance(curved.weight_of("logits"), Curve)
    assert set(made("armada").weights(0.0).values()) == {1.0}


@pytest.mark.parametrize("form", FORMS)
def test_a_preset_is_what_its_name_says(form: str) -> None:
    config = method_config(f"armada_paper_{form}")
    assert (config.match, config.heads, config.softness, config.alpha) == ("l2", "two", 5.0, 0.5)
    assert method_config(f"armada_paper_{form}", {"alpha": 0.0}).alpha == 0.0
    with pytest.raises(ConfigError, match="take 'armada' to choose it"):
        method_config(f"armada_paper_{form}", {"match": "kl"})
    units = plan_method(f"armada_paper_{form}").declared.units
    assert units["manifold"] == ("pair" if form == "elementwise" else "batch")


# ---- which weights each term moves ---------------------------------------------------------------------------

STUDENT, HEAD = "student", "student's head"
# Term to the parts that it moves, and no other; the paper gives the manifold term to the student alone.
MOVES = {
    "supervised": {STUDENT, HEAD},
    "logits": {STUDENT, HEAD},
    "manifold": {STUDENT, "student_projection"},
    "auxiliary": {STUDENT, "student_projection", "auxiliary_head"},
    "auxiliary_logits": {STUDENT, "student_projection", "auxiliary_head"},
    "aligner": {"teacher_hidden", "head"},
    "aligner_auxiliary": {"teacher_hidden", "teacher_projection", "teacher_auxiliary_head"},
}


def moved(method: ARMADA, student: nn.Linear, head: nn.Linear) -> dict[str, set[str]]:
    """Term to the parts that its gradient reaches."""
    features = torch.tanh(student(drawn(2, 7, seed=4)))
    said = TeacherOutput(features=drawn(2, D_T, seed=3))
    b = step_batch(StudentOutput(features, head(features)), said, pairs=[1, 0], labels=LABELS)
    parts = {STUDENT: student, HEAD: head, **dict(method.aligner.named_children())}
    if hasattr(method, "decoder"):
        parts["decoder"] = method.decoder
    found = {}
    for term, value in method.losses(b).items():
        found[term] = {
            name
            for name, part in parts.items()
            if (weights := [p for p in part.parameters() if p.requires_grad])
            and any(
                g is not None and bool(g.any())
                for g in torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
            )
        }
    return found


NETS = (nn.Linear(7, D_S).double(), nn.Linear(D_S, CLASSES).double())


@pytest.mark.parametrize("form", FORMS)
def test_which_parts_each_term_moves(form: str) -> None:
    assert moved(made(f"armada_paper_{form}"), *NETS) == MOVES


def test_which_parts_move_where_the_settings_say_otherwise() -> None:
    method = made("armada_paper_elementwise", match_trains_aligner=True, manifold_trains_both=True)
    found = moved(method, *NETS)
    assert found["logits"] == MOVES["logits"] | MOVES["aligner"]
    assert found["auxiliary_logits"] == MOVES["auxiliary_logits"] | MOVES["aligner_auxiliary"]
    assert found["manifold"] == MOVES["manifold"] | {"teacher_hidden", "teacher_projection"}


def test_a_frozen_aligner_hands_on_what_it_was_drawn_with() -> None:
    for heads in ("one", "two"):
        method = made("armada", heads=heads, aligner="frozen")
        found = moved(method, *NETS)
        assert not any(term.startswith("aligner") for term in found)
        assert found["logits"] == {STUDENT, HEAD}
        trained = {name for name, p in method.aligner.named_parameters() if p.requires_grad}
        assert {name.partition(".")[0] for name in trained} == {"student_projection", "auxiliary_head"}


# ---- the teacher's row ---------------------------------------------------------------------------------------


def test_a_capacity_matched_aligner_reads_nothing_of_the_teacher() -> None:
    taught, matched = (made("armada", aligner=kind) for kind in ("trained", "without_teacher"))
    count = [sum(p.numel() for p in method.parameters()) for method in (taught, matched)]
    assert count[0] == count[1]
    b, features, _ = batch()
    before = {name: float(term) for name, term in matched.losses(b).items()}
    b.teacher.said.features.mul_(-3)
    assert {name: float(term) for name, term in matched.losses(b).items()} == before
    assert torch.autograd.grad(matched.losses(b)["aligner"], features, allow_unused=True) == (None,)


def test_noise_is_in_units_of_the_rows_own_spread_and_repeats() -> None:
    b, _, _ = batch()
    rows, said = b.teacher.paired()
    noisy = made("armada", teacher_noise=0.5)

    def shown(scale: float) -> Tensor:
        b.generator = torch.Generator().manual_seed(5)
        return noisy._shown(b, rows, scale * said["features"])

    gap = shown(1.0) - said["features"]
    assert 0.2 < float((gap / said["features"].std(-1, keepdim=True, correction=0)).std()) < 0.9
    torch.testing.assert_close(shown(100.0), 100 * shown(1.0), rtol=1e-5, atol=1e-4)
    assert torch.equal(shown(1.0), shown(1.0))
    assert made("armada")._shown(b, rows, said["features"]) is said["features"]


# ---- the aligner's own stage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", ["one", "two"])
@pytest.mark.parametrize("pretrain", ["labels", "reconstruction"])
def test_an_aligner_that_learns_alone(pretrain: str, heads: str) -> None:
    """It needs no student, and what it learns from is lowered by descent."""
    method = made("armada", heads=heads, pretrain=pretrain)
    plan = method.plan
    assert plan.student == "asked"
    assert plan.units == {"aligner": "labelled" if pretrain == "labels" else "pair"}
    b, _, _ = batch()
    b.student = None
    first = float(method.losses(b)["aligner"])
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        method.losses(b)["aligner"].backward()
        optimizer.step()
    assert float(method.losses(b)["aligner"]) < first / 2


def test_an_aligner_that_does_not_learn_has_no_stage() -> None:
    with pytest.raises(ConfigError, match="'frozen' has no stage of its own"):
        plan_method("armada", {"aligner": "frozen", "pretrain": "labels"})
