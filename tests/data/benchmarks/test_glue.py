"""GLUE tasks from official files, from copies of the hub, and from files with mistakes in them."""

import json
from pathlib import Path

import pytest
import torch
from small_emoji import emoji_folder

from limbeck.data.benchmarks.glue import glue
from limbeck.data.benchmarks.glue_tasks import TEXT_TASKS
from limbeck.data.registry import make_task
from limbeck.errors import ConfigError, DataError, UnknownNameError

CLASSES = ("entailment", "not_entailment")


def write_tsv(path: Path, rows, header=("index", "sentence1", "sentence2", "label")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *rows] if header else rows
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    return path


def rte_rows(n, start=0):
    """Rows whose premise is shared by two hypotheses each."""
    return [
        (i, f"Premise {(start + i) // 2} of dogs.", f"Hypothesis {start + i}.", CLASSES[i % 2])
        for i in range(n)
    ]


@pytest.fixture
def rte(tmp_path):
    write_tsv(tmp_path / "train.tsv", rte_rows(80))
    write_tsv(tmp_path / "dev.tsv", rte_rows(20, start=79))  # its first premise is one of training
    return tmp_path


def test_dev_is_the_test_and_validation_shares_no_premise(rte):
    task = glue(str(rte), labels_per_class=5, validation_share=0.2)
    train, validation = task.splits["train"], task.splits["validation"]
    assert task.splits.sizes["test"] == 20
    assert len(train) + len(validation) == 80
    assert 5 <= len(validation) <= 30
    assert not set(train.inputs["text"]) & set(validation.inputs["text"])
    assert task.info["premises_shared_with_test"] == 1
    with task.splits.final_evaluation() as final:
        assert final["test"].keys[:2] == ("dev/0", "dev/1")


def test_labels_are_drawn_by_the_seed_and_the_split_is_not(rte):
    a, b, again = (glue(str(rte), labels_per_class=5, seed=seed) for seed in (0, 1, 0))
    assert a.splits["validation"].keys == b.splits["validation"].keys
    labels = a.splits["train"].labels
    assert [(labels == c).sum().item() for c in (0, 1)] == [5, 5]
    assert not torch.equal(labels, b.splits["train"].labels)
    assert torch.equal(labels, again.splits["train"].labels)
    assert torch.equal(a.truth, b.truth)
    known = labels != -100
    assert torch.equal(labels[known], a.truth[known])


def test_a_bank_keyed_by_the_rows_fits(rte):
    task = make_task("glue", {"folder": str(rte), "labels_per_class": 5}, seed=3)
    train, link = task.splits["train"], task.teacher.splits["link"]
    assert task.teacher.link.name == "paired"
    assert task.teacher.link.teacher_keys == train.keys == link.keys
    assert bool((link.labels == -100).all())  # the teacher's rows do not give the labels away
    assert link.inputs["text"].tolist() == train.inputs["text"].tolist()
    assert task.preprocessor == {"kind": "text", "columns": ["text", "text_pair"]}
    json.dumps(task.info)


def test_lone_quotes_do_not_merge_rows(tmp_path):
    quoted = [(0, '"Lone quote at the start.', 'And "one" here.', CLASSES[0]), (1, "b", 'c"', CLASSES[1])]
    write_tsv(tmp_path / "train.tsv", quoted + [(i, *rest) for i, (_, *rest) in enumerate(rte_rows(40), 2)])
    write_tsv(tmp_path / "dev.tsv", [(0, '"x', "y", CLASSES[0]), (1, '"z', "w", CLASSES[1])])
    task = glue(str(tmp_path))
    assert sum(task.splits.sizes.values()) == 44
    with task.splits.final_evaluation() as final:
        assert final["test"].inputs["text"].tolist() == ['"x', '"z']


def test_the_folder_of_a_task_is_found_by_its_name(rte, tmp_path):
    (tmp_path / "glue").mkdir()
    (tmp_path / "RTE").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (rte / name).rename(tmp_path / "RTE" / name)
    assert glue(str(tmp_path), task="rte").splits.sizes["test"] == 20


