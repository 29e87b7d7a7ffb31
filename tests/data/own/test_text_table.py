"""A user's own texts: every format and problem, the splits, and what is refused with which words."""

import csv
import json

import pytest
import torch

from limbeck.data.own.text_table import text_table
from limbeck.data.registry import make_task
from limbeck.errors import ConfigError, DataError, UnknownNameError


def rows_of(n=60):
    """Reviews of two classes in turn, keyed, some of whose texts hold commas and quotes."""
    return [
        {"key": f"r{i}", "text": f'Review {i}, "quoted".', "label": "bad" if i % 2 else "good"}
        for i in range(n)
    ]


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


WRITERS = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_task(kind, tmp_path):
    reference = text_table(write_csv(tmp_path / "reference.csv", rows_of()), labels_per_class=5)
    task = text_table(WRITERS[kind](tmp_path / f"t.{kind}", rows_of()), labels_per_class=5)
    for role in ("train", "validation"):
        ours, theirs = task.splits[role], reference.splits[role]
        assert ours.keys == theirs.keys
        assert ours.inputs["text"].tolist() == theirs.inputs["text"].tolist()
        assert torch.equal(ours.labels, theirs.labels)


def test_shares_labels_and_the_link(tmp_path):
    path = write_csv(tmp_path / "t.csv", rows_of(100))
    task = make_task("texts", {"path": str(path), "labels_per_class": 4}, seed=2)
    assert task.splits.sizes == {"train": 64, "validation": 16, "test": 20}
    train = task.splits["train"]
    assert train.class_names == ("bad", "good")
    assert task.info["n_labelled"] == 8
    assert task.teacher.link.teacher_of == {key: key for key in train.keys}
    assert task.teacher.splits["link"].keys == train.keys
    assert set(task.truth.tolist()) == {0, 1}
    again, other = text_table(path, seed=2), text_table(path, seed=3)
    assert (
        again.splits["validation"].keys == task.splits["validation"].keys != other.splits["validation"].keys
    )
    json.dumps(task.info)


