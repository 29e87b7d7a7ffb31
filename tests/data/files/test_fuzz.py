"""Whatever a file holds, its readers give rows or one sentence: no other exception leaves them."""

from __future__ import annotations

import io
import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limbeck.banks import Bank
from limbeck.banks.table_rows import table_rows
from limbeck.data.files.images import read_image
from limbeck.data.files.media import to_samples
from limbeck.data.files.records import read_table
from limbeck.data.own.folders import folder
from limbeck.data.own.text_table import text_table
from limbeck.errors import LimbeckError
from limbeck.signals.fingerprint import input_digests
from limbeck.teachers.media import media_of
from limbeck.teachers.raw import to_image

QUICK = {"max_examples": 100, "suppress_health_check": list(HealthCheck), "deadline": None}
LONG = {**QUICK, "max_examples": 2000}


def only_sentences(read: Callable[[], Any]) -> Any:
    """What ``read`` gives; ``None`` where it refuses in one line."""
    refused: list[str] = []
    found = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = read()
        except LimbeckError as error:
            refused.append(str(error))
    assert all(len(sentence.splitlines()) == 1 for sentence in refused)
    return found


# ---- files that are almost right ---------------------------------------------------------------------------------

SIGNS = st.sampled_from(
    [*",;\t|\"'\n\r \\{}[]:_-.0179éß", "\0", '""', "\r\n", "None", "nan", "007", "\ufeff", "\ud83d\ude00"]
)
CELLS = st.one_of(st.text(max_size=12), st.lists(SIGNS, max_size=8).map("".join))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), CELLS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(CELLS, inner, max_size=3)),
    max_leaves=5,
)
COLUMNS = ["id", "key", "text", "label", "f0", "split", ""]
USUAL = ["id", "text", "label", "f0"]


