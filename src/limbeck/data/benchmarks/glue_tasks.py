"""The tasks of GLUE, BoolQ, CB, COPA and WiC of SuperGLUE, and HellaSwag, as data: columns, class names and files.

Columns are named as on the hub; ``aliases`` maps the names in the official files to them. Class names stand in the
order of the numbers that hub and files use.

Source: Wang et al., GLUE, ICLR 2019, arXiv 1804.07461; SuperGLUE, NeurIPS 2019, arXiv 1905.00537;
Zellers et al., HellaSwag, ACL 2019, arXiv 1905.07830, files of github.com/rowanz/hellaswag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HELD_OUT = {"test": ("dev", "validation", "val")}
HUB_GLUE, HUB_SUPERGLUE, HUB_HELLASWAG = "nyu-mll/glue", "aps/super_glue", "Rowan/hellaswag"


@dataclass(frozen=True)
class TextTask:
    """One task.

    Args:
        text, text_pair, choices: templates over the columns, of which one may hold a list of texts (``{endings[0]}``);
            ``text`` may be empty where there are choices.
        class_names: in the order of their numbers; for regression the one name of what is predicted.
        problem: ``classification``, ``regression`` or ``choice``, or with its official metric, as a recipe writes it.
        aliases: column name in the official files to the name used here.
        values: column to what its values read as in a template.
        held_out: role to the names its file or hub split may have; the official test has no labels.
        header: of official files that have none.
        group: a column, where the files have it, whose rows of one value are validation together; by default the first
            that a template names.
        hub: the repository on the hub; the task's name is its configuration, unless the repository is the task's.
    """

    class_names: tuple[str, ...]
    text: str = "{sentence1}"
    text_pair: str = "{sentence2}"
    choices: tuple[str, ...] = ()
    problem: str | Mapping[str, Any] = "classification"
    aliases: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    held_out: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: HELD_OUT)
    header: tuple[str, ...] | None = None
    group: str = ""
    hub: str = HUB_GLUE


_F1 = {"kind": "classification", "also": ["f1"], "decides": "f1"}
_MATTHEWS = {"kind": "classification", "also": ["matthews"], "decides": "matthews"}
ENTAILMENT = ("entailment", "not_entailment")

TEXT_TASKS: dict[str, TextTask] = {
    "cola": TextTask(
        ("unacceptable", "acceptable"),
        text="{sentence}",
        text_pair="",
        problem=_MATTHEWS,
        header=("source", "label", "star", "sentence"),
    ),
    "sst2": TextTask(("negative", "positive"), text="{sentence}", text_pair=""),
    "mrpc": TextTask(
        ("not_equivalent", "equivalent"),
        problem=_F1,
        aliases={"Quality": "label", "#1 String": "sentence1", "#2 String": "sentence2"},
    ),
    "qqp": TextTask(
        ("not_duplicate", "duplicate"),
        problem=_F1,
        text="{question1}",
        text_pair="{question2}",
        aliases={"is_duplicate": "label"},
    ),
    "stsb": TextTask(("score",), problem="regression", aliases={"score": "label"}),
    "mnli": TextTask(
        ("entailment", "neutral", "contradiction"),
        text="{premise}",
        text_pair="{hypothesis}",
        aliases={"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"},
        held_out={
            "test": ("dev_matched", "validation_matched"),
            "test_mismatched": ("dev_mismatched", "validation_mismatched"),
        },
    ),
    "qnli": TextTask(ENTAILMENT, text="{question}", text_pair="{sentence}"),
    "rte": TextTask(ENTAILMENT),
    "wnli": TextTask(("not_entailment", "entailment")),
    "boolq": TextTask(("false", "true"), text="{passage}", text_pair="{question}", hub=HUB_SUPERGLUE),
    "cb": TextTask(
        ("entailment", "contradiction", "neutral"),
        text="{premise}",
        text_pair="{hypothesis}",
        hub=HUB_SUPERGLUE,
    ),
    "copa": TextTask(
        ("choice1", "choice2"),
        text="{premise} {question}",
        text_pair="",
        choices=("{choice1}", "{choice2}"),
        problem="choice",
        values={"question": {"cause": "What was the cause?", "effect": "What happened as a result?"}},
        hub=HUB_SUPERGLUE,
    ),
    "wic": TextTask(("different", "same"), text="{word}: {sentence1}", hub=HUB_SUPERGLUE),
    "hellaswag": TextTask(
        ("ending1", "ending2", "ending3", "ending4"),
        text="{ctx}",
        text_pair="",
        choices=tuple(f"{{endings[{i}]}}" for i in range(4)),
        problem="choice",
        group="source_id",  # the video or article: it gives several contexts
        hub=HUB_HELLASWAG,
    ),
}
