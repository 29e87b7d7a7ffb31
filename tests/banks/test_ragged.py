"""Banks of rows of different lengths and of the likeliest k: round trips, layout, damage, controls, SIGKILL."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from levels import some_of
from safetensors.torch import load_file, save_file

from limbeck.banks import Bank, bank_info, oracle_like, random_like, shuffled, uniform_like
from limbeck.commands.bank import command
from limbeck.data.base import Examples
from limbeck.errors import (
    BankError,
    ClassNamesError,
    CorruptShardError,
    DataError,
    InconsistentOutputError,
    NonFiniteError,
)
from limbeck.signals import Paired, Ragged, TeacherOutput, TopK
from limbeck.teachers import CallableTeacher

FORK = multiprocessing.get_context("fork")
SHARD = "shard-00000.safetensors"


def tokens_of(lengths: list[int], k: int = 3, n_classes: int = 50, seed: int = 0) -> Ragged:
    logits = 3 * torch.randn(sum(lengths), n_classes, generator=torch.Generator().manual_seed(seed))
    return Ragged(TopK.of(logits, k), torch.tensor(lengths))


def equal(found: object, expected: object) -> bool:
    """The same layout, lengths, class numbers and values."""
    if isinstance(expected, Ragged):
        return torch.equal(found.lengths, expected.lengths) and equal(found.values, expected.values)
    if isinstance(expected, TopK):
        parts = [(getattr(found, p), getattr(expected, p)) for p in ("ids", "log_probs", "rest")]
        return found.n_classes == expected.n_classes and all(torch.equal(a, b) for a, b in parts)
    return found.dtype == expected.dtype and torch.equal(found, expected)


@pytest.fixture
def detections(tmp_path: Path) -> Bank:
    """Six pictures with 2, 0, 3, 1, 0, 4 boxes, and tokens of the same lengths."""
    lengths = [2, 0, 3, 1, 0, 4]
    boxes = torch.arange(40.0).reshape(10, 4)
    return Bank.from_arrays(
        tmp_path / "bank",
        keys=[f"picture {i}" for i in range(6)],
        tokens=tokens_of(lengths),
        boxes=list(boxes.split(lengths)),
        box_labels=[row.tolist() for row in torch.arange(10).split(lengths)],
        box_scores=Ragged(torch.linspace(0, 1, 10), torch.tensor(lengths)),
        hidden_states={"layer_4": Ragged(boxes[:, :2], torch.tensor(lengths))},
        labels=[0, 1, 0, 1, 0, 1],
        class_names=["cat", "dog"],
    )


# ---- what goes in comes out -------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=9),
    shape=st.sampled_from([(), (3,), (2, 2)]),
    kind=st.sampled_from(["float16", "bfloat16", "float32", "int64", "int32", "uint8", "bool"]),
    size=st.integers(1, 4),
    data=st.data(),
)
def test_round_trips_over_any_shards(tmp_path_factory, lengths, shape, kind, size, data):
    """Dtypes, empty rows, lengths, rows in any order and often, blocks over the ends of shards, subsets."""
    dtype = getattr(torch, kind)
    values = (7 * torch.randn(sum(lengths), *shape)).to(dtype)
    states, tokens = Ragged(values, torch.tensor(lengths)), tokens_of(lengths)
    folder = tmp_path_factory.mktemp("bank") / "b"
    said = TeacherOutput(hidden_states={"a": states}, tokens=tokens)
    at = {"n": 0}

    def answer(inputs):
        n = len(inputs["x"])
        at["n"] += n
        return said.rows(torch.arange(at["n"] - n, at["n"]))

    rows = [{"id": i, "x": float(i)} for i in range(len(lengths))]
    stored = kind if dtype.is_floating_point else "float32"
    bank = Bank.build(
        folder, CallableTeacher(answer, version="1"), rows, batch_size=2, shard_size=size, dtype=stored
    )
    tokens = tokens.map(lambda value: value.to(getattr(torch, stored)))
    index = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=8))
    for read, numbers in (
        (bank.lookup(index), index),
        (bank.take(np.array(index, dtype=np.int64)), index),
        (bank.subset([len(lengths) - 1]).lookup([len(lengths) - 1]), [len(lengths) - 1]),
        *((block, block.keys) for block in bank.blocks(2)),
    ):
        picked = torch.tensor(numbers, dtype=torch.long)
        assert equal(read.hidden_states["a"], states.rows(picked))
        assert equal(read.tokens, tokens.rows(picked))
    assert bank.verify() > 0
    assert equal(pickle.loads(pickle.dumps(bank)).lookup([0]).tokens, tokens.rows([0]))


def test_the_layout_by_hand(tmp_path):
    """Format 2: values, ends, class numbers, what is left."""
    probs = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    Bank.from_arrays(
        tmp_path / "b",
        keys=[5, 7],
        features=[np.array([[1, 2], [3, 4], [5, 6]], np.float32), np.zeros((0, 2), np.float32)],
        log_probs=TopK.of(probs.log(), 2),
    )
    shard = load_file(tmp_path / "b" / SHARD)
    assert shard["features"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert shard["features.ends"].tolist() == [3, 3]
    assert shard["log_probs.ids"].tolist() == [[0, 1], [2, 1]]
    assert shard["log_probs.ids"].dtype == torch.int32
    torch.testing.assert_close(shard["log_probs"].exp(), torch.tensor([[0.5, 0.3], [0.7, 0.2]]))
    torch.testing.assert_close(shard["log_probs.rest"].exp(), torch.tensor([0.2, 0.1]))
    manifest = json.loads((tmp_path / "b" / "bank.json").read_text())
    assert manifest["version"] == 3
    assert manifest["signals"] == {
        "features": {"shape": [2], "teacher_dtype": "float32", "ragged": True},
        "log_probs": {"shape": [2], "teacher_dtype": "float32", "n_classes": 3},
    }


def test_boxes_with_labels_and_scores(detections):
    said = detections.lookup(["picture 2", "picture 1", "picture 0"])
    assert [len(row) for row in said["boxes"]] == [3, 0, 2]
    assert said["box_labels"].values.tolist() == [2, 3, 4, 0, 1]
    assert said["box_labels"].values.dtype == torch.int64
    values, shown = said["boxes"].padded()
    assert values.shape == (3, 3, 4)
    assert values[0, 0].tolist() == [8, 9, 10, 11]
    assert shown.sum(1).tolist() == [3, 0, 2]
    assert detections.signals == {"tokens", "boxes", "box_labels", "box_scores", "hidden_states", "labels"}
    assert detections.lookup(["picture 0"], signals=["boxes"]).tokens is None
    drawn = detections.sample(50, labels=[1] * 50, generator=torch.Generator().manual_seed(0))
    assert set(drawn.boxes.lengths.tolist()) == {0, 1, 4}, "rows of class 1"
    assert drawn.tokens.values.ids.max() < 50


def test_the_likeliest_classes_are_a_prediction(tmp_path):
    """A bank of them is read by what needs predictions, in the student's order of classes."""
    probs = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.25, 0.25, 0.1, 0.4]])
    names = ("a", "b", "c", "d")
    bank = Bank.from_arrays(tmp_path / "b", keys=[0, 1], log_probs=TopK.of(probs.log(), 2), class_names=names)
    assert bank.width("log_probs") == 4
    assert bank.access == "logits"
    torch.testing.assert_close(bank.lookup([0]).log_predictions().exp(), torch.tensor([[0.5, 0.3, 0.1, 0.1]]))
    turned = bank.with_class_names(("d", "c", "b", "a")).lookup([0])
    torch.testing.assert_close(turned.log_predictions().exp(), torch.tensor([[0.1, 0.1, 0.3, 0.5]]))
    with pytest.raises(DataError, match="likeliest 2 of 4 classes cannot be cut to 1"):
        bank.with_class_names(("x",), {"x": "a"}).lookup([0])
    with pytest.raises(ClassNamesError, match="4 columns for 3 class names"):
        Bank.from_arrays(
            tmp_path / "c", keys=[0, 1], log_probs=TopK.of(probs.log(), 2), class_names=names[:3]
        )


