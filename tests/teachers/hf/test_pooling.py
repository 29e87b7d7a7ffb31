"""The mask of the inputs at the rate of the states."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from limbeck.banks import Bank
from limbeck.errors import ConfigError
from limbeck.teachers import HFTeacher
from limbeck.teachers.hf.pooling import all_states, mask_at_rate


def test_masks_at_another_rate():
    states, mask = torch.zeros(2, 2, 3), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    halves = SimpleNamespace(_get_feat_extract_output_lengths=lambda n: n // 2)
    assert mask_at_rate(halves, mask, states, "mean").tolist() == [[True, True], [True, False]]
    assert mask_at_rate(object(), torch.ones(2, 4), states, "mean") is None
    with pytest.raises(ConfigError, match="does not say which of its states are padding"):
        mask_at_rate(object(), mask, states, "mean")


def test_all_states_of_rows_do_not_depend_on_their_neighbours(tiny, tmp_path):
    """pooling='none': the states of each text's own tokens, as asked alone, and a bank of them."""
    texts = ["one two three", "one", "two three four five six"]
    teacher = HFTeacher(tiny["bert"], pooling="none", hidden_layers=[1])
    together, alone = (
        teacher({"text": texts}),
        HFTeacher(tiny["bert"], pooling="none", batch_size=1)({"text": texts}),
    )
    assert len(set(together.features.lengths.tolist())) == 3
    assert torch.equal(together.features.lengths, alone.features.lengths)
    torch.testing.assert_close(together.features.values, alone.features.values, rtol=1e-5, atol=1e-5)
    mean = HFTeacher(tiny["bert"], pooling="mean")({"text": texts}).features
    torch.testing.assert_close(torch.stack([row.mean(0) for row in together.features]), mean)
    rows = [{"id": i, "text": text} for i, text in enumerate(texts)]
    bank = Bank.build(tmp_path / "b", teacher, rows, batch_size=2)
    (row,) = bank.lookup([2]).hidden_states["layer_1"]
    torch.testing.assert_close(row, list(together.hidden_states["layer_1"])[2], rtol=1e-5, atol=1e-5)
    assert bank.signals == {"features", "hidden_states"}


def test_states_without_positions_are_refused():
    assert all_states(torch.zeros(2, 3, 4, 5), None).lengths.tolist() == [20, 20], (
        "the places of a feature map"
    )
    with pytest.raises(ConfigError, match=r"shape \[2, 3\] have no positions"):
        all_states(torch.zeros(2, 3), None)


def test_the_likeliest_classes(tiny):
    """The same in one forward and in several; not of an encoder."""
    texts = ["one two", "three"]
    whole = HFTeacher(tiny["roberta_classifier"])({"text": texts})
    for size in (None, 1):
        kept = HFTeacher(tiny["roberta_classifier"], top_k=2, batch_size=size)({"text": texts})
        assert torch.equal(kept.log_probs.ids, whole.logits.topk(2).indices)
        assert kept.logits is None
    with pytest.raises(ConfigError, match="top_k is of a classifier's predictions"):
        HFTeacher(tiny["bert"], top_k=2)
