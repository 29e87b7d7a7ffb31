from __future__ import annotations

import pytest
import torch

from limbeck.evaluation.diagnosis.signal_facts import feature_facts, prediction_facts, signal_warnings
from limbeck.seeding import keyed_generator

CLOUD = torch.randn(500, 10, generator=keyed_generator("signal"))


def test_scale_spread_and_rank_of_a_cloud() -> None:
    found = feature_facts(3 * CLOUD)
    assert found.width == 10
    assert found.scale == pytest.approx(3 * 10**0.5, rel=0.05)
    assert found.spread == pytest.approx(found.scale, rel=0.02)
    assert found.rank == pytest.approx(10, rel=0.05)
    assert abs(found.cosine) < 0.02
    assert not found.collapsed
    moved = feature_facts(CLOUD + 100)
    assert moved.spread == pytest.approx(found.spread / 3, rel=0.02)
    assert moved.cosine > 0.99


@pytest.mark.parametrize(
    "features",
    [CLOUD[:1].repeat(50, 1), CLOUD[:, :1] @ CLOUD[:1], torch.zeros(50, 4)],
    ids=["row", "line", "zero"],
)
def test_collapse_is_seen(features: torch.Tensor) -> None:
    facts = feature_facts(features)
    assert facts.collapsed
    assert "The teacher's features have collapsed" in signal_warnings({"teacher": facts}, None)[0]


def test_dead_columns_scale_and_uniform_predictions_are_named() -> None:
    dead = CLOUD.clone()
    dead[:, :6] = 1.0
    large = feature_facts(1e5 * CLOUD)
    found = signal_warnings(
        {"student": feature_facts(dead), "teacher": large},
        prediction_facts(torch.zeros(20, 4).log_softmax(1)),
    )
    assert "60% of the student's feature columns never change" in found[0]
    assert "The teacher's features are" in found[1]
    assert "uniform to within 1%" in found[2]
    assert signal_warnings({"student": feature_facts(CLOUD)}, None) == []


def test_predictions() -> None:
    logits = torch.tensor([[9.0, 0, 0], [9.0, 0, 0], [0, 9.0, 0], [9.0, 0, 0]])
    found = prediction_facts(logits.log_softmax(1))
    assert (found.commonest, found.which) == (0.75, 0)
    assert found.confidence > 0.99
    assert found.entropy < 0.01