def test_info_shows_the_layout(detections, capsys):
    assert bank_info(detections.path)["signals"]["tokens"]["n_classes"] == 50
    assert command(["info", str(detections.path)]) == 0
    shown = capsys.readouterr().out
    assert "tokens [*] of 3 of 50, boxes [*, 4], box_labels [*]" in shown


def test_the_same_arrays_give_the_same_bank(tmp_path):
    columns = {"keys": range(3), "tokens": tokens_of([1, 0, 2]), "boxes": [[[0, 0, 1, 1.0]], [], []]}
    first = Bank.from_arrays(tmp_path / "b", **columns)
    before = (first.path / "bank.json").read_bytes()
    Bank.from_arrays(tmp_path / "b", **columns)
    assert (first.path / "bank.json").read_bytes() == before
    with pytest.raises(BankError, match="Another bank is at"):
        Bank.from_arrays(tmp_path / "b", **columns | {"tokens": tokens_of([1, 1, 1])})


def test_banks_of_format_1_open(tmp_path):
    """A bank that was written before rows could differ in length; the same arrays still give its bytes."""
    folder = tmp_path / "format_1"
    shutil.copytree(Path(__file__).parent / "format_1", folder)
    bank = Bank.open(folder)
    x = torch.arange(21).reshape(7, 3) / 8
    said = bank.lookup(["clip 6é", "clip 1é"])
    assert json.loads((folder / "bank.json").read_text())["version"] == 1
    assert torch.equal(said.features.float(), x[[6, 1]])
    assert torch.equal(said.logits.float(), x[[6, 1], :2] - 1)
    assert torch.equal(said.hidden_states["layer_2"].float(), x[[6, 1]].unsqueeze(2))
    assert said.text == ["said 6", "said 1"]
    assert said.labels.tolist() == [-100, 1]
    assert bank.class_names == ("no", "yes")
    assert torch.equal(bank.head[0], torch.eye(2, 3))
    assert bank.verify() > 0
    arrays = {
        "keys": bank.keys,
        "features": x,
        "logits": x[:, :2] - 1,
        "hidden_states": {"layer_2": x.unsqueeze(2)},
        "text": [f"said {i}" for i in range(7)],
        "labels": bank.labels,
        "class_names": bank.class_names,
        "head": bank.head,
        "dtype": "bfloat16",
        "licence": "our own",
        "fingerprint": {"weights": "1"},
    }
    before = (folder / "bank.json").read_bytes()
    Bank.from_arrays(folder, **arrays)
    assert (folder / "bank.json").read_bytes() == before, "the same bank was found"
    with pytest.raises(BankError, match="Another bank is at"):
        Bank.from_arrays(folder, **arrays | {"text": [f"sung {i}" for i in range(7)]})
    again = Bank.from_arrays(tmp_path / "again", **arrays)
    assert (again.path / SHARD).read_bytes() == (folder / SHARD).read_bytes()
    assert json.loads((again.path / "bank.json").read_text())["version"] == 3


