"""A bank gives back what was put in, refuses what is not there, and notices what has changed on disk."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.banks import Bank, bank_info, delete_bank
from limbeck.errors import (
    AbsentClassError,
    BankError,
    ClassNamesError,
    ConfigError,
    CorruptShardError,
    DataError,
    MissingKeysError,
    StaleFingerprintError,
)
from limbeck.signals import TeacherOutput


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("kind", ["int", "str"])
def test_lookup_gives_back_what_was_stored(arrays, tmp_path, dtype, kind):
    keys = [7 * i - 300 for i in range(200)] if kind == "int" else arrays.keys
    bank = Bank.from_arrays(tmp_path / "b", **{**vars(arrays), "keys": keys}, dtype=dtype)
    rows = [5, 199, 0, 5]
    out = bank.lookup([keys[i] for i in rows])
    assert out.features.dtype == getattr(torch, dtype)
    assert torch.equal(out.features, arrays.features[rows].to(out.features.dtype))
    assert torch.equal(out.logits, arrays.logits[rows].to(out.features.dtype))
    assert torch.equal(out.labels, arrays.labels[rows])
    assert out.keys == [keys[i] for i in rows]
    assert torch.equal(out.head[0], arrays.head[0])
    assert torch.equal(out.head[1], arrays.head[1])
    assert bank.keys == tuple(keys)
    assert len(bank) == 200
    assert bank.class_names == arrays.class_names
    assert torch.equal(bank.labels, arrays.labels)
    assert bank.signals == {"features", "logits", "labels", "head"}


def test_hidden_states_and_texts_come_back(tmp_path):
    states = torch.randn(10, 3, 2)
    texts = [f"said {i} 'é'\n" for i in range(10)]
    bank = Bank.from_arrays(tmp_path / "b", keys=range(10), hidden_states={"block.3": states}, text=texts)
    out = bank.lookup([9, 0, 4])
    assert torch.equal(out.hidden_states["block.3"], states[[9, 0, 4]])
    assert out.text == [texts[9], texts[0], texts[4]]
    assert bank.lookup([1], signals=["text"]).hidden_states == {}
    assert [t for block in bank.blocks(3) for t in block.text] == texts


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 40),
    size=st.integers(1, 9),
    data=st.data(),
    texts=st.booleans(),
)
def test_lookup_over_any_shards(tmp_path_factory, n, size, data, texts):
    """Rows come back in the order asked for, however they lie in shards."""
    from limbeck.banks import arrays as module

    folder = tmp_path_factory.mktemp("banks") / "b"
    x = torch.arange(n * 2.0).reshape(n, 2)
    text = [str(i) for i in range(n)] if texts else None
    old, module._SHARD_ROWS = module._SHARD_ROWS, size
    try:
        bank = Bank.from_arrays(folder, keys=range(n), features=x, text=text)
    finally:
        module._SHARD_ROWS = old
    asked = data.draw(st.lists(st.integers(0, n - 1), max_size=30))
    out = bank.lookup(asked)
    assert torch.equal(out.features, x[asked])
    assert not texts or out.text == [str(i) for i in asked]
    step = data.draw(st.integers(1, n))
    assert torch.equal(torch.cat([b.features for b in bank.blocks(step)]), x)
    assert bank.verify() > 0


def test_keys_may_be_arrays_and_tensors(tmp_path):
    bank = Bank.from_arrays(tmp_path / "b", keys=np.arange(10, 20), features=np.eye(10))
    assert bank.lookup(torch.tensor([12, 11])).keys == [12, 11]
    assert bank.lookup(np.array([19])).features.argmax() == 9
    assert bank.lookup([]).features.shape == (0, 10)


def test_missing_keys_are_named(bank, arrays):
    with pytest.raises(KeyError, match=r"lacks 2 of the 3 keys asked for: 'no', 'nor this'"):
        bank.lookup([arrays.keys[0], "no", "nor this"])
    with pytest.raises(MissingKeysError, match="are strings, but 3"):
        bank.lookup([3])


def test_views_of_one_key(tmp_path):
    x = torch.arange(6.0).reshape(6, 1)
    views = ["weak", "strong"] * 3
    bank = Bank.from_arrays(tmp_path / "b", keys=[1, 1, 2, 2, 3, 3], views=views, features=x)
    assert bank.lookup([3, 1], view="strong").features.flatten().tolist() == [5.0, 1.0]
    assert bank.views == ("strong", "weak")
    assert bank.subset([2]).lookup([2], view="weak").features.item() == 2.0
    with pytest.raises(ConfigError, match="several views"):
        bank.lookup([1])
    with pytest.raises(ConfigError, match="did you mean 'weak'"):
        bank.lookup([1], view="weka")


def test_sample_is_class_matched_and_repeatable(bank, arrays):
    wanted = torch.tensor([0, 3, 3, 1, 2] * 20)
    draw = bank.sample(100, labels=wanted, generator=torch.Generator().manual_seed(1))
    again = bank.sample(100, labels=wanted, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draw.labels, wanted)
    assert torch.equal(draw.features, again.features)
    assert torch.equal(draw.features, bank.lookup(draw.keys).features)
    assert len(set(draw.keys)) > 50
    assert len(bank.sample(17)) == 17
    with pytest.raises(ConfigError, match="needs 3 labels"):
        bank.sample(3, labels=torch.tensor([0]))


def test_a_class_without_rows_is_named(arrays, tmp_path):
    labels = arrays.labels.clone()
    labels[labels == 2] = -100
    bank = Bank.from_arrays(tmp_path / "b", **{**vars(arrays), "labels": labels})
    with pytest.raises(AbsentClassError, match="'three'"):
        bank.sample(2, labels=[0, 2])
    with pytest.raises(AbsentClassError, match="'three'"):
        bank.prototypes()
    with pytest.raises(AbsentClassError, match="Class number 9"):
        bank.sample(1, labels=[9])
    assert len(bank.prototypes([0, 3])) == 2
    del vars(arrays)["labels"]
    unlabelled = Bank.from_arrays(tmp_path / "u", **vars(arrays))
    with pytest.raises(BankError, match="no labels"):
        unlabelled.prototypes()


def test_prototypes_are_class_means(bank, arrays):
    means = bank.prototypes()
    for c in range(4):
        torch.testing.assert_close(means.features[c], arrays.features[arrays.labels == c].mean(0))
    assert means.labels.tolist() == [0, 1, 2, 3]
    assert torch.equal(bank.prototypes([2]).features[0], means.features[2])


def test_prototype_of_log_probs_is_log_of_mean_probability(tmp_path):
    probs = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    bank = Bank.from_arrays(tmp_path / "b", keys=range(3), log_probs=probs.log(), labels=[0, 0, 1])
    torch.testing.assert_close(
        bank.prototypes().log_probs.exp(), torch.tensor([[0.7, 0.3], [0.2, 0.8]]), rtol=1e-5, atol=1e-6
    )


def test_subset_is_a_bank(bank, arrays):
    part = bank.subset(arrays.keys[10:20:3])
    assert part.keys == tuple(arrays.keys[10:20:3])
    assert torch.equal(part.lookup([arrays.keys[16]]).features[0], arrays.features[16])
    assert torch.equal(part.labels, arrays.labels[10:20:3])
    with pytest.raises(MissingKeysError):
        part.lookup([arrays.keys[0]])
    with pytest.raises(MissingKeysError):
        bank.subset(["not there"])
    with pytest.raises(DataError):
        bank.subset([])


def test_pickles_as_its_path(bank, arrays):
    assert len(pickle.dumps(bank)) < 400
    assert torch.equal(pickle.loads(pickle.dumps(bank)).lookup(bank.keys).features, arrays.features)
    part = pickle.loads(pickle.dumps(bank.subset(arrays.keys[:3])))
    assert part.keys == tuple(arrays.keys[:3])


def test_classes_are_joined_by_name(bank, arrays):
    names = ("four", "one", "two", "three")
    same = bank.with_class_names(names)
    order = [3, 0, 1, 2]
    out = same.lookup(arrays.keys)
    assert torch.equal(out.logits, arrays.logits[:, order])
    assert [names[c] for c in same.labels] == [arrays.class_names[c] for c in arrays.labels]
    assert torch.equal(out.head[0], arrays.head[0][order])
    assert pickle.loads(pickle.dumps(same)).class_names == names
    with pytest.raises(ClassNamesError, match=r"only the student has 'five'; only the teacher has 'four'"):
        bank.with_class_names(("one", "two", "three", "five"))
    mapped = bank.with_class_names(("eins", "drei"), {"eins": "one", "drei": "three"})
    assert mapped.width("logits") == 2
    assert mapped.labels[:4].tolist() == [0, -100, 1, -100]


def test_classes_in_another_order_where_some_rows_have_none(tmp_path):
    labels = [0, -100, 1, -100]
    bank = Bank.from_arrays(
        tmp_path / "b", keys=range(4), features=torch.eye(4), labels=labels, class_names=("a", "b")
    )
    assert bank.with_class_names(("b", "a")).labels.tolist() == [1, -100, 0, -100]


def test_blocks_refuse_an_empty_block(bank):
    with pytest.raises(ConfigError):
        next(bank.blocks(0))


# ---- what can be wrong with a folder --------------------------------------------------------------------


def test_a_truncated_shard_is_named(bank):
    path = bank.path / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptShardError, match=r"shard-00000\.safetensors .* bytes instead of"):
        Bank.open(bank.path)


def test_a_flipped_byte_is_found_by_verify(bank):
    assert bank.verify() == sum(entry["bytes"] for entry in bank.manifest.files.values())
    path = bank.path / "shard-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptShardError, match=r"shard-00000\.safetensors"):
        Bank.open(bank.path).verify()


def test_wrong_folders(bank, tmp_path):
    with pytest.raises(BankError, match=r"no bank at .*did you mean 'bank'"):
        Bank.open(tmp_path / "bnk")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BankError, match="is no bank"):
        Bank.open(tmp_path / "empty")
    manifest = bank.path / "bank.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"version": 99}))
    with pytest.raises(BankError, match="format limbeck-bank 99"):
        Bank.open(bank.path)
    manifest.write_text(json.dumps(content)[:50])
    with pytest.raises(CorruptShardError, match=r"bank\.json is damaged"):
        Bank.open(bank.path)


def test_a_stale_fingerprint_says_which_part(arrays, tmp_path):
    Bank.from_arrays(tmp_path / "b", **vars(arrays), fingerprint={"weights": "1", "preprocessing": "2"})
    Bank.open(tmp_path / "b", fingerprint={"weights": "1"})
    with pytest.raises(StaleFingerprintError, match="other 'preprocessing'"):
        Bank.open(tmp_path / "b", fingerprint={"weights": "1", "preprocessing": "3"})


def test_info_and_delete(bank, tmp_path):
    info = bank_info(bank.path)
    assert (info["rows"], info["shards"], info["state"], info["head"]) == (200, 1, "complete", True)
    json.dumps(info)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(BankError, match="nothing was deleted"):
        delete_bank(tmp_path / "other")
    assert delete_bank(bank.path) == info["bytes"]
    assert not bank.path.exists()


def test_delete_leaves_other_files(bank):
    (bank.path / "notes.txt").write_text("mine")
    delete_bank(bank.path)
    assert [p.name for p in bank.path.iterdir()] == ["notes.txt"]


# ---- what can be wrong with arrays -----------------------------------------------------------------------


def test_the_same_arrays_give_the_same_bank(bank, arrays, tmp_path):
    before = (bank.path / "bank.json").read_bytes()
    Bank.from_arrays(bank.path, **vars(arrays))
    assert (bank.path / "bank.json").read_bytes() == before
    other = {**vars(arrays), "features": arrays.features + 1}
    with pytest.raises(BankError, match="Another bank is at"):
        Bank.from_arrays(bank.path, **other)
    replaced = Bank.from_arrays(bank.path, **other, overwrite=True)
    assert torch.equal(replaced.lookup(arrays.keys).features, arrays.features + 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bank"]


def test_arrays_mend_a_bank_that_lost_a_file(bank, arrays):
    (bank.path / "shard-00000.safetensors").unlink()
    assert Bank.from_arrays(bank.path, **vars(arrays)).verify() > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"keys": []}, DataError, "at least one row"),
        ({"keys": [1, 1, *range(2, 200)]}, BankError, "come twice: 1"),
        ({"keys": [1.5] * 200}, DataError, "all integers or all strings"),
        ({"keys": ["a", *range(199)]}, DataError, "all integers or all strings"),
        ({"features": torch.zeros(3, 6)}, DataError, "200 keys, but features has 3 rows"),
        ({"labels": [7] * 200}, DataError, "below 4"),
        ({"labels": ["one"] * 199 + ["seven"]}, ClassNamesError, "'seven'"),
        ({"class_names": ["a", "b"]}, DataError, "below 2"),
        ({"class_names": ["a", "b"], "labels": None}, ClassNamesError, "4 columns for 2 class names"),
        ({"dtype": "float61"}, ConfigError, "did you mean 'float16'"),
        ({"log_probs": torch.full((200, 4), 0.25)}, BankError, "do not sum to probability 1"),
    ],
)
def test_bad_arrays(arrays, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        Bank.from_arrays(tmp_path / "b", **{**vars(arrays), **change})


def test_no_signal_at_all(tmp_path):
    with pytest.raises(DataError, match="at least one of features"):
        Bank.from_arrays(tmp_path / "b", keys=[1, 2])


def test_a_folder_with_other_files_is_refused(arrays, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BankError, match=r"thesis\.tex"):
        Bank.from_arrays(tmp_path, **vars(arrays))
    with pytest.raises(BankError, match="is a file"):
        Bank.from_arrays(tmp_path / "thesis.tex", **vars(arrays))


def test_opening_reads_little(bank, monkeypatch):
    """No shard is touched before a row of it is asked for."""
    from limbeck.banks.folder import opened as opening

    touched: list[Path] = []
    real = opening.map_tensors
    monkeypatch.setattr(
        opening,
        "map_tensors",
        lambda path, names: touched.extend([path] * ("shard" in str(path))) or real(path, names),
    )
    opened = Bank.open(bank.path)
    assert not touched
    opened.lookup(bank.keys[:1])
    assert len(touched) == 1


def test_arrays_of_any_kind(tmp_path):
    pandas = pytest.importorskip("pandas")
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    for name, form in {
        "frame": pandas.DataFrame(x),
        "reversed": x[::-1][::-1],
        "big": x.astype(">f4"),
        "list": x.tolist(),
    }.items():
        bank = Bank.from_arrays(
            tmp_path / name, keys=list("abcd"), features=form, labels=pandas.Series([0, 1, None, 1])
        )
        assert torch.equal(bank.lookup(list("abcd")).features.float(), torch.from_numpy(x))
        assert bank.labels.tolist() == [0, 1, -100, 1]
    turned = Bank.from_arrays(tmp_path / "turned", keys=list("abcd"), features=x[::-1])
    assert turned.lookup(["a"]).features.tolist() == [[6.0, 7.0]]
    with pytest.raises(DataError, match="features are no array of numbers"):
        Bank.from_arrays(tmp_path / "no", keys=["a"], features=[["x"]])
    with pytest.raises(DataError, match=r"must be class numbers or names; some are not: 0\.5"):
        Bank.from_arrays(tmp_path / "no", keys=["a"], features=[[1.0]], labels=[0.5])


def test_keys_beyond_64_bits_are_a_sentence(tmp_path):
    with pytest.raises(DataError, match="must fit into 64 bits; give larger ones as strings"):
        Bank.from_arrays(tmp_path / "b", keys=[12345678901234567890], features=[[1.0]])


def test_a_teacher_may_answer_in_arrays(tmp_path):
    class Plain:
        access, class_names, head = "features", None, None

        def __call__(self, inputs):
            return TeacherOutput(features=np.ones((len(inputs["text"]), 2), np.float32))

        def fingerprint(self):
            return {}

    bank = Bank.build(tmp_path / "b", Plain(), {"id": [1, 2], "text": ["a", "b"]})
    assert bank.lookup([2]).features.tolist() == [[1.0, 1.0]]
