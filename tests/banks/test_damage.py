"""Damage is noticed: in ``bank.json``, at the first look at a shard, at the start of a run, by the next build."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.banks import Bank
from limbeck.banks.files import asked_in_all, logged_hashes
from limbeck.banks.folder.fields import DTYPES, FIELDS
from limbeck.banks.folder.verifying import verifying
from limbeck.errors import BankError, CorruptShardError
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import MethodSpec, TeacherSpec
from limbeck.shared_teachers import SharedTeachers
from limbeck.teacher_stage import teacher_bank
from limbeck.teachers import CallableTeacher

OLD = Path(__file__).parent / "format_1"
SHARD = "shard-00000.safetensors"


def flipped(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_log_of_costs_that_is_damaged_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    asked = {"event": "asked", "requests": 3, "tokens": 40, "cost": None}
    lines = [
        json.dumps(asked).encode(),
        b"\xff{",
        b"[1]",
        json.dumps({**asked, "tokens": "x"}).encode(),
        b'{"ev',
    ]
    (tmp_path / "build.jsonl").write_bytes(b"\n".join(lines))
    assert asked_in_all(tmp_path) == {"requests": 6, "tokens": 40, "cost": 0}
    assert logged_hashes(tmp_path) == {}


# ---- bank.json ---------------------------------------------------------------------------------------------


def test_every_bit_of_bank_json_counts(bank: Bank, tmp_path: Path) -> None:
    """Every 7th bit flipped: refused in a sentence, or it says the same (a space that JSON does not see)."""
    path, whole = bank.path / "bank.json", (bank.path / "bank.json").read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        path.write_bytes(whole)
        flipped(path, bit)
        with pytest.raises(BankError):
            Bank.open(bank.path)
    path.write_bytes(whole)
    assert Bank.open(bank.path).verify() > 0


def old_bank(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A bank of format 1, which has no hash of itself, after somebody's edit."""
    shutil.copytree(OLD, folder)
    content = json.loads((folder / "bank.json").read_text())
    change(content)
    (folder / "bank.json").write_text(json.dumps(content))
    return folder


def put(*place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for name in place[:-1]:
            content = content[name]
        content[place[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("rows", value=0), "rows is 0, no whole number from 1"),
        (put("rows", value=-5), "rows is -5"),
        (put("rows", value=10**15), "rows is 1000000000000000"),
        (put("rows", value=8), "'codes' is [7] for the 8 rows"),
        (put("rows", value=True), "rows is True"),
        (put("rows", value=7.0), "rows is 7.0"),
        (put("rows", value=None), "not what it holds"),
        (put("shard_rows", value=3), "7 rows, 3 a shard, do not lie in the 4 files"),
        (put("shard_rows", value="7"), "shard_rows is '7'"),
        (put("dtype", value="int8"), "dtype is 'int8'"),
        (put("key_kind", value="int"), "index.safetensors is not what the bank wrote"),
        (put("views", value=["a", "a"]), "views has a name twice"),
        (put("class_names", value=["no", "no"]), "class_names has a name twice"),
        (put("class_names", value=["no", "\ud800"]), "class_names holds what is no character"),
        (put("signals", "features", "shape", value=[4]), "says rows of [4]"),
        (put("signals", "features", "shape", value=[-3]), "features.shape is -3"),
        (put("signals", "colour", value={}), "'colour', which is no signal"),
        (put("signals", "text", value={"shape": [1], "teacher_dtype": "float32"}), "text has sizes"),
        (put("files", "../x", value={"bytes": 1, "sha256": "0" * 64}), "'../x', which is no file of a bank"),
        (put("files", "/etc/passwd", value={"bytes": 1, "sha256": "0" * 64}), "'/etc/passwd'"),
        (put("files", SHARD, "sha256", value="x"), "has no SHA-256"),
        (put("files", SHARD, "bytes", value=-1), "bytes is -1"),
        (lambda c: c["files"].pop(SHARD), "do not lie in the 3 files"),
        (lambda c: c.pop("licence"), "wrong fields"),
        (put("sha256", value="0" * 64), "it is not what was written"),
        (put("version", value=3), "its hash is missing"),
        (put("version", value=True), "has format limbeck-bank True"),
    ],
)  # fmt: skip
def test_bank_json_is_read_by_type_and_range(change: Any, words: str, tmp_path: Path) -> None:
    folder = old_bank(tmp_path / "b", change)
    with pytest.raises(BankError) as raised:
        Bank.open(folder).lookup(["clip 1é"])
    assert words in str(raised.value)


def test_names_that_come_twice_and_deep_json(tmp_path: Path) -> None:
    folder = old_bank(tmp_path / "b", lambda content: None)
    text = (folder / "bank.json").read_text()
    (folder / "bank.json").write_text(text.replace('"rows": 7', '"rows": 6, "rows": 7'))
    with pytest.raises(CorruptShardError, match="a name comes twice"):
        Bank.open(folder)
    (folder / "bank.json").write_text("[" * 100_000)
    with pytest.raises(CorruptShardError, match="damaged"):
        Bank.open(folder)


def test_every_field_has_a_check(bank: Bank) -> None:
    from dataclasses import fields

    assert set(FIELDS) == {field.name for field in fields(bank.manifest)}
    assert bank.manifest.dtype in DTYPES