@pytest.mark.real_data
def test_the_real_rte(real_data):
    task = glue(str(real_data / "glue"), labels_per_class=10)
    sizes = task.splits.sizes
    assert sizes["train"] + sizes["validation"] == 2490
    assert sizes["test"] == 277
    assert abs(sizes["validation"] - 249) < 40
    assert task.info["premises_shared_with_test"] <= 23
    train, validation = task.splits["train"], task.splits["validation"]
    assert not set(train.inputs["text"]) & set(validation.inputs["text"])
    with task.splits.final_evaluation() as final:
        assert final["test"].labels.bincount().tolist() == [146, 131]
        premises = set(final["test"].inputs["text"])
    assert len(premises & (set(train.inputs["text"]) | set(validation.inputs["text"]))) == 23


def test_illustrations_are_a_picture_teachers_rows(rte, tmp_path):
    folder = emoji_folder(tmp_path / "emoji")
    task = glue(str(rte), illustrate=f"emoji:{folder}", picture_size=8)
    assert set(task.teacher.splits.roles) == {"train", "validation", "test", "link"}
    link = task.teacher.splits["link"]
    assert link.keys == task.splits["train"].keys
    assert link.inputs["x"].shape == (len(link), 3, 8, 32)
    assert bool((link.inputs["x"] < 0.9).any(dim=(1, 2, 3)).all())  # all premises are of dogs: none is white


# -- every task of the table -----------------------------------------------------------------------------------

