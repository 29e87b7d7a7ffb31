"""limbeck bank import: files of arrays and tables, with their keys; no pickles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from raw_files import write_csv
from safetensors.torch import save_file

from limbeck import cli
from limbeck.banks import Bank

X = np.arange(12, dtype=np.float32).reshape(4, 3)
KEYS = ["a", "b", "c", "d"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    np.savez(tmp_path / "x.npz", keys=np.array(KEYS), embeddings=X, kind=np.array([0, 1, 1, 0]))
    np.savez(tmp_path / "two.npz", a=X, b=X)
    np.savez(tmp_path / "pickled.npz", x=np.array([{}, {}], dtype=object))
    np.save(tmp_path / "x.npy", X)
    save_file({"features": torch.from_numpy(X)}, tmp_path / "x.safetensors")
    write_csv(tmp_path / "keys.csv", ("sku", "n"), [(key, i) for i, key in enumerate(KEYS)])
    write_csv(tmp_path / "x.csv", ("id", "f1", "f2", "f3"), [(k, *row) for k, row in zip(KEYS, X.tolist())])
    (tmp_path / "keys.txt").write_text("\n".join(KEYS))
    (tmp_path / "short.txt").write_text("a\nb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["x.npz"], KEYS),
        (["x.npy"], [0, 1, 2, 3]),
        (["x.npy", "--keys", "keys.csv", "--key", "sku"], KEYS),
        (["x.safetensors", "--keys", "keys.txt"], KEYS),
        (["x.csv", "--features", "f*"], KEYS),
    ],
)
def test_a_bank_of_a_file(arguments, keys, place, capsys):
    assert cli.main(["bank", "import", *arguments, "--output", "bank"]) == 0
    assert capsys.readouterr().out == "bank: 4 rows, features\n"
    bank = Bank.open("bank")
    assert list(bank.keys) == keys
    assert torch.equal(bank.lookup(keys).features, torch.from_numpy(X))


def test_labels_have_names(place):
    arguments = ["bank", "import", "x.npz", "--label", "kind", "--class-names", "cat,dog", "--output", "bank"]
    assert cli.main(arguments) == 0
    assert Bank.open("bank").class_names == ("cat", "dog")
    assert Bank.open("bank").labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.npz"], "does not exist"),
        (["pickled.npz"], "holds pickled objects, which are not loaded"),
        (["two.npz"], "holds the arrays 'a', 'b'; say which is what"),
        (["two.npz", "--features", "c"], "no array 'c' for features"),
        (["x.npz", "--key", "keyz"], "no array 'keyz' of keys; did you mean 'keys'"),
        (["x.npy", "--keys", "short.txt"], "holds 2 keys for 4 rows"),
        (["x.npy", "--keys", "none.txt"], "no file of keys"),
        (["x.npy", "--keys", "keys.csv", "--key", "sko"], "no column 'sko' of keys; did you mean 'sku'"),
        (["keys.txt"], "is no table"),
        (["x.csv"], "Name what the teacher says"),
        (["x.csv", "--keys", "keys.csv"], "--keys is for arrays"),
    ],
)
def test_bad_input_is_a_sentence(arguments, words, place, capsys):
    assert cli.main(["bank", "import", *arguments, "--output", "bank"]) != 0
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not Path("bank").exists()
