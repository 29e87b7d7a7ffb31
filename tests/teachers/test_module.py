"""Any module teaches: features before its head, logits after it, and it is left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.banks import Bank
from limbeck.data.base import Examples
from limbeck.errors import ConfigError, DataError, HeadNotFoundError, UnknownNameError
from limbeck.signals import TeacherOutput
from limbeck.teachers import ModuleTeacher, Teacher
from limbeck.teachers.compact import compacted


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)
    ).train()


def test_features_and_logits_without_dropout_or_gradient():
    teacher = ModuleTeacher(model(), class_names="abc", layers=["0"])
    x = torch.randn(5, 4)
    out = teacher({"x": x})
    whole = teacher.model.eval()
    torch.testing.assert_close(out.logits, whole(x))
    torch.testing.assert_close(out.features, whole[:4](x))
    torch.testing.assert_close(out.hidden_states["0"], whole[0](x))
    assert not out.logits.requires_grad
    assert torch.equal(out.features @ teacher.head[0].T + teacher.head[1], out.logits)
    assert torch.equal(teacher({"x": x}).logits, out.logits)
    assert not any(m._forward_hooks for m in whole.modules()), "no hook stays"
    assert isinstance(teacher, Teacher)


def test_asking_does_not_change_the_model():
    teacher = ModuleTeacher(model())
    before = teacher.fingerprint()
    teacher({"x": torch.randn(5, 4)})
    assert teacher.fingerprint() == before
    with torch.no_grad():
        teacher.model[0].weight[0, 0] += 1
    changed = teacher.fingerprint()
    assert {part for part in before if before[part] != changed[part]} == {"weights"}


def test_preprocessing_is_part_of_the_fingerprint():
    plain, scaled = ModuleTeacher(model()).fingerprint(), ModuleTeacher(model(), preprocessing={"scale": 2})
    assert {part for part in plain if plain[part] != scaled.fingerprint()[part]} == {"preprocessing"}


def test_inputs_by_name():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2, 2)

        def forward(self, b, a):
            return self.head(torch.stack([a, b], -1))

    teacher = ModuleTeacher(Two())
    out = teacher({"a": torch.zeros(3), "b": torch.ones(3)})
    assert out.features.tolist() == [[0.0, 1.0]] * 3


def test_an_embedding_model_needs_no_head():
    out = ModuleTeacher(nn.Sequential(nn.Flatten(), nn.Tanh()), gives="embedding")({"x": torch.ones(2, 3, 1)})
    assert out.features.shape == (2, 3)
    assert out.logits is None


def test_no_head_lists_the_candidates():
    at_positions = nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.Linear(3, 5))
    with pytest.raises(ConfigError, match=r"logits \[2, 2, 5\], at several positions .*gives='positions'"):
        ModuleTeacher(at_positions)({"x": torch.randn(2, 4)})
    assert ModuleTeacher(at_positions, gives="positions")({"x": torch.randn(2, 4)}).logits.shape == (2, 2, 5)
    with pytest.raises(HeadNotFoundError, match=r"no nn\.Linear at all"):
        ModuleTeacher(nn.Tanh())({"x": torch.randn(2, 4)})


def test_wrong_use():
    with pytest.raises(UnknownNameError, match=r"no layer 'encodr'.*did you mean 'encoder'"):
        ModuleTeacher(nn.ModuleDict({"encoder": nn.Linear(1, 1)}), layers=["encodr"])
    with pytest.raises(UnknownNameError, match="no reading 'logits'"):
        ModuleTeacher(model(), gives="logits")
    with pytest.raises(DataError, match=r"'x' holds values \(str\)"):
        ModuleTeacher(model())({"x": ["a", "b"]})


def test_bank_equals_live_teacher(tmp_path):
    data = Examples.classified(
        {"x": torch.randn(30, 4)}, tuple(range(30)), torch.arange(30) % 3, ("a", "b", "c")
    )
    teacher = ModuleTeacher(model(), class_names=("a", "b", "c"), layers=["2"])
    bank = Bank.build(tmp_path / "b", teacher, data, batch_size=30)
    live, kept = teacher(data.rows(range(30))), bank.lookup(data.keys)
    assert torch.equal(live.features, kept.features)
    assert torch.equal(live.logits, kept.logits)
    assert torch.equal(live.hidden_states["2"], kept.hidden_states["2"])
    assert torch.equal(bank.head[0], teacher.head[0])
    assert bank.signals == {"features", "logits", "hidden_states", "labels", "head"}


# ---- rows of different lengths, and the likeliest classes -----------------------------------------------------------


class TokenNet(nn.Module):
    """States at every token, and one prediction for each text."""

    def __init__(self) -> None:
        super().__init__()
        self.states, self.head = nn.Embedding(10, 4), nn.Linear(4, 5)

    def forward(self, input_ids, attention_mask):
        shown = attention_mask.unsqueeze(-1)
        return self.head((self.states(input_ids) * shown).sum(1) / shown.sum(1))


TOKENS = {
    "input_ids": torch.tensor([[1, 2, 3], [4, 0, 0], [0, 5, 6]]),
    "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0], [0, 1, 1]]),
}


def test_states_of_the_shown_tokens(tmp_path):
    """However long the longest text of a batch is, a row has the states of its own tokens, on either side."""
    torch.manual_seed(0)
    net = TokenNet()
    said = ModuleTeacher(net, layers=["states"], ragged=True)(TOKENS)
    first, second, third = said.hidden_states["states"]
    assert torch.equal(first, net.states.weight[[1, 2, 3]])
    assert torch.equal(second, net.states.weight[[4]])
    assert torch.equal(third, net.states.weight[[5, 6]])
    assert said.features.shape == (3, 4), "one for each text"
    rows = [{"id": i, **{name: value[i] for name, value in TOKENS.items()}} for i in range(3)]
    teacher = ModuleTeacher(net, layers=["states"], ragged=True, top_k=2)
    bank = Bank.build(tmp_path / "b", teacher, rows, batch_size=2)
    assert torch.equal(bank.lookup([2]).hidden_states["states"].values, net.states.weight[[5, 6]])
    assert bank.lookup([0]).log_probs.ids.shape == (1, 2)
    assert bank.width("log_probs") == 5


def test_the_likeliest_classes_of_a_classifier():
    torch.manual_seed(0)
    net = TokenNet()
    whole, kept = ModuleTeacher(net)(TOKENS), ModuleTeacher(net, top_k=2)(TOKENS)
    assert kept.logits is None
    probs, ids = whole.logits.softmax(1).topk(2)
    assert torch.equal(kept.log_probs.ids, ids)
    torch.testing.assert_close(kept.log_probs.log_probs.exp(), probs)
    torch.testing.assert_close(kept.log_probs.rest.exp(), 1 - probs.sum(1))
    with pytest.raises(ConfigError, match="likeliest 6 of 5 classes"):
        ModuleTeacher(net, top_k=6)(TOKENS)


def test_what_is_kept_is_part_of_the_fingerprint():
    net = TokenNet()
    read = [
        ModuleTeacher(net, **kept).fingerprint()["reading"] for kept in ({}, {"ragged": True}, {"top_k": 2})
    ]
    assert len(set(read)) == 3


def test_predictions_at_every_token_become_tokens():
    """Of a model that predicts at every position: the likeliest classes of the positions that are shown."""
    logits = torch.randn(3, 3, 7)
    said = compacted(TeacherOutput(logits=logits), TOKENS["attention_mask"], 2)
    assert said.signals == {"tokens"}
    assert said["tokens"].lengths.tolist() == [3, 1, 2]
    expected = logits[TOKENS["attention_mask"].bool()].topk(2).indices
    assert torch.equal(said["tokens"].values.ids, expected)
    padded = compacted(TeacherOutput(logits=logits), None, 2)
    assert padded["tokens"].ids.shape == (3, 3, 2)
