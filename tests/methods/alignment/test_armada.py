"""ARMADA: its terms against numpy, where each gradient goes, and what the aligner hands on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from steps import shapes, step_batch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.methods.alignment.armada import ARMADA
from limbeck.methods.alignment.armada_settings import ARMADAConfig
from limbeck.methods.base import StepBatch
from limbeck.methods.registry import method_config, plan_method
from limbeck.methods.supervised import Supervised, SupervisedConfig
from limbeck.problems.base import Targets
from limbeck.problems.regression import Regression
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

D_S, D_T, WIDTH, CLASSES = 6, 5, 4, 3
# Row by row: labelled without a pair, labelled with one, unlabelled with one, unlabelled without; twice.
PAIRS = [-1, 2, 0, -1, -1, 1, 3, -1]
LABELS = [0, 1, -100, -100, 2, 2, -100, -100]


class Net(nn.Module):
    """A student in its bare form: an encoder and a head."""

    def __init__(self, n_outputs: int = CLASSES) -> None:
        super().__init__()
        self.encoder = nn.Linear(7, D_S)
        self.head = nn.Linear(D_S, n_outputs)

    def forward(self, x: Tensor) -> StudentOutput:
        features = torch.tanh(self.encoder(x))
        return StudentOutput(features, self.head(features))


def batch(
    student: StudentOutput,
    features_t: Tensor,
    pairs: list[int] = PAIRS,
    labels: list[int] = LABELS,
    targets: Tensor | None = None,
) -> StepBatch:
    """Of a classification; given the values, of a regression whose labels say where they are known."""
    said = TeacherOutput(features=features_t)
    if targets is None:
        return step_batch(student, said, pairs=pairs, labels=labels)
    wanted = Targets(targets, torch.tensor(labels) >= 0)
    return step_batch(student, said, pairs=pairs, targets=wanted, problem=Regression(("value",)))


def made(*, n_outputs: int = CLASSES, **config: Any) -> ARMADA:
    torch.manual_seed(0)
    settings = {"width": WIDTH, "depth": 2} | config
    return ARMADA(ARMADAConfig(**settings), shapes(D_S, D_T, n_outputs)).double()


def draw(n_outputs: int = CLASSES) -> tuple[StudentOutput, Tensor]:
    generator = torch.Generator().manual_seed(1)
    options = {"generator": generator, "dtype": torch.float64}
    n = len(PAIRS)
    student = StudentOutput(torch.randn(n, D_S, **options), torch.randn(n, n_outputs, **options))
    return student, 50 + 20 * torch.randn(4, D_T, **options)  # of a scale of its own


# ---- values -------------------------------------------------------------------------------------------------


def projected(layers: nn.Sequential, row: np.ndarray) -> np.ndarray:
    """LayerNorm, linear, [LayerNorm, GELU, linear] of one row, from the weights."""
    erf = np.vectorize(__import__("math").erf)
    normal = lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-5)  # noqa: E731
    _, first, norm, _, last = layers
    weights = lambda m: (m.weight.detach().numpy(), m.bias.detach().numpy())  # noqa: E731
    (w, b), (scale, shift), (v, c) = weights(first), weights(norm), weights(last)
    inner = normal(w @ normal(row) + b) * scale + shift
    return v @ (inner * 0.5 * (1 + erf(inner / np.sqrt(2)))) + c


def linear(head: nn.Linear, row: np.ndarray) -> np.ndarray:
    return head.weight.detach().numpy() @ row + head.bias.detach().numpy()


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum())


def manifold_by_numpy(form: str, z_s: np.ndarray, z_t: np.ndarray) -> float:
    gap = lambda a, b: 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    if form == "pairs":
        return sum(np.linalg.norm(a - b) for a, b in zip(z_s, z_t))
    if form == "cosine":
        return sum(gap(a, b) for a, b in zip(z_s, z_t))
    return float(np.linalg.norm(z_s.mean(0) - z_t.mean(0)))


def by_numpy(
    method: ARMADA, student: StudentOutput, features_t: Tensor, targets: Tensor | None
) -> dict[str, float]:
    """Every term, row by row."""
    aligner, c = method.aligner, method.config
    f_s, logits_s, f_t = student.features.numpy(), student.logits.numpy(), features_t.numpy()

    def label_loss(logits: np.ndarray, i: int) -> float:
        if targets is not None:
            return float((logits[0] - targets[i].item()) ** 2)
        return -log_softmax(logits)[LABELS[i]]

    def match(i: int, logits_a: np.ndarray) -> float:
        if targets is not None:
            return float((logits_s[i][0] - logits_a[0]) ** 2)
        log_a, log_s = log_softmax(logits_a / c.softness), log_softmax(logits_s[i] / c.softness)
        return c.softness**2 * float((np.exp(log_a) * (log_a - log_s)).sum())

    labelled = [i for i, label in enumerate(LABELS) if label >= 0]
    paired = [i for i, pair in enumerate(PAIRS) if pair >= 0]
    z_s = {i: projected(aligner.student_projection, f_s[i]) for i in range(len(PAIRS))}
    z_t = {i: projected(aligner.teacher_projection, f_t[PAIRS[i]]) for i in paired}
    logits_a = {i: linear(aligner.head, z_t[i]) for i in paired}
    return {
        "supervised": sum(label_loss(logits_s[i], i) for i in labelled),
        "logits": sum(match(i, logits_a[i]) for i in paired),
        "manifold": manifold_by_numpy(
            c.manifold, np.stack([z_s[i] for i in paired]), np.stack([z_t[i] for i in paired])
        ),
        "auxiliary": sum(label_loss(linear(aligner.auxiliary_head, z_s[i]), i) for i in labelled),
        "aligner": sum(label_loss(logits_a[i], i) for i in labelled if i in z_t),
    }


@pytest.mark.parametrize("match_trains_aligner", [False, True])
@pytest.mark.parametrize("manifold", ["pairs", "cosine", "euclid"])
def test_terms_of_a_classification(manifold: str, match_trains_aligner: bool) -> None:
    method = made(manifold=manifold, temperature=2.0, match_trains_aligner=match_trains_aligner)
    student, features_t = draw()
    found = {name: float(term) for name, term in method.losses(batch(student, features_t)).items()}
    assert found == pytest.approx(by_numpy(method, student, features_t, None), rel=1e-10)


def test_terms_of_a_regression() -> None:
    """Squared errors; targets of rows without a label are not read."""
    method = made(n_outputs=1)
    student, features_t = draw(n_outputs=1)
    targets = torch.tensor([0.5, 2.0, torch.nan, torch.nan, -1.0, 4.0, torch.nan, torch.nan])
    labels = [min(label, 0) for label in LABELS]
    b = batch(student, features_t, labels=labels, targets=targets)
    found = {name: float(term) for name, term in method.losses(b).items()}
    assert found == pytest.approx(by_numpy(method, student, features_t, targets), rel=1e-10)
    alone = Supervised(SupervisedConfig(), method.shapes).losses(b)
    assert float(alone["supervised"]) == found["supervised"]
    with pytest.raises(ConfigError, match="set label_smoothing to 0 for a regression"):
        Supervised(SupervisedConfig(label_smoothing=0.1), method.shapes).losses(b)


def test_the_order_of_the_rows_does_not_matter() -> None:
    student, features_t = draw()
    order = torch.randperm(len(PAIRS), generator=torch.Generator().manual_seed(3))
    mixed = batch(
        student.rows(order), features_t, [PAIRS[i] for i in order], [LABELS[i] for i in order]
    )  # fmt: skip
    for manifold in ("pairs", "cosine", "euclid"):
        method = made(manifold=manifold)
        terms, other = method.losses(batch(student, features_t)), method.losses(mixed)
        for name, term in terms.items():
            torch.testing.assert_close(term, other[name])


@pytest.mark.parametrize("n_outputs", [CLASSES, 1])
def test_unit_terms_are_sums_over_rows(n_outputs: int) -> None:
    """What makes accumulation exact: halves add up, but for the forms by means."""
    student, features_t = draw(n_outputs)
    labels = LABELS if n_outputs > 1 else [min(label, 0) for label in LABELS]
    targets = torch.arange(8.0) if n_outputs == 1 else None
    parts = [[0, 2, 5], [1, 3, 4, 6, 7]]
    for manifold in ("pairs", "cosine", "euclid"):
        method = made(n_outputs=n_outputs, manifold=manifold)
        whole = method.losses(batch(student, features_t, PAIRS, labels, targets))
        cut = [
            method.losses(
                batch(
                    student.rows(torch.tensor(p)),
                    features_t,
                    [PAIRS[i] for i in p],
                    [labels[i] for i in p],
                    targets[p] if targets is not None else None,
                )
            )
            for p in parts
        ]
        for name, unit in method.plan.units.items():
            if unit != "batch":
                torch.testing.assert_close(whole[name], cut[0][name] + cut[1][name])
        assert method.plan.units["manifold"] == ("batch" if manifold == "euclid" else "pair")


# ---- gradients ----------------------------------------------------------------------------------------------

ENCODER = {"encoder"}
# Term to the parts that its gradient reaches; it reaches no other.
REACHES = {
    "supervised": ENCODER | {"head"},
    "logits": ENCODER | {"head"},
    "manifold": ENCODER | {"student_projection"},
    "auxiliary": ENCODER | {"student_projection", "auxiliary_head"},
    "aligner": {"teacher_projection", "aligner_head"},
}


@pytest.mark.parametrize("n_outputs", [CLASSES, 1])
@pytest.mark.parametrize("match_trains_aligner", [False, True])
@pytest.mark.parametrize("manifold_trains_both", [False, True])
@pytest.mark.parametrize("manifold", ["pairs", "cosine", "euclid"])
def test_where_each_gradient_goes(
    n_outputs: int, match_trains_aligner: bool, manifold_trains_both: bool, manifold: str
) -> None:
    method = made(
        n_outputs=n_outputs,
        manifold=manifold,
        match_trains_aligner=match_trains_aligner,
        manifold_trains_both=manifold_trains_both,
    )
    extra = {
        "logits": {"teacher_projection", "aligner_head"} if match_trains_aligner else set(),
        "manifold": {"teacher_projection"} if manifold_trains_both else set(),
    }
    _, features_t = draw()
    features_t.requires_grad_()
    net, aligner = Net(n_outputs).double(), method.aligner
    parts = {
        "encoder": [*net.encoder.parameters()],
        "head": [*net.head.parameters()],
        "student_projection": [*aligner.student_projection.parameters()],
        "teacher_projection": [*aligner.teacher_projection.parameters()],
        "aligner_head": [*aligner.head.parameters()],
        "auxiliary_head": [*aligner.auxiliary_head.parameters()],
        "teacher": [features_t],
    }
    assert sum(len(p) for p in parts.values()) == len([*net.parameters(), *method.parameters()]) + 1
    is_regression = n_outputs == 1
    labels = [min(label, 0) for label in LABELS] if is_regression else LABELS
    x = torch.randn(8, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    b = batch(net(x), features_t, labels=labels, targets=torch.arange(8.0) if is_regression else None)
    for term, value in method.losses(b).items():
        reached = set()
        for part, tensors in parts.items():
            gradients = torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True)
            if any(g is not None and bool(g.any()) for g in gradients):
                reached.add(part)
        assert reached == REACHES[term] | extra.get(term, set()), term


def test_rows_without_a_label_move_the_student_but_not_the_aligners_task() -> None:
    """On unlabelled pairs alone the match and the manifold term are left."""
    method = made()
    student, features_t = draw()
    student.features.requires_grad_()
    found = method.losses(batch(student, features_t, labels=[-100] * 8))
    zero = {name for name, term in found.items() if float(term.detach()) == 0}
    assert zero == {"supervised", "auxiliary", "aligner"}
    for (
        term
    ) in found.values():  # a zero with a gradient path, or the backward pass of several processes hangs
        if term.requires_grad:
            term.backward(retain_graph=True)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("manifold", ["pairs", "cosine", "euclid"])
def test_few_pairs(n: int, manifold: str) -> None:
    method, (student, features_t) = made(manifold=manifold), draw()
    student.features.requires_grad_()
    pairs = [i if i < n else -1 for i in range(8)]
    terms = method.losses(batch(student, features_t[:n], pairs, [-100] * 8))
    sum(terms.values()).backward()
    assert all(bool(torch.isfinite(term)) for term in terms.values())
    assert (float(terms["manifold"].detach()) > 0) == (n > 0)
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_in_full_precision_inside(dtype: torch.dtype) -> None:
    """A bfloat16 student and a float16 bank; and autocast."""
    method, (student, features_t) = made().float(), draw()
    full = method.losses(batch(StudentOutput(student.features.float(), student.logits.float()), features_t))
    half = StudentOutput(student.features.to(dtype).requires_grad_(), student.logits.to(dtype))
    found = method.losses(batch(half, features_t.half()))
    assert {term.dtype for term in found.values()} == {torch.float32}
    for name, term in found.items():
        assert float(term.detach()) == pytest.approx(float(full[name].detach()), rel=0.05), name
    found["manifold"].backward()
    assert half.features.grad.dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        found = method.losses(batch(half, features_t.half()))
    assert {term.dtype for term in found.values()} == {torch.float32}


# ---- config -------------------------------------------------------------------------------------------------


def test_weights_by_their_names() -> None:
    values = {"supervised": 0.5, "logits": 2.0, "manifold": 0.1, "auxiliary": 3.0, "aligner": 0.0}
    method = made(**{f"weight_{name}": value for name, value in values.items()})
    assert method.weights(0.0) == method.weights(1.0) == values


def test_what_it_declares_depends_on_the_config() -> None:
    usual, texts = (plan_method("armada", {"teacher": what}).declared for what in ("features", "text"))
    assert usual.needs == texts.needs == {"features"}
    assert (usual.text_as_features, texts.text_as_features) == (False, True)
    assert plan_method("supervised").declared.needs == set()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 0}, r"'width' of method 'armada' must lie in \[1, inf\)"),
        ({"depth": 1.5}, "'depth' of method 'armada' must be a whole number"),
        ({"manifold": "euclidean"}, "must be one of pairs, cosine, elementwise, euclid"),
        ({"alpha": 1.5}, r"'alpha' of method 'armada' must lie in \[0, 1\]"),
        ({"match": "mse"}, "must be one of kl, l2"),
        ({"match_trains_aligner": 1}, "must be true or false"),
        ({"teacher": "image"}, "must be one of features, text"),
        ({"wieght_logits": 1.0}, "no setting 'wieght_logits'; did you mean 'weight_logits'"),
    ],
)
def test_wrong_settings(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        method_config("armada", values)


# ---- what it is for -----------------------------------------------------------------------------------------


def accuracy_after(method: Any, net: Net, x: Tensor, b: Any, truth: Tensor, n_steps: int = 300) -> float:
    """Accuracy on the rows without a label."""
    optimizer = torch.optim.Adam([*net.parameters(), *method.parameters()], lr=1e-2)
    for _ in range(n_steps):
        step = b(net(x))
        labelled, paired = int(step.labelled.sum()), int(step.teacher.is_paired.sum())
        counts = {"labelled": labelled, "pair": paired, "batch": 1}
        weights = method.weights(0.0)
        terms = method.losses(step)
        loss = sum(weights[n] * term / counts[method.plan.units[n]] for n, term in terms.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    hidden = ~step.labelled
    return float((net(x).logits.argmax(1) == truth)[hidden].float().mean())


@pytest.mark.full
def test_labels_reach_unlabelled_pairs_through_the_aligner() -> None:
    """Six labels, an easy teacher, a student to whom six rows say little: unlabelled pairs help, shuffled ones do not.
    A manifold term that moves both sides draws the space to one point, and what the aligner knew goes with it."""
    generator = torch.Generator().manual_seed(7)
    n = 300
    truth = torch.arange(n) % CLASSES
    x = F.one_hot(truth, 7) + 1.2 * torch.randn(n, 7, generator=generator)
    t = 3 * F.one_hot(truth, D_T) + 0.3 * torch.randn(n, D_T, generator=generator)
    labels = [int(truth[i]) if i < 6 else -100 for i in range(n)]
    shuffled = torch.randperm(n, generator=generator).tolist()

    def score(method: Any, pairs: list[int]) -> float:
        torch.manual_seed(0)
        return accuracy_after(method, Net(), x, lambda out: batch(out, t, pairs, labels), truth)

    widths = shapes(D_S, D_T, CLASSES)
    alone = score(Supervised(SupervisedConfig(), widths), list(range(n)))
    for manifold in ("pairs", "euclid", "cosine"):
        settings = {"manifold": manifold, "width": 16}
        taught = score(made(**settings).float(), list(range(n)))
        misled = score(made(**settings).float(), shuffled)
        assert taught > alone + 0.1, (manifold, taught, alone)
        assert misled < taught - 0.1, (manifold, misled, taught)
    drawn_in = score(made(width=16, manifold_trains_both=True).float(), list(range(n)))
    taught = score(made(width=16).float(), list(range(n)))
    assert drawn_in < taught - 0.05
