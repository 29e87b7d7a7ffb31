"""Students from strangers, changed at random: an answer or one sentence, and never code that runs."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from students.hostile import X, rehash, running, write_reader, write_student

from limbeck.errors import LimbeckError
from limbeck.predict import predict_files
from limbeck.students.export import load_exported

# Texts that some loader would make something of.
WORDS = st.sampled_from(
    [
        "__import__('os').system('true')", "os.system", "eval", "exec", "__class__", "__reduce__", "torch.load",
        "aten.from_file.default", "aten.linear.default", "aten.relu.default", "number.mul", "item", "cpu", "float32",
        "x", "nan", "Symbol('s')", "../../etc/passwd", "\u0000", "value", "weight",
    ]
)  # fmt: skip
# Not the sizes between: a program may ask for memory, and these tests would get it.
NUMBERS = st.integers(-1000, 1000) | st.sampled_from([2**50, 2**62, 2**63, 2**64, -(2**63)])
LEAVES = st.one_of(WORDS, st.text(max_size=8), NUMBERS, st.floats(), st.none(), st.booleans())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def put(value, path, new):
    if not path:
        return new
    *way, last = path
    inner = value
    for key in way:
        inner = inner[key]
    inner[last] = new
    return value


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    return write_student(tmp_path_factory.mktemp("honest") / "s")


@pytest.fixture(scope="module")
def fuzzed(honest, tmp_path_factory) -> Path:
    folder = shutil.copytree(honest, tmp_path_factory.mktemp("fuzz") / "s")
    load_exported(folder).answers({"x": X})  # whatever is imported on first use
    return folder


def opened(folder: Path) -> None:
    """Load and ask: an answer or one sentence, and nothing has run."""
    with running() as heard, contextlib.suppress(LimbeckError):
        load_exported(folder).answers({"x": X})
    assert heard == []


FUZZ = settings(
    max_examples=250,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


@FUZZ
@given(data=st.data())
def test_no_change_of_a_value_runs_code(honest, fuzzed, data):
    name = data.draw(st.sampled_from(["program.json"] * 3 + ["student.json", "preprocessor.json"]))
    value = json.loads((honest / name).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        value = put(value, data.draw(st.sampled_from(list(places(value)))), data.draw(VALUES))
    for file in honest.iterdir():
        shutil.copy(file, fuzzed)
    (fuzzed / name).write_text(json.dumps(value), encoding="utf-8")
    if name == "program.json":
        rehash(fuzzed)
    opened(fuzzed)


@FUZZ
@given(data=st.data())
def test_no_change_of_a_byte_runs_code(honest, fuzzed, data):
    name = data.draw(st.sampled_from(["program.json", "student.json", "model.safetensors"]))
    content = bytearray((honest / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for file in honest.iterdir():
        shutil.copy(file, fuzzed)
    (fuzzed / name).write_bytes(bytes(content))
    if name != "student.json":
        rehash(fuzzed)
    opened(fuzzed)


def test_the_ear_hears():
    """The check of all of the above can fail."""
    with running() as heard:
        exec("1")
    assert any(event.startswith("exec") for event in heard)


@pytest.fixture(scope="module")
def reader(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    (folder / "t.csv").write_text("text\nthe cat\n")
    return write_reader(tiny("bert"), folder / "s")


@settings(FUZZ, max_examples=60)
@given(data=st.data())
def test_no_change_of_a_setting_of_transformers_is_more_than_one_sentence(reader, data):
    """Which code of its own transformers imports is its affair, so only the errors are looked at."""
    name = data.draw(st.sampled_from(["config.json", "tokenizer_config.json", "tokenizer.json"]))
    folder = reader.with_name("changed")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(reader, folder)
    value = json.loads((folder / name).read_text())
    value = put(value, data.draw(st.sampled_from(list(places(value)))), data.draw(VALUES))
    (folder / name).write_text(json.dumps(value))
    with contextlib.suppress(LimbeckError):
        predict_files(folder, [reader.parent / "t.csv"])
