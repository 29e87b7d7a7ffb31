"""Images to tensors: MNIST's IDX files, scikit-learn's bundled digits, and single image files."""

from __future__ import annotations

import gzip
import importlib.util
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.files.pictures import as_seen, open_picture, pil
from limbeck.errors import ConfigError, DataError

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
_IDX_UINT8 = 0x08


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file, plain or gzipped (by content, not by name).

    Raises: DataError, naming the file, when it is missing, no IDX file of unsigned bytes, or shorter or
        longer than its header says.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; expected an IDX file.")
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(
                f"{path} is a gzip file that is cut short or corrupt; download it again."
            ) from error
    if len(data) < 4 or data[:3] != bytes([0, 0, _IDX_UINT8]) or len(data) < 4 + 4 * data[3]:
        raise DataError(f"{path} is not an IDX file of unsigned bytes; check that it is the right file.")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    body = data[4 + 4 * data[3] :]
    expected = int(np.prod(shape, dtype=np.int64))
    if len(body) != expected:
        raise DataError(
            f"{path} holds {len(body)} bytes of data where its header says {expected}: it is cut or corrupt; "
            "download it again."
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def mnist_split(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    """Standardised images ``[N, 1, 28, 28]`` and labels ``[N]`` of ``train`` or ``t10k`` in an IDX folder.

    Raises: DataError for a wrong folder, files that do not belong together, or labels outside 0 to 9.
    """
    images_file, labels_file = (
        _idx_file(folder, stem) for stem in (f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte")
    )
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataError(f"{images_file} holds an array of shape {images.shape}; expected images of 28 by 28.")
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{labels_file} holds {labels.size} labels for the {len(images)} images of {images_file.name}."
        )
    wrong = np.flatnonzero(labels > 9)
    if len(wrong):
        raise DataError(
            f"{labels_file} has the label {labels[wrong[0]]} in row {wrong[0]}; digits go from 0 to 9."
        )
    pixels = torch.from_numpy(images.astype(np.float32)).div_(255).sub_(MNIST_MEAN).div_(MNIST_STD)
    return pixels.unsqueeze(1), torch.from_numpy(labels.astype(np.int64))


def sklearn_digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 digits, scaled from 8x8 to ``[N, 1, 28, 28]`` and standardised, and labels."""
    images, labels = _digits_table()
    pixels = torch.from_numpy(images / 16).float().unsqueeze(1)
    pixels = torch.nn.functional.interpolate(pixels, size=(28, 28), mode="bilinear", align_corners=False)
    pixels = (pixels - pixels.mean()) / pixels.std()
    return pixels, torch.from_numpy(labels.astype(np.int64))


def _digits_table() -> tuple[np.ndarray, np.ndarray]:
    """Pixels ``[N, 8, 8]`` of 0 to 16 and labels ``[N]``, from the package's own file: its import takes longer than
    all else that comes before a first step.

    Raises: ConfigError where scikit-learn is not installed.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None:
        raise ConfigError(
            "The embedded images come with scikit-learn; install it with: pip install 'limbeck[demo]'."
        )
    for folder in found.submodule_search_locations or ():
        table = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if table.is_file():
            values = np.loadtxt(table, delimiter=",")
            return values[:, :-1].reshape(-1, 8, 8), values[:, -1]
    from sklearn.datasets import load_digits  # another version may keep it elsewhere

    digits = load_digits()
    return digits.images, digits.target


def read_image(path: Path, size: tuple[int, int], channels: int) -> Tensor:
    """One image file as ``[channels, *size]`` float32 in 0 to 1 (1 channel = grey, 3 = RGB), as people see it (see
    :func:`~limbeck.data.files.pictures.as_seen`), scaled to ``size``.

    Raises: DataError, naming the file, when it is missing, empty or unreadable. ConfigError without Pillow.
    """
    return pixels_of(as_seen(open_picture(path, str(path)), str(path)), size, channels)


def pixels_of(seen: Any, size: tuple[int, int], channels: int) -> Tensor:
    """A PIL image as ``[channels, *size]`` float32 in 0 to 1 (1 channel = grey, 3 = RGB)."""
    scaled = seen.convert("L" if channels == 1 else "RGB").resize(
        (size[1], size[0]), pil().Resampling.BILINEAR
    )
    pixels = np.asarray(scaled, dtype=np.float32) / 255
    return torch.from_numpy(pixels.reshape(*size, channels)).permute(2, 0, 1).contiguous()


def _idx_file(folder: Path, stem: str) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that holds MNIST's four IDX files.")
    for candidate in (folder / f"{stem}.gz", folder / stem):
        if candidate.is_file():
            return candidate
    raise DataError(f"{folder} holds no {stem}(.gz); give the folder that holds MNIST's four IDX files.")
