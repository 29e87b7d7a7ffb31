"""IDX files, bundled digits and image files."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from limbeck.data.files.images import mnist_split, read_idx, read_image, sklearn_digits
from limbeck.errors import DataError


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def mnist_folder(folder, images, labels):
    folder.mkdir(exist_ok=True)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


def test_plain_and_gzipped_read_alike(tmp_path):
    array = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "zipped").write_bytes(gzip.compress(idx(array)))
    assert np.array_equal(read_idx(tmp_path / "plain"), array)
    assert np.array_equal(read_idx(tmp_path / "zipped"), array)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[: len(data) // 2], "cut or corrupt"),
        (lambda data: gzip.compress(data)[: len(data) // 2], "cut short or corrupt"),
        (lambda data: data + b"\0", "cut or corrupt"),
        (lambda data: b"PNG" + data, "not an IDX file"),
        (lambda data: data[:6], "not an IDX file"),
        (lambda data: b"", "not an IDX file"),
        (lambda data: data[:2] + b"\x0d" + data[3:], "not an IDX file of unsigned bytes"),
    ],
)
def test_a_broken_idx_file_is_named(tmp_path, change, words):
    rng = np.random.default_rng(0)
    (tmp_path / "images").write_bytes(change(idx(rng.integers(0, 256, (20, 28, 28)))))
    with pytest.raises(DataError, match=words) as caught:
        read_idx(tmp_path / "images")
    assert "images" in str(caught.value)


def test_mnist_is_standardised(tmp_path):
    images = np.zeros((3, 28, 28))
    images[1] = 255
    pixels, labels = mnist_split(mnist_folder(tmp_path / "m", images, np.array([0, 9, 5])), "train")
    assert pixels.shape == (3, 1, 28, 28)
    assert pixels[0, 0, 0, 0].item() == pytest.approx(-0.1307 / 0.3081, abs=1e-5)
    assert pixels[1, 0, 0, 0].item() == pytest.approx((1 - 0.1307) / 0.3081, abs=1e-5)
    assert labels.tolist() == [0, 9, 5]


def test_wrong_mnist_folders(tmp_path):
    zeros = np.zeros((2, 28, 28))
    with pytest.raises(DataError, match="label 11 in row 1; digits go from 0 to 9"):
        mnist_split(mnist_folder(tmp_path / "range", zeros, np.array([1, 11])), "train")
    with pytest.raises(DataError, match="3 labels for the 2 images"):
        mnist_split(mnist_folder(tmp_path / "count", zeros, np.array([1, 2, 3])), "train")
    with pytest.raises(DataError, match="28 by 28"):
        mnist_split(mnist_folder(tmp_path / "size", np.zeros((2, 8, 8)), np.array([1, 2])), "train")
    with pytest.raises(DataError, match="is not a folder"):
        mnist_split(tmp_path / "lost", "train")
    with pytest.raises(DataError, match="holds no train-images"):
        mnist_split(tmp_path, "train")


def test_bundled_digits():
    pixels, labels = sklearn_digits()
    assert pixels.shape == (1797, 1, 28, 28)
    assert pixels.mean().item() == pytest.approx(0, abs=1e-4)
    assert torch.bincount(labels).min() > 170


def test_image_files(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    red = np.zeros((10, 20, 3), dtype=np.uint8)
    red[..., 0] = 255
    image_module.fromarray(red).save(tmp_path / "red.png")
    colour = read_image(tmp_path / "red.png", (4, 6), 3)
    assert colour.shape == (3, 4, 6)
    assert colour[0].min().item() == 1.0
    assert colour[1].max().item() == 0.0
    assert read_image(tmp_path / "red.png", (4, 6), 1).shape == (1, 4, 6)
    whole = (tmp_path / "red.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "zero.png").write_bytes(b"")
    for name, words in {
        "half.png": "cannot be read",
        "zero.png": "empty file",
        "lost.png": "not exist",
    }.items():
        with pytest.raises(DataError, match=words):
            read_image(tmp_path / name, (4, 6), 3)
