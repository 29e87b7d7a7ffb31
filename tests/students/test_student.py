"""The student over plain modules: head, features before dropout, hooks, copies, modes."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limbeck.errors import ConfigError, HeadNotFoundError, UnknownNameError
from limbeck.students import Student, small_conv_net
from limbeck.students.recorder import is_dropout

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


def n_hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def mlp(*middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), *middle, nn.Linear(7, 3))


def head_of(student: Student, features: torch.Tensor) -> torch.Tensor:
    weight, bias = student.head_layer
    return F.linear(features, weight, bias)


class FunctionalDropout(nn.Module):
    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.body, self.head, self.inplace = nn.Linear(5, 7), nn.Linear(7, 3), inplace

    def forward(self, x):
        x = self.body(x)
        if self.training:  # not visible to a probe in evaluation mode
            x = F.dropout(x, 0.5, self.training, self.inplace)
        return self.head(x)


def test_features_are_the_input_of_the_head():
    student = Student(mlp())
    out = student({"x": X})
    assert student.head_path == "2"
    assert torch.equal(out.features, student.model[:2](X))
    assert torch.equal(out.logits, student.model(X))
    assert torch.equal(head_of(student, out.features), out.logits)


@pytest.mark.parametrize(
    "middle",
    [
        [nn.Dropout(0.5)],
        [nn.Dropout(0.5, inplace=True)],
        [nn.Dropout(0.5), nn.Flatten()],
        [nn.AlphaDropout(0.5)],
    ],
)
def test_features_before_a_dropout_module(middle):
    student = Student(mlp(*middle)).train()
    for _ in range(2):  # the first forward finds the head, the second uses it
        torch.manual_seed(1)
        out = student({"x": X})
        assert torch.equal(out.features, student.model[:2](X))
        torch.manual_seed(1)
        assert torch.equal(out.logits, student.model(X))
        assert not torch.allclose(head_of(student, out.features), out.logits)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("probed", [False, True])
def test_features_before_a_functional_dropout(inplace, probed):
    student = Student(FunctionalDropout(inplace))
    if probed:
        student.probe({"x": X})
    student.train()
    for _ in range(3):
        torch.testing.assert_close(student({"x": X}).features, student.model.body(X))
    student.eval()
    torch.testing.assert_close(student({"x": X}).features, student.model.body(X))


def test_a_dropout_earlier_in_the_net_stays_in_the_features():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), nn.Tanh(), nn.Linear(7, 3)).train()
    out = Student(model)({"x": X})
    assert torch.equal(F.linear(out.features, model[3].weight, model[3].bias), out.logits)


def test_custom_dropouts_are_known_by_name():
    class StableDropout(nn.Module):
        pass

    assert is_dropout(StableDropout())
    assert not is_dropout(nn.ReLU())


class TwoInputs(nn.Module):
    """Linear layers registered in another order than they run, and one that runs after the head."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body, self.unused, self.extra = (
            nn.Linear(4, 3),
            nn.Linear(5, 4),
            nn.Linear(4, 3),
            nn.Linear(4, 2),
        )

    def forward(self, a, b=None):
        h = self.body(a if b is None else a + b)
        logits = self.head(h)
        self.side = self.extra(h)
        return {"logits": logits}


def test_head_is_the_last_executed_layer_that_makes_the_logits():
    student = Student(TwoInputs())
    out = student({"a": X, "b": X}, hidden=["body"])
    assert student.head_path == "head"
    assert torch.equal(out.features, student.model.body(2 * X))
    assert torch.equal(out.hidden_states["body"], out.features)


def test_a_wide_side_branch_is_not_taken_for_the_head():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.conv = nn.Linear(5, 3), nn.Conv1d(5, 3, 1)

        def forward(self, x):
            return self.conv(x.unsqueeze(-1)).squeeze(-1) + 0 * self.gate(x)

    with pytest.raises(HeadNotFoundError, match=r"'gate', did not make them.*gate \(5 to 3, ran\)"):
        Student(Gated())({"x": X})


@pytest.mark.parametrize("last", [nn.LogSoftmax(-1), nn.Softmax(-1), nn.Identity()])
def test_increasing_functions_after_the_head_are_allowed(last):
    student = Student(nn.Sequential(nn.Linear(5, 3), last))
    assert torch.equal(student({"x": 1e3 * X}).features, 1e3 * X)


def test_a_non_finite_batch_does_not_hide_the_head():
    bad = X.clone()
    bad[0, 0] = float("nan")
    assert Student(mlp())({"x": bad}).logits.isnan().any()


def test_no_head_lists_the_candidates():
    with pytest.raises(HeadNotFoundError, match=r"no nn\.Linear at all"):
        Student(nn.Sequential(nn.Conv1d(5, 3, 1), nn.Flatten()))({"x": X.unsqueeze(-1)})
    with pytest.raises(HeadNotFoundError, match=r"candidates: 0 \(5 to 7, ran\)"):
        Student(nn.Sequential(nn.Linear(5, 7), nn.Unflatten(1, (7, 1)), nn.Conv1d(7, 3, 1), nn.Flatten()))(
            {"x": X}
        )