def test_a_newer_format_is_refused(detections):
    path = detections.path / "bank.json"
    path.write_text(path.read_text().replace('"version": 3', '"version": 4'))
    with pytest.raises(BankError, match=r"format limbeck-bank 4, this limbeck reads limbeck-bank 1 to 3"):
        Bank.open(detections.path)


# ---- what can be wrong ------------------------------------------------------------------------------------------


def spoilt(path: Path, **tensors: torch.Tensor) -> None:
    """The first shard with some tensors replaced, and all that is recorded of it made to fit."""
    from limbeck.banks.manifest import Manifest
    from limbeck.banks.shards import file_hash, map_tensors, read_notes, write_tensors

    notes, found = read_notes(path / SHARD), {n: v.clone() for n, v in map_tensors(path / SHARD).items()}
    write_tensors(path / SHARD, found | tensors, notes)
    manifest = Manifest.read(path)
    manifest.files[SHARD] = {"bytes": (path / SHARD).stat().st_size, "sha256": file_hash(path / SHARD)}
    manifest.write(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("boxes.ends", [2, 1, 5, 6, 6, 10]),
        ("boxes.ends", [2, 2, 5, 6, 6, 11]),
        ("boxes.ends", [2, 2, 5, 6, 10]),
        ("boxes.ends", [-1, 2, 5, 6, 6, 10]),
        ("tokens.ends", [2, 2, 5, 6, 6, 9]),
    ],
)
def test_ends_that_do_not_rise_to_the_values(detections, name, value):
    spoilt(detections.path, **{name: torch.tensor(value)})
    with pytest.raises(CorruptShardError, match=rf"{SHARD} is not .*the ends of the 6 rows of '{name[:-5]}'"):
        Bank.open(detections.path).lookup(["picture 0"])