def test_what_cannot_be_described_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(BankError, match=r"cannot be described: fingerprint\.weights is 3, no text"):
        Bank.from_arrays(tmp_path / "b", keys=[1], features=torch.ones(1, 2), fingerprint={"weights": 3})


# ---- shards ------------------------------------------------------------------------------------------------


def two_shards(folder: Path) -> Path:
    rows = [{"id": i, "x": torch.tensor([float(i), 1.0])} for i in range(8)]
    said = CallableTeacher(lambda inputs: {"features": inputs["x"]}, version="1")
    Bank.build(folder, said, rows, batch_size=4, shard_size=4)
    return folder


def test_shards_that_changed_places_are_refused_without_reading_all(tmp_path: Path) -> None:
    folder = two_shards(tmp_path / "b")
    one, two = (folder / f"shard-0000{i}.safetensors" for i in range(2))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(CorruptShardError, match=r"its keys or labels are not those of index\.safetensors"):
        Bank.open(folder).lookup([1])


def test_texts_are_hashed_when_they_are_read(tmp_path: Path) -> None:
    texts = [f"a text that says {i}" for i in range(50)]
    bank = Bank.from_arrays(tmp_path / "b", keys=range(50), text=texts)
    path = tmp_path / "b" / "text-00000.parquet"
    flipped(path, 8 * 60)
    with pytest.raises(CorruptShardError, match=r"text-00000\.parquet .*its bytes have changed"):
        Bank.open(bank.path).lookup([3])


def test_pages_of_texts_carry_checksums(tmp_path: Path) -> None:
    """For readers that are not ours."""
    import pyarrow.parquet as pq

    Bank.from_arrays(tmp_path / "b", keys=range(50), text=[f"{i}" * 200 for i in range(50)])
    path = tmp_path / "b" / "text-00000.parquet"
    for byte in range(40, 120, 8):
        whole = path.read_bytes()
        flipped(path, 8 * byte)
        with pytest.raises(OSError, match=r"CRC|crc|[Cc]orrupt|checksum|Deserializing|thrift"):
            pq.read_table(path, page_checksum_verification=True)
        path.write_bytes(whole)


# ---- the start of a run ------------------------------------------------------------------------------------


def spoilt(bank: Bank) -> Path:
    """A bank whose values changed, and nothing else."""
    path = bank.path / SHARD
    features = bank.lookup(bank.keys[:1]).features.numpy().tobytes()
    flipped(path, 8 * path.read_bytes().index(features) + 3)
    return bank.path


def test_a_recipes_bank_is_read_through_once(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    from limbeck.banks.folder import verifying as module

    read: list[Path] = []
    real = module.file_hash
    monkeypatch.setattr(module, "file_hash", lambda path: read.append(path) or real(path))
    spec = TeacherSpec(bank=str(bank.path))
    for _ in range(3):
        teacher_bank(spec, None, bank.path)
    assert len(read) == len(bank.manifest.files)
    spoilt(bank)
    with verifying(False):
        teacher_bank(spec, None, bank.path)
    with pytest.raises(CorruptShardError, match=f"{SHARD} .*its bytes have changed"):
        teacher_bank(spec, None, bank.path)


def test_a_comparison_reads_its_bank_through_before_the_first_run(bank: Bank, tmp_path: Path) -> None:
    recipe = Recipe(method=MethodSpec("kd"), teacher=TeacherSpec(bank=str(spoilt(bank))))
    teachers = SharedTeachers(tmp_path)
    with pytest.raises(CorruptShardError, match="its bytes have changed"):
        teachers.places(recipe, None)  # type: ignore[arg-type]  # of a bank that is there no task is asked
    with verifying(False):
        assert teachers.places(recipe, None)["teacher"].bank == str(bank.path)  # type: ignore[arg-type]


# ---- the next build ------------------------------------------------------------------------------------------


def test_a_build_on_a_finished_bank_reads_it_through(tmp_path: Path) -> None:
    folder = two_shards(tmp_path / "b")
    path = folder / "shard-00001.safetensors"
    flipped(path, 8 * (path.stat().st_size - 1))
    with pytest.raises(CorruptShardError, match=r"shard-00001.*its bytes have changed.*delete this file"):
        two_shards(folder)
    path.unlink()
    assert two_shards(folder)
    assert Bank.open(folder).verify() > 0


def test_arrays_mend_a_bank_whose_bytes_changed(bank: Bank, arrays: Any) -> None:
    spoilt(bank)
    assert Bank.from_arrays(bank.path, **vars(arrays)).verify() > 0
    assert not (bank.path / ".new").exists()


def test_arrays_do_not_replace_a_bank_that_cannot_be_told(bank: Bank, arrays: Any) -> None:
    """Its ``bank.json`` is damaged: it may be another one, and expensive."""
    flipped(bank.path / "bank.json", 800)
    before = {path.name: path.read_bytes() for path in bank.path.iterdir()}
    with pytest.raises(CorruptShardError, match="overwrite=True"):
        Bank.from_arrays(bank.path, **vars(arrays))
    assert {path.name: path.read_bytes() for path in bank.path.iterdir()} == before