def test_head_can_be_named():
    student = Student(mlp(), head="2")
    assert student.head_layer[0].shape == (3, 7)
    with pytest.raises(UnknownNameError, match="no layer '3'"):
        Student(mlp(), head="3")
    with pytest.raises(ConfigError, match=r"is a ReLU, not an nn\.Linear"):
        Student(mlp(), head="1")


def test_head_is_unknown_before_the_first_batch():
    with pytest.raises(HeadNotFoundError, match="probe"):
        Student(mlp()).head_layer  # noqa: B018


def test_inputs_go_by_name_or_a_single_one_by_position():
    model = TwoInputs()
    assert torch.equal(Student(model)({"pixels": X}).logits, model(X)["logits"])
    assert torch.equal(Student(model)({"b": X, "a": 2 * X}).logits, model(3 * X)["logits"])
    with pytest.raises(ConfigError, match="takes the inputs a, b, not a, c"):
        Student(model)({"a": X, "c": X})
    with pytest.raises(ConfigError, match="none at all"):
        Student(model)({})


def test_a_model_without_logits_is_refused():
    with pytest.raises(ConfigError, match="no logits"):
        Student(nn.Sequential(nn.Linear(5, 1), nn.Flatten(0)))({"x": X})


def test_hidden_layers_by_path_even_before_an_in_place_activation():
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 3))
    out = Student(model)({"x": X}, hidden=["0", "2"])
    assert torch.equal(out.hidden_states["0"], model[0](X))
    assert out.hidden_states["0"].min() < 0
    out.hidden_states["0"].sum().backward()
    assert model[0].weight.grad is not None
    with pytest.raises(UnknownNameError, match="did you mean"):
        Student(model)({"x": X}, hidden=["00"])
    with pytest.raises(ConfigError, match="'unused' put out no tensor"):
        Student(TwoInputs())({"a": X}, hidden=["unused"])


def test_no_hook_stays_also_after_an_error():
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            y = self.head(x)
            if len(x) == 1:
                raise RuntimeError("boom")
            return y

    student = Student(Breaks())
    with pytest.raises(RuntimeError, match="boom"):
        student({"x": X[:1]})
    assert n_hooks(student) == 0
    assert len(student({"x": X}).features) == 6
    assert n_hooks(student) == 0


def test_no_stale_rows_when_the_batch_shrinks_or_the_head_is_skipped():
    student = Student(mlp())
    assert len(student({"x": X}).features) == 6
    assert len(student({"x": X[:1]}).features) == 1
    student.model.forward = lambda x: student.model[1](x)
    with pytest.raises(HeadNotFoundError, match="'2' did not run"):
        student({"x": X})