def test_class_numbers_that_do_not_exist_are_found_by_verify(detections):
    assert detections.verify() > 0
    ids = load_file(detections.path / SHARD)["tokens.ids"].clone()
    ids[4, 1] = 50
    spoilt(detections.path, **{"tokens.ids": ids})
    with pytest.raises(CorruptShardError, match="class numbers of 'tokens' are not below 50"):
        Bank.open(detections.path).verify()


def test_parts_that_do_not_belong_together(detections):
    spoilt(detections.path, **{"tokens.rest": torch.zeros(9)})
    with pytest.raises(CorruptShardError, match="class numbers of 'tokens' do not belong"):
        Bank.open(detections.path).lookup(["picture 0"])


def test_a_flipped_byte_and_a_lost_tensor(detections, tmp_path):
    content = bytearray((detections.path / SHARD).read_bytes())
    content[-3] ^= 1
    (detections.path / SHARD).write_bytes(content)
    with pytest.raises(CorruptShardError, match="its bytes have changed"):
        Bank.open(detections.path).verify()
    tensors = load_file(detections.path / SHARD)
    del tensors["boxes.ends"]
    save_file(tensors, detections.path / SHARD)
    with pytest.raises(CorruptShardError):
        Bank.open(detections.path)


GOOD = TopK.of(torch.randn(2, 5, generator=torch.Generator().manual_seed(0)), 2)


