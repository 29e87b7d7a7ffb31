"""Videos: frames from the first to the last, whatever the header says, and a sentence for what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from raw_files import write_video

from limbeck.data.files.readers import file_reader
from limbeck.data.files.video import read_video
from limbeck.data.files.views import video_views
from limbeck.errors import DataError

SETTINGS = {
    "kind": "video",
    "frames": 3,
    "height": 8,
    "width": 8,
    "channels": 1,
    "mean": 0.5,
    "deviation": 0.5,
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])  # the second does not say how many frames it has
def test_frames_are_spread_evenly(suffix: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"v{suffix}", [0, 50, 100, 150, 200])
    pixels = read_video(path, 3, (8, 6), 3)
    assert pixels.shape == (3, 3, 8, 6)
    assert (255 * pixels.mean((0, 2, 3))).tolist() == pytest.approx([0, 100, 200], abs=6)


def test_a_short_video_repeats_its_pictures(tmp_path: Path) -> None:
    pixels = read_video(write_video(tmp_path / "v.mp4", [40, 200]), 5, (4, 4), 1)
    assert (255 * pixels.mean((0, 2, 3))).tolist() == pytest.approx([40, 40, 40, 200, 200], abs=8)


def test_it_is_read_by_its_settings(tmp_path: Path) -> None:
    x = file_reader(SETTINGS)(write_video(tmp_path / "v.mp4", [255] * 3))
    assert x.shape == (1, 3, 8, 8)
    assert float(x.mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("content", [b"", b"no video at all, but some bytes"])
def test_what_is_no_video_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"v\.mp4"):
        read_video(tmp_path / "v.mp4", 2, (4, 4), 1)


def test_frames_that_are_too_large_are_refused_by_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "v.mp4", [0, 50])
    monkeypatch.setattr("limbeck.data.files.video.MOST_PIXELS", 1000)
    with pytest.raises(DataError, match=r"v\.mp4 has 32 x 32 pixels, and more than"):
        read_video(path, 2, (4, 4), 1)


def test_every_frame_is_seen_alike() -> None:
    x = torch.arange(64.0).view(1, 1, 1, 8, 8).expand(2, 1, 3, 8, 8).contiguous()
    view = video_views()["weak"].grid
    seen = type(video_views()["weak"])(type(view)(shift=(2, 2)))(
        {"x": x}, [torch.manual_seed(i) for i in (0, 1)]
    )["x"]
    assert seen.shape == x.shape
    assert seen[:, :, 0].equal(seen[:, :, 2])
