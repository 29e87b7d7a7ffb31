"""Small files that claim to be huge: refused by their heads, before the memory is taken."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limbeck.banks.shards import read_texts
from limbeck.data.files import unfolding
from limbeck.data.files.pictures import open_picture
from limbeck.data.files.sounds import check_sound, read_sound
from limbeck.data.files.table_files import table_file
from limbeck.errors import BankError, DataError

MOST = 50_000_000  # bytes that a refusal may take


@pytest.fixture(autouse=True)
def little_memory():
    tracemalloc.start()
    yield
    assert tracemalloc.get_traced_memory()[1] < MOST
    tracemalloc.stop()


def png(width: int, height: int) -> bytes:
    """A grey PNG whose head says a size and whose data are a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_001, 10_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_of_too_many_pixels(width, height):
    with pytest.raises(DataError) as told:
        open_picture(png(width, height), "a.png")
    assert "a.png" in str(told.value)
    assert "pixels" in str(told.value)


def wav(samples: int, channels: int, length: int) -> bytes:
    """A WAV whose head says more than its four bytes of data."""
    form = struct.pack("<HHIIHH", 1, channels, 8000, 8000, 2 * channels, 16)
    data = b"data" + struct.pack("<I", length) + b"\0" * samples
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flac(n: int) -> bytes:
    """A FLAC that says ``n`` samples (36 bits) and has none."""
    facts = (8000 << 44) | (0 << 41) | (15 << 36) | n
    info = struct.pack(">HH", 4096, 4096) + b"\0" * 6 + facts.to_bytes(8, "big") + b"\0" * 16
    return b"fLaC" + b"\x80" + len(info).to_bytes(3, "big") + info + b"\xff\xf8"


@pytest.mark.parametrize(
    "sound", [wav(4, 1, 10**9), wav(4, 30_000, 2**32 - 10), wav(4, 1, 4000), flac(2**36 - 1), flac(2**30)]
)
def test_a_sound_whose_head_lies(sound):
    with pytest.raises(DataError, match="a sound"):
        read_sound(sound, "a sound")


def test_a_sound_of_too_many_samples(monkeypatch, tmp_path):
    import numpy as np
    import soundfile

    monkeypatch.setattr("limbeck.data.files.sounds.MOST_SAMPLES", 100)
    file = io.BytesIO()
    soundfile.write(file, np.zeros((60, 2), np.float32), 8000, format="WAV")
    with pytest.raises(DataError, match="it has 60 samples in 2 channels, and more than 100 are not read"):
        read_sound(file.getvalue(), "a sound")
    check_sound(file.getvalue(), "a sound")


def bomb(path: Path) -> Path:
    """One text of three million letters in a file of a few kilobytes."""
    table = pa.table({"text": ["x" * 3_000_000]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    assert path.stat().st_size < 3000
    return path


def test_parquet_that_unfolds(tmp_path, monkeypatch):
    path = bomb(tmp_path / "t.parquet")
    assert len(read_texts(path)) == 1, "a few megabytes are no bomb"
    monkeypatch.setattr(unfolding, "_SMALL", 2**20)
    for read in (table_file, read_texts):
        with pytest.raises(
            (DataError, BankError), match=r"t.parquet has the column 'text', which would unfold to 3,0"
        ):
            read(path)


def test_parquet_that_claims_rows_without_end(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": pa.array(["x"] * 1_000_000).dictionary_encode()}), path)
    monkeypatch.setattr(unfolding, "_ROWS", 1000)
    monkeypatch.setattr(unfolding, "_TIMES", 10)
    with pytest.raises(DataError, match="bytes hold 1,000,000 rows; save it anew"):
        table_file(path)