@st.composite
def rows_of_cells(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Names and rows as they should be, but for some cells."""
    names = draw(st.one_of(st.just(USUAL), st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=5)))
    rows = [
        [f"{name} {i // 2}" if name == "text" else str(i % 7) for name in names]
        for i in range(draw(st.integers(0, 30)))
    ]
    for i, row in enumerate(rows):
        for at, name in enumerate(names):
            row[at] = f"k{i}" if name in ("id", "key") else row[at] if name != "label" else "ab"[i % 2]
    for _ in range(draw(st.integers(0, 3)) if rows else 0):
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(names) - 1))] = draw(CELLS)
    return names, rows


@st.composite
def delimited(draw: st.DrawFn) -> bytes:
    """A table of texts with a few faults: cells too many, quotes left open, another encoding."""
    separator, end = draw(st.sampled_from(",,,;\t|")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    names, rows = draw(rows_of_cells())
    quoted = draw(st.booleans())

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted else text

    lines = [separator.join(cell(text) for text in row) for row in [names, *rows]]
    if draw(st.booleans()):
        lines[draw(st.integers(0, len(lines) - 1))] += draw(CELLS)
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return end.join(lines).encode(encoding, "replace")


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    names, cells = draw(rows_of_cells())
    rows: list[dict[str, Any]] = [dict(zip(names, row)) for row in cells]
    rows += draw(st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=5), max_size=3))
    lines = [json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows]
    form = draw(st.sampled_from(["lines", "list", "spread", "broken"]))
    if form == "lines":
        return "\n".join(lines).encode(errors="surrogatepass")
    whole = f"[{','.join(lines)}]" if form == "list" else json.dumps(rows, indent=draw(st.integers(0, 3)))
    whole = whole.replace(draw(SIGNS), draw(SIGNS)) if form == "broken" else whole
    return whole.encode(errors="surrogatepass")


@st.composite
def parquet(draw: st.DrawFn) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, rows = draw(rows_of_cells())
    columns: dict[str, list[Any]] = {name: list(cells) for name, cells in zip(names, zip(*rows))}
    kinds = st.sampled_from(
        [st.integers(-(2**40), 2**40), st.floats(), CELLS, st.booleans(), st.lists(st.floats(), max_size=3)]
    )
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        some = st.one_of(st.none(), draw(kinds))
        columns[name] = draw(st.lists(some, min_size=len(rows), max_size=len(rows)))
    sink = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), sink)
    except (pa.ArrowException, UnicodeEncodeError):
        return b"PAR1"
    return spoilt(draw, sink.getvalue())


def spoilt(draw: st.DrawFn, data: bytes) -> bytes:
    """Some bytes changed, cut off or put in; or the file as it is."""
    how = draw(st.sampled_from(["as it is", "cut", "changed", "longer", "other"]))
    at = draw(st.integers(0, max(0, len(data) - 1)))
    if how == "cut":
        return data[:at]
    if how == "changed":
        some = bytearray(data)
        for place in draw(st.lists(st.integers(0, max(0, len(data) - 1)), max_size=6)):
            some[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        return bytes(some)
    if how == "longer":
        return data[:at] + draw(st.binary(max_size=20)) + data[at:]
    return draw(st.binary(max_size=60)) if how == "other" else data


def check_table(folder_of_test: Path, suffix: str, data: bytes) -> None:
    path = folder_of_test / f"t{suffix}"
    path.write_bytes(data)
    table = only_sentences(lambda: read_table(path))
    if table is not None and not table.typed:
        for record in table.records:
            assert set(record.cells) == set(table.columns)
            assert all(isinstance(cell, str) for cell in record.cells.values())
    for key in ("id", "key", None):
        rows = only_sentences(lambda key=key: list(table_rows(path, key, "label")))
        if rows is not None and table is not None:
            assert len(rows) == len(table.records)
    only_sentences(lambda: text_table(path))
    only_sentences(lambda: text_table(path, problem="regression", on_error="skip"))
    only_sentences(lambda: folder(path, "table", key="id", on_error="skip"))
    only_sentences(lambda: folder(path, "image", file="text"))
    only_sentences(lambda: Bank.from_table(path.with_suffix(".bank"), path, features="f*", label="label"))


TABLES = st.one_of(
    st.tuples(st.sampled_from([".csv", ".TSV", ".tsv"]), st.one_of(delimited(), st.binary(max_size=80))),
    st.tuples(st.sampled_from([".jsonl", ".json"]), st.one_of(json_lines(), st.binary(max_size=80))),
    st.tuples(st.just(".parquet"), parquet()),
)


@settings(**QUICK)
@given(file=TABLES)
def test_tables(file, tmp_path_factory):
    check_table(tmp_path_factory.mktemp("table"), *file)


@pytest.mark.slow
@settings(**LONG)
@given(file=TABLES)
def test_many_tables(file, tmp_path_factory):
    check_table(tmp_path_factory.mktemp("table"), *file)


# ---- pictures and sounds -----------------------------------------------------------------------------------------

FORMATS = {
    "PNG": ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"], "JPEG": ["L", "RGB", "CMYK"], "GIF": ["L", "P"],
    "TIFF": ["1", "L", "I", "F", "I;16", "RGB", "RGBA", "CMYK", "LAB", "YCbCr"], "BMP": ["L", "RGB", "P"],
    "WEBP": ["RGB", "RGBA"], "PPM": ["L", "RGB", "I"], "ICO": ["RGBA"],
}  # fmt: skip
SUBTYPES = {
    "WAV": ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW"],
    "FLAC": ["PCM_16", "PCM_24"],
    "AIFF": ["PCM_16"],
    "OGG": ["VORBIS"],
}


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    from PIL import Image

    kind = draw(st.sampled_from(sorted(FORMATS)))
    mode = draw(st.sampled_from(FORMATS[kind]))
    size = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    image = Image.new("RGB", size, tuple(draw(st.integers(0, 255)) for _ in range(3)))
    image = (
        image
        if mode == "RGB"
        else image.convert("L").convert(mode)
        if mode.startswith(("I", "F"))
        else image.convert(mode)
    )
    more: dict[str, Any] = {}
    if kind in ("JPEG", "PNG", "WEBP") and draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(0, 12))
        more["exif"] = exif.tobytes() if draw(st.booleans()) else b"Exif\0\0" + draw(st.binary(max_size=30))
    file = io.BytesIO()
    image.save(file, format=kind, **more)
    return spoilt(draw, file.getvalue())


@st.composite
def sounds(draw: st.DrawFn) -> bytes:
    import soundfile

    kind = draw(st.sampled_from(sorted(SUBTYPES)))
    n, channels, rate = (
        draw(st.integers(0, 300)),
        draw(st.integers(1, 3)),
        draw(st.sampled_from([8000, 16000, 44100])),
    )
    wave = np.sin(np.arange(n * channels) / 7).reshape(n, channels)
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind, subtype=draw(st.sampled_from(SUBTYPES[kind])))
    data = file.getvalue()
    if kind == "WAV" and draw(st.booleans()):  # a head that lies
        field = draw(st.sampled_from([4, 16, 22, 24, 28, 32, 34, 40]))
        data = data[:field] + struct.pack("<I", draw(st.integers(0, 2**32 - 1))) + data[field + 4 :]
    return spoilt(draw, data)


def check_media(place: Path, data: bytes) -> None:
    path = place / "some.file"
    path.write_bytes(data)
    seen = only_sentences(lambda: read_image(path, (6, 5), 3))
    if seen is not None:
        assert seen.shape == (3, 6, 5)
        assert float(seen.min()) >= 0
        assert float(seen.max()) <= 1
    for value in (path, data, {"bytes": data, "path": None}, {"path": str(path)}, str(path)):
        image = only_sentences(lambda value=value: to_image("x", value))
        assert (image is None) == (seen is None)
        only_sentences(lambda value=value: media_of(value))
        only_sentences(lambda value=value: input_digests({"x": [value]}, 1))
        sound = only_sentences(lambda value=value: to_samples(value))
        if sound is not None:
            assert sound[0].ndim == 1
            assert np.isfinite(sound[0]).all()


MEDIA = st.one_of(pictures(), sounds(), st.binary(max_size=100))


@settings(**QUICK)
@given(data=MEDIA)
def test_pictures_and_sounds(data, tmp_path_factory):
    check_media(tmp_path_factory.mktemp("media"), data)


@pytest.mark.slow
@settings(**LONG)
@given(data=MEDIA)
def test_many_pictures_and_sounds(data, tmp_path_factory):
    check_media(tmp_path_factory.mktemp("media"), data)