def changed(**parts: object) -> TopK:
    values = {"ids": GOOD.ids, "log_probs": GOOD.log_probs, "rest": GOOD.rest} | parts
    return TopK(n_classes=5, **values)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"boxes": [torch.ones(2, 4)]}, DataError, "boxes has 1 rows"),
        ({"boxes": [torch.ones(2, 4), torch.ones(1, 3)]}, DataError, "one width and dtype"),
        ({"boxes": [torch.ones(2, 3), torch.ones(1, 3)]}, BankError, r"x0, y0, x1, y1, not \[3\]"),
        ({"box_labels": [[1], []]}, BankError, "box_labels without boxes"),
        (
            {"boxes": [torch.ones(2, 4), []], "box_labels": [[1], []]},
            BankError,
            "box_labels need one for each box; they do not for the keys 'one'",
        ),
        (
            {"features": [torch.ones(2, 3), torch.full((1, 3), torch.nan)]},
            NonFiniteError,
            "features hold NaN or Inf for 1 keys: 'two'",
        ),
        (
            {"features": [torch.ones(2, 3), torch.full((1, 3), 1e6)], "dtype": "float16"},
            NonFiniteError,
            "values beyond float16 .* for 1 keys: 'two'",
        ),
        (
            {"tokens": [torch.ones(2, 3), torch.ones(1, 3)]},
            BankError,
            "tokens must be a TopK or a Ragged of it",
        ),
        ({"logits": GOOD}, BankError, "logits cannot be a TopK; give its likeliest classes as log_probs"),
        (
            {"log_probs": changed(ids=torch.tensor([[0, 1], [4, 5]]))},
            BankError,
            "not below 5 for 1 keys: 'two'",
        ),
        (
            {"log_probs": changed(ids=torch.tensor([[0, -1], [4, 1]]))},
            BankError,
            "not below 5 for 1 keys: 'one'",
        ),
        (
            {"log_probs": changed(ids=torch.tensor([[0, 1], [4, 4]]))},
            BankError,
            "a class twice for 1 keys: 'two'",
        ),
        (
            {"log_probs": changed(log_probs=torch.zeros(2, 2), rest=None)},
            BankError,
            "leaves a negative mass for the rest for 2 keys",
        ),
        (
            {"log_probs": changed(rest=torch.tensor([0.0, GOOD.rest[1]]))},
            BankError,
            "is not 1 for 1 keys: 'one'",
        ),
        (
            {"log_probs": changed(rest=torch.tensor([torch.nan, 0]))},
            NonFiniteError,
            "a rest that is NaN or Inf",
        ),
        (
            {"tokens": Ragged(changed(log_probs=torch.full((2, 2), torch.nan)), torch.tensor([0, 2]))},
            NonFiniteError,
            "tokens hold NaN or Inf for 1 keys: 'two'",
        ),
        (
            {"log_probs": [torch.zeros(2, 3), torch.zeros(1, 3)]},
            BankError,
            "log_probs do not sum to probability 1 for 2 keys",
        ),
        (
            {
                "hidden_states": {
                    "a": Ragged(torch.ones(1, 2), torch.tensor([0, 1])),
                    "a.ends": torch.ones(2, 1),
                }
            },
            BankError,
            "'hidden_states.a' and 'hidden_states.a.ends' cannot lie in one bank",
        ),
    ],
)
def test_bad_columns(tmp_path, columns, error, message):
    with pytest.raises(error, match=message):
        Bank.from_arrays(tmp_path / "b", keys=["one", "two"], **columns)
    assert not (tmp_path / "b" / "bank.json").exists()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (torch.ones(2, 3), r"features are \[3\] in the batch that starts at key 2, but \[\*, 3\] before"),
        (Ragged.of([torch.ones(1, 4)] * 2), r"features have shape \[4\] .* but \[3\] before"),
        (Ragged.of([torch.ones(1, 3).double()] * 2), "features have dtype float64 .* but float32 before"),
    ],
)
def test_every_batch_has_the_layout_of_the_first(tmp_path, second, message):
    answers = [Ragged.of([torch.ones(2, 3), torch.ones(0, 3)]), second]
    teacher = CallableTeacher(lambda inputs: {"features": answers[int(inputs["x"][0]) // 2]}, version="1")
    rows = [{"id": i, "x": float(i)} for i in range(4)]
    with pytest.raises(InconsistentOutputError, match=message):
        Bank.build(tmp_path / "b", teacher, rows, batch_size=2)


# ---- controls ---------------------------------------------------------------------------------------------------


def test_shuffled_rows_take_all_their_boxes_along(detections):
    control = shuffled(detections, Paired(detections.keys), seed=1)
    real, moved = detections.lookup(detections.keys), control.lookup(detections.keys)
    origin = control._store.rows
    assert (origin != np.arange(6)).all()
    for name in ("boxes", "box_labels", "tokens"):
        assert equal(moved[name], real[name].rows(torch.from_numpy(origin)))
    assert control.verify() == detections.verify()


def test_random_boxes_keep_their_labels_and_say_nothing(detections):
    control = random_like(detections, seed=0)
    said, real = control.lookup(control.keys), detections.lookup(detections.keys)
    assert torch.equal(said.boxes.lengths, said.box_labels.lengths)
    assert torch.equal(said.boxes.lengths, said.tokens.lengths)
    assert not torch.equal(said.boxes.lengths, real.boxes.lengths)
    assert set(said.box_labels.values.tolist()) <= set(range(10))
    ids = said.tokens.values.ids
    assert ids.shape[1] == 3
    assert (ids.sort(dim=1).values.diff(dim=1) > 0).all(), "no class twice"
    assert ((ids >= 0) & (ids < 50)).all()
    assert equal(said.boxes, random_like(detections, seed=0).lookup(control.keys).boxes)
    columns = {name: said[name] for name in ("tokens", "boxes", "box_labels")}
    Bank.from_arrays(detections.path.parent / "noise", keys=control.keys, **columns)  # passes every check


def test_controls_of_predictions(detections, tmp_path):
    said = TopK.of(torch.randn(4, 50), 3)
    bank = Bank.from_arrays(tmp_path / "b", keys=range(4), log_probs=said, labels=[0, 1, 49, 3])
    uniform = uniform_like(bank).lookup([3]).log_predictions()
    torch.testing.assert_close(uniform.exp(), torch.full((1, 50), 0.02))
    assert isinstance(uniform_like(bank).lookup([3]).log_probs, TopK), "all classes would not fit into memory"
    assert oracle_like(bank).lookup([2]).log_predictions().argmax().item() == 49
    ragged = Bank.from_arrays(tmp_path / "c", keys=range(2), log_probs=tokens_of([1, 2]), labels=[0, 1])
    for control in (uniform_like, oracle_like):
        with pytest.raises(DataError, match=r"rows of different lengths, .* take 'shuffled' or 'random'"):
            control(ragged)


def test_prototypes_leave_out_what_has_no_mean(tmp_path):
    bank = Bank.from_arrays(
        tmp_path / "b",
        keys=range(2),
        features=torch.eye(2),
        boxes=[torch.ones(1, 4), []],
        labels=[0, 1],
    )
    assert bank.prototypes().signals == {"features", "labels"}


# ---- killed -----------------------------------------------------------------------------------------------------


class Reader:
    """A deterministic teacher of texts: states that grow with the row's number, tokens, boxes."""

    class_names, access, head = None, "weights", None

    def __call__(self, inputs):
        time.sleep(0.002)
        numbers = [int(x) for x in inputs["x"]]
        lengths = [(7 * n) % 5 + n // 10 for n in numbers]
        states = [n + torch.arange(3.0 * k).reshape(k, 3) for n, k in zip(numbers, lengths)]
        logits = torch.cat([torch.cos(state @ torch.ones(3, 20) * torch.arange(20)) for state in states])
        return TeacherOutput(
            hidden_states={"last": Ragged.of(states)},
            tokens=Ragged(TopK.of(logits, 4), torch.tensor(lengths)),
            boxes=[torch.rand(n % 3, 4, generator=torch.Generator().manual_seed(n)) for n in numbers],
            box_labels=[torch.arange(n % 3) for n in numbers],
            text=[f"text {n}" for n in numbers],
        )

    def fingerprint(self):
        return {"weights": "1"}


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in (".lock", "build.jsonl")}


@pytest.mark.parametrize("n_moments", some_of((5, 50), 5))
def test_killed_at_random_moments_the_bank_has_the_same_bytes(tmp_path, n_moments):
    n = 60
    keys = tuple(f"text {i}" for i in range(n))
    data = Examples.classified({"x": torch.arange(float(n))}, keys, torch.full((n,), -100), ("a", "b"))
    options = {"batch_size": 4, "shard_size": 12, "dtype": "float16"}
    Bank.build(tmp_path / "first", Reader(), data, **options)  # everything is imported
    start = time.perf_counter()
    Bank.build(tmp_path / "undisturbed", Reader(), data, **options)
    duration = time.perf_counter() - start
    expected, rng, n_kills = content(tmp_path / "undisturbed"), random.Random(n_moments), 0
    for moment in range(20 * n_moments):
        folder = tmp_path / f"killed {moment}"
        while n_kills < n_moments and rng.random() < 0.7:  # some are killed again and again
            child = FORK.Process(target=Bank.build, args=(folder, Reader(), data), kwargs=options)
            child.start()
            child.join(rng.uniform(0, duration))
            if is_killed := child.is_alive():
                os.kill(child.pid, signal.SIGKILL)
                n_kills += 1
            child.join()
            if not is_killed:
                break
        Bank.build(folder, Reader(), data, **options)
        assert content(folder) == expected
        shutil.rmtree(folder)
        if n_kills == n_moments:
            break
    assert n_kills == n_moments
    assert max(Bank.open(tmp_path / "undisturbed").lookup(keys).tokens.lengths) == 9
