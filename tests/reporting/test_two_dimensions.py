"""The map puts equal geometry together and shows no structure where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.errors import DataError, NonFiniteError
from limbeck.reporting import feature_map

Y = torch.arange(10).repeat(20)


def clouds(seed: int = 0, noise: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Teacher features of 10 classes in 32 dimensions, and the same turned into 48, both with noise."""
    g = torch.Generator().manual_seed(seed)
    teacher = torch.randn(10, 32, generator=g)[Y] + noise * torch.randn(200, 32, generator=g)
    turn = torch.linalg.qr(torch.randn(48, 32, generator=g))[0]
    return teacher, teacher @ turn.T + noise * torch.randn(200, 48, generator=g)


def class_means(found: dict, modality: str) -> np.ndarray:
    x = np.array(found["x"])
    own = np.array(found["modality"]) == modality
    label = np.array(found["label"])
    return np.stack([x[own & (label == str(c))].mean(0) for c in range(10)])


def test_same_geometry_falls_together_and_noise_does_not() -> None:
    teacher, student = clouds()
    noise = torch.randn(200, 48, generator=torch.Generator().manual_seed(9))
    found = feature_map({"teacher": teacher, "student": student, "untaught": noise}, Y)
    t, s, u = (class_means(found, name) for name in ("teacher", "student", "untaught"))
    radius = np.linalg.norm(t, axis=1).mean()
    assert np.linalg.norm(t - s, axis=1).mean() < 0.3 * radius
    assert np.linalg.norm(u, axis=1).mean() < 0.3 * radius


def test_deterministic_and_json_able() -> None:
    teacher, student = clouds()
    first = feature_map({"a": teacher, "b": student}, {"a": Y, "b": Y}, class_names=list("zyxwvutsrq"))
    assert first == feature_map({"a": teacher, "b": student}, Y, class_names=list("zyxwvutsrq"))
    assert len(first["x"]) == len(first["label"]) == len(first["modality"]) == 200
    assert set(first["label"]) == set(first["corners"]) == set("zyxwvutsrq")
    assert (np.linalg.norm(np.array(first["x"]), axis=1) <= 1).all()
    assert isinstance(first["x"][0][0], float)


def test_many_points_are_thinned_and_lone_points_left_out() -> None:
    y = torch.cat([torch.arange(2).repeat(2000), torch.tensor([7])])
    x = torch.randn(4001, 5, generator=torch.Generator().manual_seed(0))
    found = feature_map({"a": x}, y)
    assert len(found["x"]) <= 300
    assert set(found["label"]) == {"0", "1"}


def test_constant_features_stay_finite() -> None:
    found = feature_map({"a": clouds()[0], "b": torch.ones(200, 3)}, Y)
    assert np.isfinite(np.array(found["x"])).all()


def test_bad_input() -> None:
    x = clouds()[0]
    with pytest.raises(DataError, match="two classes"):
        feature_map({"a": x}, torch.zeros(200, dtype=torch.long))
    with pytest.raises(DataError, match=r"'a' must be \[n, d\]"):
        feature_map({"a": x}, Y[:5])
    with pytest.raises(DataError, match="at least one modality"):
        feature_map({}, Y)
    with pytest.raises(NonFiniteError, match="'a'"):
        feature_map({"a": x / 0}, Y)