OFFICIAL = {
    "cola": (None, ["s", "{label}", "*", "A sentence {i}."]),
    "sst2": (("sentence", "label"), ["A film {i}.", "{label}"]),
    "mrpc": (
        ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
        ["{label}", "1", "2", "One {i}.", "Two."],
    ),
    "qqp": (
        ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
        ["{i}", "1", "2", "Why {i}?", "How?", "{label}"],
    ),
    "stsb": (("index", "sentence1", "sentence2", "score"), ["{i}", "One {i}.", "Two.", "{score}"]),
    "mnli": (("index", "sentence1", "sentence2", "gold_label"), ["{i}", "One {i}.", "Two.", "{name}"]),
    "qnli": (("index", "question", "sentence", "label"), ["{i}", "Why {i}?", "So.", "{name}"]),
    "rte": (("index", "sentence1", "sentence2", "label"), ["{i}", "One {i}.", "Two.", "{name}"]),
    "wnli": (("index", "sentence1", "sentence2", "label"), ["{i}", "One {i}.", "Two.", "{label}"]),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_files(name, tmp_path):
    header, cells = OFFICIAL[name]
    spec = TEXT_TASKS[name]
    held_out = [options[0] for options in spec.held_out.values()]
    for file, n in (("train", 60), *((file, 9) for file in held_out)):
        rows = [
            [
                cell.format(
                    i=i,
                    label=i % len(spec.class_names),
                    name=spec.class_names[i % len(spec.class_names)],
                    score=i % 5 / 2,
                )
                for cell in cells
            ]
            for i in range(n)
        ]
        write_tsv(tmp_path / f"{file}.tsv", rows, header)
    task = glue(str(tmp_path), task=name, labels_per_class=6)
    train = task.splits["train"]
    assert train.text_columns == (("text", "text_pair") if spec.text_pair else ("text",))
    assert task.info["n_labelled"] == 6 * len(spec.class_names)
    assert set(task.splits.final_roles) == set(spec.held_out)
    official = {"stsb": "pearson", "cola": "matthews", "mrpc": "f1", "qqp": "f1"}
    assert task.problem.metric.name == official.get(name, "accuracy")
    if name == "stsb":
        assert train.targets.values.dtype == torch.float32
        assert train.targets.known.equal(train.labels == 0)
        assert len(train.targets.values[train.targets.known].unique()) > 1


def test_choices_and_words_from_json_lines(tmp_path):
    def write(name, row):
        for file, n in (("train", 60), ("val", 10)):
            lines = [json.dumps(row(i) | {"idx": i}) for i in range(n)]
            path = tmp_path / name / f"{file}.jsonl"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
        return str(tmp_path / name)

    copa = {"choice1": "It rained.", "choice2": "It snowed."}
    task = glue(
        write("copa", lambda i: copa | {"premise": f"Wet {i}.", "question": "cause", "label": i % 2}),
        task="copa",
    )
    train = task.splits["train"]
    assert train.class_names == ("choice1", "choice2")
    assert train.inputs["choices"][0] == ("It rained.", "It snowed.")
    assert train.inputs["text"][0].endswith("What was the cause?")
    row = lambda i: {"word": f"bank{i}", "sentence1": "A bank.", "sentence2": "Banks.", "label": i % 3 == 0}  # noqa: E731
    task = glue(write("wic", row), task="wic")
    assert set(task.splits["train"].labels.tolist()) == {0, 1}
    assert task.splits["train"].inputs["text"][0].startswith("bank")


def hellaswag_rows(n):
    """As published: a context in two parts and whole, four endings, the number of the right one."""
    return [
        {
            "ind": 4 * i,
            "activity_label": "Baking",
            "ctx_a": f"A cook stands at stove {i}.",
            "ctx_b": "She",
            "ctx": f"A cook stands at stove {i}. She",
            "split": "train",
            "split_type": "indomain",
            "label": i % 4,
            "endings": [f"does {i}-{k}." for k in range(4)],
            "source_id": f"activitynet~v_{i // 3}",
        }
        for i in range(n)
    ]


def test_hellaswag_from_its_published_files(tmp_path):
    """A context and four endings, a teacher's row for each; validation shares no video with training."""
    for file, n in (("train", 90), ("val", 8)):
        lines = "".join(json.dumps(row) + "\n" for row in hellaswag_rows(n))
        (tmp_path / f"hellaswag_{file}.jsonl").write_text(lines)
    task = glue(str(tmp_path), task="hellaswag", teacher_rows="choice", labels_per_class=5)
    train, validation = task.splits["train"], task.splits["validation"]
    assert task.problem.metric.name == "accuracy"
    i = int(train.keys[0].split("/")[1])
    assert train.inputs["text"][0] == f"A cook stands at stove {i}. She"
    assert train.inputs["choices"][0] == tuple(f"does {i}-{k}." for k in range(4))
    assert [(train.labels == c).sum().item() for c in range(4)] == [5] * 4
    known = [(int(key.split("/")[1]) % 4, label) for key, label in zip(train.keys, train.labels.tolist())]
    assert all(right == label for right, label in known if label != -100)
    videos = [{int(key.split("/")[1]) // 3 for key in part.keys} for part in (train, validation)]
    assert not videos[0] & videos[1]
    asked = task.teacher.splits["link"]
    assert asked.keys[:4] == tuple(f"{train.keys[0]}#{k}" for k in range(4))
    with task.splits.final_evaluation() as final:
        assert final["test"].keys == tuple(f"dev/{i}" for i in range(8))


def test_a_hellaswag_row_without_its_endings_is_named(tmp_path):
    rows = hellaswag_rows(30)
    rows[4]["endings"] = rows[4]["endings"][:3]
    for file in ("train", "val"):
        (tmp_path / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"line 5 of .*has no list of 4 texts in 'endings'"):
        glue(str(tmp_path), task="hellaswag")


def test_boolq_and_cb_from_the_official_json_lines(tmp_path):
    """A label that is true or false, and three words; validation shares no passage with training."""
    boolq = [
        {"passage": f"Text {i // 3}.", "question": f"is it {i}", "label": i % 2 == 1, "idx": i}
        for i in range(60)
    ]
    words = ("entailment", "contradiction", "neutral")
    cb = [{"premise": f"P {i}.", "hypothesis": f"H {i}.", "label": words[i % 3], "idx": i} for i in range(60)]
    for name, rows in (("BoolQ", boolq), ("CB", cb)):
        for file, part in (("train", rows), ("val", rows[:9])):
            path = tmp_path / name / name / f"{file}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in part))
    task = glue(str(tmp_path / "BoolQ"), task="boolq")
    assert task.class_names == ("false", "true")
    train, validation = task.splits["train"], task.splits["validation"]
    assert train.keys[1] == "train/1"
    assert all(int(key.split("/")[1]) % 2 == label for key, label in zip(train.keys, train.labels.tolist()))
    assert not set(train.inputs["text"]) & set(validation.inputs["text"])
    task = glue(str(tmp_path / "CB"), task="cb")
    assert task.class_names == words
    assert {metric.name for metric in task.problem.metrics} >= {"accuracy", "macro_f1"}


def test_a_folder_of_the_hub_is_read_by_datasets(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features(
        {
            "sentence1": datasets.Value("string"),
            "sentence2": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(CLASSES)),
            "idx": datasets.Value("int32"),
        }
    )
    for split, n in (("train", 60), ("validation", 8), ("test", 4)):
        columns = {
            "sentence1": [f"One {i}." for i in range(n)],
            "sentence2": ["Two."] * n,
            "label": [-1 if split == "test" else i % 2 for i in range(n)],
            "idx": list(range(n)),
        }
        (tmp_path / "hub" / "rte").mkdir(parents=True, exist_ok=True)
        rows = datasets.Dataset.from_dict(columns, features=features)
        rows.to_parquet(tmp_path / "hub" / "rte" / f"{split}-00000-of-00001.parquet")
    task = glue(str(tmp_path / "hub"), task="rte")
    assert task.splits.sizes["test"] == 8  # the development set, not the split whose labels are hidden
    assert task.splits["train"].class_names == CLASSES
    assert task.splits["train"].keys[0] == "train/0"


def test_a_hub_that_cannot_be_reached(monkeypatch):
    import datasets

    asked = []

    def unreachable(*names):
        asked.append(names)
        raise ConnectionError("Couldn't reach the hub.")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError, match=r"'nyu-mll/glue' is no folder of text files here .*give a folder"):
        glue(task="rte")
    assert asked == [("nyu-mll/glue", "rte")]


# -- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("80", "only one sentence", CLASSES[0]), "line 82 of train.tsv has 3 cells for 4 columns"),
        (("80", "a", "b", "maybe"), "line 82 of train.tsv has the label 'maybe'"),
        (("80", "a", " ", CLASSES[0]), "line 82 of train.tsv has no text in 'sentence2'"),
        (("80", "a", "b", "2"), "line 82 of train.tsv has the label '2'"),
    ],
)
def test_a_bad_row_is_named_or_skipped(rte, row, reason):
    write_tsv(rte / "train.tsv", [*rte_rows(80), row])
    with pytest.raises(DataError, match=reason):
        glue(str(rte))
    task = glue(str(rte), on_error="skip")
    assert list(task.info["skipped"]) == ["line 82 of train.tsv"]


