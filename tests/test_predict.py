"""``predict_files`` on students of texts: columns by name, a row a line, values for a regression."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from limbeck.cli import main
from limbeck.data.base import texts
from limbeck.errors import DataError
from limbeck.predict import predict_files
from limbeck.students import Student, model_from_spec
from limbeck.students.export.folder import export_student
from limbeck.students.text import encode, tokenizer_of

transformers = pytest.importorskip("transformers")
WORDS = ("a", "the", "cat", "dog", "bird", "sees", "big", "red")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny BERT with a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ("[PAD]", "[UNK]")
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate((*special, *WORDS))}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("bert")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(0)
    transformers.BertModel(
        transformers.BertConfig(vocab_size=len(special) + len(WORDS), **sizes)
    ).save_pretrained(folder)
    return folder


def exported(checkpoint: Path, folder: Path, problem: str, class_names, columns, **settings):
    """An exported student, and a function from columns to its answers."""
    spec = f"hf:{checkpoint}"
    torch.manual_seed(1)
    student = Student(model_from_spec(spec, n_classes=len(class_names), problem=problem)).eval()
    tokenizer = tokenizer_of(spec)
    export_student(
        student,
        folder,
        class_names=class_names,
        inputs_example=encode(tokenizer, columns, 8)[0],
        preprocessor={"kind": "text", "columns": list(columns), "max_length": 8, **settings},
        provenance={},
        processor=tokenizer,
    )

    @torch.no_grad()
    def wanted(columns) -> list[list[float]]:
        logits = student(encode(tokenizer, columns, 8)[0]).logits
        return (logits if problem == "regression" else logits.softmax(-1)).tolist()

    return wanted


def test_classes_of_a_csv(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.predict.ROWS", 2)
    columns = {"text": texts(["the cat", "a big, red dog", "bird"])}
    wanted = exported(checkpoint, tmp_path / "s", "classification", ("x", "y"), columns)
    table = tmp_path / "texts.csv"
    table.write_text('id,text\n1,the cat\n2,"a big, red dog"\n3,bird\n')
    rows = predict_files(tmp_path / "s", [table])
    assert [(row["file"], row["line"]) for row in rows] == [(str(table), line) for line in (2, 3, 4)]
    found = [list(row["probabilities"].values()) for row in rows]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(wanted(columns)))
    assert list(rows[0]["probabilities"]) == ["x", "y"]


def test_a_value_for_a_pair_and_names_of_columns(checkpoint, tmp_path, capsys):
    columns = {"text": texts(["the cat"]), "text_pair": texts(["a dog"])}
    names = {"text": "sentence1", "text_pair": "sentence2"}
    wanted = exported(checkpoint, tmp_path / "s", "regression", ("score",), columns, names=names)
    table = tmp_path / "pairs.jsonl"
    table.write_text(json.dumps({"sentence1": "the cat", "sentence2": "a dog"}) + "\n")
    (row,) = predict_files(tmp_path / "s", [table])
    ((value,),) = wanted(columns)
    assert row == {"file": str(table), "line": 1, "value": pytest.approx(value)}
    assert main(["predict", str(tmp_path / "s"), str(table)]) == 0
    assert f"pairs.jsonl, line 1  {value:.4g}" in capsys.readouterr().out


def test_choices_as_columns_or_lists(checkpoint, tmp_path):
    columns = {"text": texts(["the cat", "a"]), "choices": texts([("sees", "a dog"), ("red", "big bird")])}
    wanted = exported(checkpoint, tmp_path / "s", "choice", ("left", "right"), columns)(columns)
    table, lists = tmp_path / "t.tsv", tmp_path / "l.jsonl"
    table.write_text("text\tleft\tright\nthe cat\tsees\ta dog\na\tred\tbig bird\n")
    lines = ({"text": t, "choices": list(c)} for t, c in zip(columns["text"], columns["choices"]))
    lists.write_text("\n".join(json.dumps(line) for line in lines))
    rows = predict_files(tmp_path / "s", [table, lists])
    found = torch.tensor([list(row["probabilities"].values()) for row in rows])
    torch.testing.assert_close(found, torch.tensor(wanted * 2))


def test_long_texts_are_cut_with_a_warning(checkpoint, tmp_path):
    columns = {"text": texts(["the cat", "a"])}
    exported(checkpoint, tmp_path / "s", "classification", ("x", "y"), columns)
    table = tmp_path / "t.csv"
    table.write_text("text\n" + "cat " * 20 + "\ndog\n")
    with pytest.warns(UserWarning, match=r"1 texts of .*t\.csv were longer than 8 tokens"):
        assert len(predict_files(tmp_path / "s", [table])) == 2


def test_bad_tables(checkpoint, tmp_path):
    columns = {"text": texts(["the cat", "a"])}
    exported(checkpoint, tmp_path / "s", "classification", ("x", "y"), columns)
    table = tmp_path / "t.csv"
    table.write_text("txt\ncat\n")
    with pytest.raises(DataError, match=r"t\.csv has no column 'text'; did you mean 'txt'"):
        predict_files(tmp_path / "s", [table])
    table.write_text('text,n\ncat,1\n"",2\n')
    with pytest.raises(DataError, match=r"Row 'line 3 of t\.csv' has no text in 'text'"):
        predict_files(tmp_path / "s", [table])
    with pytest.raises(DataError, match="does not exist"):
        predict_files(tmp_path / "s", [tmp_path / "none.csv"])
