"""Views: independent of how a batch is cut, within their limits, and without side effects."""

from __future__ import annotations

import pytest
import torch

from limbeck.data import GridView, VectorView, audio_views, image_views, vector_views
from limbeck.data.files.views import CropFlipView
from limbeck.errors import DataError

ALL = {
    **{f"audio-{name}": (view, (1, 32, 32)) for name, view in audio_views().items()},
    **{f"image-{name}": (view, (3, 28, 28)) for name, view in image_views().items()},
    **{f"vector-{name}": (view, (7,)) for name, view in vector_views().items()},
}


def generators(n: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + i) for i in range(n)]


@pytest.mark.parametrize("name", ALL)
def test_a_row_depends_on_its_own_generator_alone(name):
    view, shape = ALL[name]
    x = torch.randn(6, *shape)
    before = x.clone()
    whole = view({"x": x}, generators(6))["x"]
    halves = [view({"x": x[i : i + 2]}, generators(2, first=i))["x"] for i in (0, 2, 4)]
    assert torch.equal(whole, torch.cat(halves))
    assert torch.equal(x, before), "a view must not write into its input"
    assert whole.shape == x.shape
    assert not torch.equal(whole, x)
    assert not torch.equal(view({"x": x}, generators(6, first=50))["x"], whole)


def test_shift_stays_within_its_limit_and_reaches_it():
    spot = torch.zeros(400, 1, 15, 15)
    spot[:, :, 7, 7] = 1.0
    moved = GridView(shift=(1, 3))({"x": spot}, generators(400))["x"]
    where = moved.flatten(1).argmax(1)
    rows, columns = where // 15 - 7, where % 15 - 7
    assert set(rows.tolist()) == {-1, 0, 1}
    assert set(columns.tolist()) == {-3, -2, -1, 0, 1, 2, 3}
    assert torch.all(moved.sum((1, 2, 3)) == 1)


def test_masks_are_runs_within_their_limit():
    x = torch.ones(300, 1, 20, 20)
    masked = GridView(mask=(2, 5))({"x": x}, generators(300))["x"][:, 0] == 0
    rows, columns = masked.all(2).sum(1), masked.all(1).sum(1)
    assert set(rows.tolist()) == {0, 1, 2}
    assert set(columns.tolist()) == {0, 1, 2, 3, 4, 5}
    full = GridView(mask=(50, 0))({"x": x}, generators(300))["x"]
    assert full.shape == x.shape, "a mask wider than the grid is cut to it"


def test_noise_has_the_deviation_asked_for():
    x = torch.zeros(50, 1, 32, 32)
    assert GridView(noise=0.3)({"x": x}, generators(50))["x"].std().item() == pytest.approx(0.3, rel=0.02)


def test_dropped_share():
    x = torch.ones(200, 50)
    kept = VectorView(drop=0.2)({"x": x}, generators(200))["x"].mean().item()
    assert kept == pytest.approx(0.8, abs=0.02)


def test_no_rows_and_wrong_inputs():
    view = audio_views()["weak"]
    assert view({"x": torch.zeros(0, 1, 8, 8)}, [])["x"].shape == (0, 1, 8, 8)
    with pytest.raises(DataError, match="3 rows and 2 generators"):
        view({"x": torch.zeros(3, 1, 8, 8)}, generators(2))
    with pytest.raises(DataError, match="4 dimensions"):
        view({"x": torch.zeros(2, 8)}, generators(2))


def test_a_crop_is_a_part_of_the_picture_at_its_full_size():
    ramp = torch.linspace(0, 1, 32).expand(200, 1, 32, 32)
    view = CropFlipView(area=(0.25, 0.25), ratio=(1.0, 1.0), flip=0.0)
    seen = view({"x": ramp}, generators(200))["x"]
    assert seen.shape == ramp.shape
    width = seen[:, 0, 0, -1] - seen[:, 0, 0, 0]  # half a side of a ramp over one side
    torch.testing.assert_close(width, torch.full_like(width, 0.5 * 31 / 31), rtol=0.1, atol=0.0)
    lefts = seen[:, 0, 0, 0]
    assert float(lefts.min()) < 0.05
    assert 0.4 < float(lefts.max()) <= 0.55
    assert float(ramp.diff(dim=0).abs().max()) == 0  # the given pictures stay


def test_a_whole_picture_is_turned_half_of_the_time():
    ramp = torch.linspace(0, 1, 16).expand(300, 1, 16, 16)
    seen = CropFlipView(area=(1.0, 1.0), ratio=(1.0, 1.0))({"x": ramp}, generators(300))["x"]
    turned = seen[:, 0, 0, 0] > 0.5
    assert 0.4 < float(turned.float().mean()) < 0.6
    torch.testing.assert_close(seen[turned], ramp[turned].flip(-1))
    torch.testing.assert_close(seen[~turned], ramp[~turned])


def test_a_crop_is_the_rows_own_whatever_else_is_in_the_batch():
    x = torch.randn(6, 3, 20, 24)
    whole = CropFlipView(noise=0.1)({"x": x}, generators(6))["x"]
    parts = [CropFlipView(noise=0.1)({"x": x[i : i + 1]}, generators(6)[i : i + 1])["x"] for i in range(6)]
    torch.testing.assert_close(whole, torch.cat(parts))