def test_repeated_keys_are_named(rte):
    write_tsv(rte / "train.tsv", [*rte_rows(80), *rte_rows(1)])
    with pytest.raises(DataError, match=r"'train/0'; make them unique"):
        glue(str(rte))


def test_one_class_is_refused(rte):
    write_tsv(rte / "train.tsv", [(*row[:3], CLASSES[0]) for row in rte_rows(80)])
    with pytest.raises(DataError, match="no row of class 'not_entailment'"):
        glue(str(rte))


def test_too_few_labels(rte):
    with pytest.raises(DataError, match="lower labels_per_class"):
        glue(str(rte), labels_per_class=60)
    with pytest.raises(ConfigError, match="at least 1"):
        glue(str(rte), labels_per_class=0)


def test_wrong_names(rte, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'rte'"):
        glue(str(rte), task="rtee")
    with pytest.raises(UnknownNameError, match="no column 'question1'"):
        glue(str(rte), task="qqp")
    with pytest.raises(UnknownNameError, match="emoji:DIR"):
        glue(str(rte), illustrate="photos")
    with pytest.raises(DataError, match=r"holds no train\.tsv"):
        glue(str(emoji_folder(tmp_path / "pictures")))
    with pytest.raises(DataError, match="is a file"):
        glue(str(rte / "train.tsv"))