def test_two_threads_do_not_mix_their_rows():
    student = Student(mlp()).eval()
    student.probe({"x": X})
    wrong = []

    def work(scale: float) -> None:
        for n in range(1, 100):
            x = scale * X[: n % 6 + 1]
            wrong.extend([n] if not torch.equal(student({"x": x}).features, student.model[:2](x)) else [])

    threads = [threading.Thread(target=work, args=(s,)) for s in (1.0, 2.0, 3.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_probe_leaves_statistics_flags_and_generators_alone():
    student = Student(nn.Sequential(*small_conv_net(4)[:-1], nn.Dropout(0.3), nn.Linear(128, 4))).train()
    student.model[1].eval()
    before = copy.deepcopy(student.state_dict())
    flags = [m.training for m in student.modules()]
    state = torch.random.get_rng_state()
    shape = student.probe({"x": torch.randn(2, 1, 16, 16, generator=torch.Generator())}, hidden=["0"])
    assert (shape.head, shape.feature_width, shape.n_classes) == ("15", 128, 4)
    assert shape.hidden == {"0": (2, 8, 8, 8)}
    assert torch.equal(state, torch.random.get_rng_state())
    assert flags == [m.training for m in student.modules()]
    assert all(torch.equal(before[k], v) for k, v in student.state_dict().items())
    assert all(p.grad is None for p in student.parameters())


def test_copies_are_independent():
    student = Student(mlp(nn.Dropout(0.5))).train()
    student({"x": X})
    twin = copy.deepcopy(student)
    with torch.no_grad():
        twin.model[0].weight.zero_()
        twin.model[0].bias.fill_(1.0)
    assert torch.equal(twin({"x": X}).features, torch.ones(6, 7))
    assert torch.equal(student({"x": X}).features, student.model[:2](X))
    assert twin.head_layer[0] is twin.model[3].weight


def test_state_dict_round_trip():
    student, other = Student(mlp()), Student(copy.deepcopy(mlp()))
    with torch.no_grad():
        other.model[0].weight.add_(1)
    assert set(student.state_dict()) == {"model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias"}
    other.load_state_dict(student.state_dict())
    assert torch.equal(other({"x": X}).logits, student({"x": X}).logits)


def test_functional_call_uses_the_given_weights_with_gradient():
    student = Student(mlp())
    fast = {k: (0.5 * v).detach().requires_grad_() for k, v in student.named_parameters()}
    out = torch.func.functional_call(student, fast, ({"x": X},))
    weight, bias = fast["model.0.weight"], fast["model.0.bias"]
    torch.testing.assert_close(out.features, F.relu(F.linear(X, weight, bias)))
    out.features.sum().backward()
    assert weight.grad is not None
    assert student.model[0].weight.grad is None


def test_under_autocast():
    student = Student(mlp(nn.Dropout(0.5))).train()
    with torch.autocast("cpu", torch.bfloat16):
        out = student({"x": X})
    assert out.logits.dtype is torch.bfloat16
    assert student.head_path == "3"
    torch.testing.assert_close(out.features.float(), student.model[:2](X), rtol=0.02, atol=0.02)


def test_gradients_equal_those_of_the_bare_model():
    student = Student(mlp())
    bare = copy.deepcopy(student.model)
    student({"x": X}).logits.square().sum().backward()
    bare(X).square().sum().backward()
    for p, q in zip(student.parameters(), bare.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


def test_rows_of_an_output():
    out = Student(mlp())({"x": X}, hidden=["0"])
    part = out.rows(torch.tensor([4, 1]))
    assert torch.equal(part.features, out.features[[4, 1]])
    assert torch.equal(part.hidden_states["0"], out.hidden_states["0"][[4, 1]])


def test_gradient_checkpointing_needs_a_model_that_can():
    with pytest.raises(ConfigError, match="Sequential does not support gradient checkpointing"):
        Student(mlp()).gradient_checkpointing_enable()


def test_checkpointed_region_around_body_and_head():
    class Saves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(nn.Dropout(0.5, inplace=True))

        def forward(self, x):
            return torch.utils.checkpoint.checkpoint(self.net, x, use_reentrant=False)

    torch.manual_seed(3)
    student = Student(Saves()).train()
    out = student({"x": X}, hidden=["net.0"])
    (out.features.sum() + out.logits.sum() + out.hidden_states["net.0"].sum()).backward()
    assert torch.equal(out.features, student.model.net[:2](X))
    assert all(p.grad is not None for p in student.parameters())


def test_positions_keep_their_axes():
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    x = torch.randn(2, 4, 5)
    out = Student(model, reading="positions")({"x": x}, hidden=["0"])
    assert out.logits.shape == (2, 4, 3)
    assert torch.equal(out.features, model[0](x))
    assert torch.equal(out.hidden_states["0"], out.features)
    with pytest.raises(ConfigError, match=r"logits \[2, 4, 3\], at several positions .*token_classes"):
        Student(model)({"x": x})


def test_logits_at_positions_are_made_when_they_are_read():
    ran = []

    class Counts(nn.Linear):
        def forward(self, x):
            ran.append(x.shape[-2])
            return super().forward(x)

    model = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), Counts(7, 3)).train()
    student, x = Student(model, reading="positions"), torch.randn(2, 4, 5)
    student.probe({"x": x})
    ran.clear()
    out = student({"x": x})
    assert ran == [0]
    assert len(out) == 2
    assert torch.equal(out.rows(slice(1, 2)).logits, out.logits[1:])
    assert ran == [0, 4, 4]
    assert not torch.equal(out.features.detach(), student({"x": x}).entered.detach())


def test_a_pointwise_convolution_is_a_head():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 1))
    x = torch.randn(2, 1, 5, 4)
    student = Student(model, reading="positions")
    out = student({"x": x})
    assert student.head_path == "2"
    assert torch.equal(out.logits, model(x).movedim(1, -1))
    assert torch.equal(out.features, model[:2](x).movedim(1, -1))
    weight, bias = out.head
    torch.testing.assert_close(out.features @ weight.T + bias, out.logits)


@pytest.mark.parametrize("reading", ["embedding", "prediction"])
def test_readings_without_a_head(reading):
    model, x = nn.Sequential(nn.Linear(5, 4), nn.Tanh()), torch.randn(3, 5)
    student = Student(model, reading=reading)
    out = student({"x": x}, hidden=["0"])
    assert torch.equal(out.prediction, model(x))
    assert out.hidden_states["0"].shape == (3, 4)
    assert student.probe({"x": x}).n_classes == 4
    with pytest.raises(ConfigError, match="shows no logits, only"):
        out.logits  # noqa: B018


def test_features_of_the_position_whose_logits_were_taken():
    class Picks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x, attention_mask):
            last = attention_mask.sum(1) - 1
            return self.head(x)[torch.arange(len(x)), last]

    model = Picks()
    x, mask = torch.randn(3, 4, 5), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    for weight in (1.0, 0.0):  # a head of zeros gives every position the same logits
        with torch.no_grad():
            model.head.weight.mul_(weight)
        out = Student(model)({"x": x, "attention_mask": mask})
        assert torch.equal(out.features, x[torch.arange(3), torch.tensor([1, 3, 0])])


def test_pooling_after_the_head_is_refused():
    class Pools(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return self.head(x).mean(1)

    with pytest.raises(HeadNotFoundError, match="let the model pool before its head"):
        Student(Pools())({"x": torch.randn(2, 4, 5)})
