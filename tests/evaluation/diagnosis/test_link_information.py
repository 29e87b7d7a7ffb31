from __future__ import annotations

import math

import pytest
import torch

from limbeck.evaluation.diagnosis.link_information import (
    accuracy_through_link,
    channel_information,
    information,
    link_information,
)
from limbeck.seeding import keyed_generator


def channel(n: int, noise: float, seed: int, c: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Sure predictions that have nothing to do with the class in ``noise`` of the rows."""
    draw = keyed_generator("channel", seed)
    classes = torch.randint(c, (n,), generator=draw)
    said = torch.where(torch.rand(n, generator=draw) < noise, torch.randint(c, (n,), generator=draw), classes)
    return torch.log_softmax(30.0 * torch.nn.functional.one_hot(said, c), 1), classes


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.7, 1.0])
def test_psi_is_that_of_the_channel(noise: float) -> None:
    log_probs, classes = channel(2000, noise, 0)
    found = link_information(log_probs, log_probs, classes)
    assert found is not None
    assert found.noise == pytest.approx(noise, abs=0.05)
    assert found.psi == pytest.approx(channel_information(1 - 0.9 * noise, 10), abs=0.03)
    assert found.low <= found.psi <= found.high


def test_the_interval_covers_with_fifty_rows() -> None:
    true = channel_information(1 - 0.9 * 0.4, 10)
    hits = 0
    for seed in range(60):
        log_probs, classes = channel(50, 0.4, seed)
        found = link_information(log_probs, log_probs, classes)
        assert found is not None
        hits += found.low <= true <= found.high
    assert hits >= 52  # 57 expected of a 95% interval, standard deviation 1.7


def test_few_rows_say_nothing_and_few_labels_little() -> None:
    log_probs, classes = channel(200, 0.3, 1)
    assert link_information(log_probs, log_probs[:9], classes[:9]) is None
    few, many = (link_information(log_probs, log_probs[:m], classes[:m]) for m in (12, 200))
    assert few is not None
    assert many is not None
    assert few.high - few.low > 2 * (many.high - many.low)


def test_a_symmetric_channel_and_the_ends() -> None:
    assert channel_information(0.1, 10) == 0
    assert channel_information(1.0, 10) == 1
    t = 0.8
    entropy = -t * math.log(t) - 0.2 * math.log(0.2 / 9)
    assert channel_information(t, 10) == pytest.approx(1 - entropy / math.log(10))
    assert information(torch.full((5, 4), 0.25)) == pytest.approx(0, abs=1e-12)
    assert information(torch.eye(4)) == pytest.approx(1)


def test_accuracy_through_a_link_without_labels() -> None:
    """Student right in 70%, teacher in 90%, errors independent and even over 9 others."""
    agreement = 0.7 * 0.9 + 0.3 * 0.1 / 9
    assert accuracy_through_link(agreement, 0.7, 10) == pytest.approx(0.9)
    assert accuracy_through_link(agreement, 0.3, 10) is None  # too near chance to be a judge