def test_a_split_column_is_kept_and_what_it_lacks_is_cut(tmp_path):
    rows = [row | {"split": "test" if i < 10 else "train"} for i, row in enumerate(rows_of())]
    task = text_table(write_csv(tmp_path / "t.csv", rows))
    with task.splits.final_evaluation() as final:
        assert final["test"].keys == tuple(f"r{i}" for i in range(10))
    assert task.splits.sizes["validation"] == 8  # 15% of the other 50, by class
    rows = [row | {"split": ("train", "train", "dev", "test")[i // 2 % 4]} for i, row in enumerate(rows_of())]
    assert text_table(write_csv(tmp_path / "t.csv", rows)).splits.sizes == {
        "train": 32,
        "validation": 14,
        "test": 14,
    }


def test_groups_stay_together_with_their_unlabelled_rows(tmp_path):
    rows = [row | {"group": f"page {i // 4}"} for i, row in enumerate(rows_of())]
    for row in rows[::5]:
        row["label"] = ""
    group_of = {row["key"]: row["group"] for row in rows}
    task = text_table(write_csv(tmp_path / "t.csv", rows))
    with task.splits.final_evaluation() as final:
        groups = [{group_of[key] for key in final[role].keys} for role in final.roles]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert task.info["n_unlabelled"] > 0


def test_unlabelled_rows_train_and_are_not_tested_on(tmp_path):
    rows = rows_of()
    for row in rows[:20]:
        row["label"] = ""
    task = text_table(write_csv(tmp_path / "t.csv", rows))
    assert set(task.splits["train"].keys) >= {f"r{i}" for i in range(20)}
    assert task.info["n_unlabelled"] == 20
    with task.splits.final_evaluation() as final:
        assert bool((final["test"].labels >= 0).all())


def test_pairs_and_other_column_names(tmp_path):
    rows = [
        {"id": row["key"], "question": row["text"], "answer": "Yes.", "y": row["label"]} for row in rows_of()
    ]
    path = write_csv(tmp_path / "t.csv", rows)
    task = text_table(
        path, text="question", text_pair="answer", label="y", key="id", class_names=("good", "bad")
    )
    assert task.splits["train"].text_columns == ("text", "text_pair")
    names = {"text": "question", "text_pair": "answer"}
    assert task.preprocessor == {"kind": "text", "columns": ["text", "text_pair"], "names": names}
    assert task.class_names == ("good", "bad")


def test_regression(tmp_path):
    rows = [row | {"label": i / 7} for i, row in enumerate(rows_of())]
    task = text_table(write_jsonl(tmp_path / "t.jsonl", rows), problem="regression", labels_per_class=10)
    train = task.splits["train"]
    assert task.problem.metric.name == "pearson"
    assert train.class_names == ("label",)
    assert train.targets.values.dtype == torch.float32
    assert train.targets.known.sum() == 10
    value = {f"r{i}": i / 7 for i in range(60)}
    for key, known, target in zip(train.keys, train.targets.known.tolist(), train.targets.values.tolist()):
        assert not known or target == pytest.approx(value[key])


@pytest.mark.parametrize("kind", ["list", "columns"])
def test_choices(kind, tmp_path):
    rows = [
        {"text": f"Premise {i}.", "label": i % 3} | {"choices": [f"a{i}", f"b{i}", f"c{i}"]}
        for i in range(60)
    ]
    if kind == "list":
        task = text_table(write_parquet(tmp_path / "t.parquet", rows))
        assert task.class_names == ("choice 0", "choice 1", "choice 2")
    else:
        flat = [
            {"text": r["text"], "label": "abc"[r["label"]], **dict(zip("abc", r["choices"]))} for r in rows
        ]
        task = text_table(write_csv(tmp_path / "t.csv", flat), choices=("a", "b", "c"))
        assert task.class_names == ("a", "b", "c")
    train = task.splits["train"]
    assert train.text_columns == ("text", "choices")
    assert train.inputs["choices"][0] == tuple(f"{c}{train.keys[0]}" for c in "abc")
    assert train.keys[0] % 3 == int(train.labels[0])


def test_tables_without_keys_are_keyed_by_number(tmp_path):
    rows = [{"text": row["text"], "label": row["label"]} for row in rows_of()]
    train = text_table(write_csv(tmp_path / "t.csv", rows)).splits["train"]
    assert train.inputs["text"][3] == f'Review {train.keys[3]}, "quoted".'
    assert all(isinstance(key, int) for key in train.keys)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("ids", ["numbers", "names"])
def test_keys_are_those_of_a_bank_of_the_same_file(kind, ids, tmp_path):
    """A CSV says nothing of types, so both must read them the same way or no key would be found."""
    from limbeck.banks.table_rows import table_rows

    rows = [{"id": i if ids == "numbers" else f"r{i}"} | r for i, r in enumerate(rows_of())]
    for row in rows:
        del row["key"]
    path = WRITERS[kind](tmp_path / f"t.{kind}", rows)
    assert set(text_table(path).splits["train"].keys) < set(table_rows(path, "id").keys)


# -- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": "  "}, r"line 3 of t\.csv \(key 'r1'\) has an empty text"),
        ({"label": "goood"}, r"line 3 of t\.csv \(key 'r1'\) has the label 'goood', .*did you mean 'good'"),
    ],
)
def test_a_bad_row_is_named_or_skipped(change, reason, tmp_path):
    rows = rows_of()
    rows[1] |= change
    path = write_csv(tmp_path / "t.csv", rows)
    with pytest.raises(DataError, match=reason):
        text_table(path, class_names=("good", "bad"))
    task = text_table(path, class_names=("good", "bad"), on_error="skip")
    assert list(task.info["skipped"]) == ["line 3 of t.csv (key 'r1')"]
    assert sum(task.splits.sizes.values()) == 59


@pytest.mark.parametrize("value", ["nan", "inf", "tall"])
def test_a_value_that_is_no_finite_number(value, tmp_path):
    rows = [row | {"label": i} for i, row in enumerate(rows_of())]
    rows[1]["label"] = value
    path = write_csv(tmp_path / "t.csv", rows)
    with pytest.raises(DataError, match=rf"line 3 .* has '{value}' where a finite number is predicted"):
        text_table(path, problem="regression")


def test_broken_lines_of_json_are_named(tmp_path):
    path = write_jsonl(tmp_path / "t.jsonl", rows_of())
    path.write_text(path.read_text() + "{broken\n[1, 2]\n")
    with pytest.raises(
        DataError, match=r"2 of 62 rows .*line 61 of t\.jsonl is no JSON .*line 62 .*no JSON object"
    ):
        text_table(path)


def test_repeated_keys_are_named(tmp_path):
    path = write_csv(tmp_path / "t.csv", rows_of() + rows_of(1))
    with pytest.raises(DataError, match=r"'r0'; make them unique"):
        text_table(path)


def test_a_task_with_one_class_or_value_is_refused(tmp_path):
    path = write_csv(tmp_path / "t.csv", [row | {"label": "good"} for row in rows_of()])
    with pytest.raises(DataError, match="only one class"):
        text_table(path)
    path = write_csv(tmp_path / "t.csv", [row | {"label": 3} for row in rows_of()])
    with pytest.raises(DataError, match="one value to predict"):
        text_table(path, problem="regression")
    path = write_csv(tmp_path / "t.csv", [row | {"label": ""} for row in rows_of()])
    with pytest.raises(DataError, match="No labelled row is left"):
        text_table(path)


def test_a_rare_class_that_training_lacks_is_named(tmp_path):
    rows = rows_of()
    path = write_csv(tmp_path / "t.csv", rows)
    with pytest.raises(DataError, match="no row of class 'ugly'"):
        text_table(path, class_names=("good", "bad", "ugly"))


def test_choices_must_agree(tmp_path):
    rows = [{"choices": ["a", "b"], "label": i % 2} for i in range(40)]
    rows[7]["choices"] = ["a", "b", "c"]
    with pytest.raises(DataError, match=r"line 1 of t\.jsonl has 2, line 8 of t\.jsonl has 3"):
        text_table(write_jsonl(tmp_path / "t.jsonl", rows))
    rows[7] = {"choices": ["a", "b"], "label": 2}
    with pytest.raises(
        DataError, match=r"line 8 of t\.jsonl has the label '2'; choices are numbered from 0 to 1"
    ):
        text_table(write_jsonl(tmp_path / "t.jsonl", rows))
    rows[7] = {"choices": "a", "label": 1}
    with pytest.raises(DataError, match="a list of at least two choices"):
        text_table(write_jsonl(tmp_path / "t.jsonl", rows))


def test_wrong_settings(tmp_path):
    path = write_csv(tmp_path / "t.csv", rows_of())
    with pytest.raises(UnknownNameError, match=r"no column 'txt' for text; did you mean 'text'"):
        text_table(path, text="txt")
    with pytest.raises(UnknownNameError, match="did you mean 'regression'"):
        text_table(path, problem="regresion")
    with pytest.raises(ConfigError, match="needs choices"):
        text_table(path, problem="choice")
    with pytest.raises(ConfigError, match="lie between 0 and 1"):
        text_table(path, test_share=0.9)
    with pytest.raises(DataError, match="does not exist"):
        text_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="no table of texts"):
        text_table(write_csv(tmp_path / "t.xlsx", rows_of()))
    rows = [row | {"split": "train" if i else "holdout"} for i, row in enumerate(rows_of())]
    with pytest.raises(DataError, match=r"line 2 of t\.csv \(key 'r0'\) has the split 'holdout'"):
        text_table(write_csv(path, rows))


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"text,label\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="UTF-8"):
        text_table(tmp_path / "t.csv")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="Parquet"):
        text_table(tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text("")
    with pytest.raises(DataError, match="no rows"):
        text_table(tmp_path / "t.jsonl")


def test_a_shipped_student_knows_the_columns_by_their_own_names(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"the {i} house,roof {i},door {i},{i % 2}" for i in range(40)]
    path.write_text("\n".join(["premise,up,down,label", *rows]) + "\n")
    names = text_table(path, text="premise", choices=("up", "down")).preprocessor["names"]
    assert names == {"text": "premise", "choices": ["up", "down"]}
