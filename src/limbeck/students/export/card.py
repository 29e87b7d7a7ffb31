"""The model card of an exported student, with a snippet that works as printed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from limbeck.errors import ConfigError, nearest
from limbeck.problems.base import Problem
from limbeck.students.export.pooled import POOLED
from limbeck.students.export.program import CONSTANTS, PREPARING, PROGRAM
from limbeck.students.export.snippets import short_snippet, snippet

_CARD = """---
{front}---

# Student

{what}

It was trained with Limbeck, a library for distillation between modalities; how, stands under Provenance. This
folder holds the student alone: no weights of a teacher and no projectors of the training. Limbeck is not needed
to use it.

## Use

```python
{snippet}```
{short}
Inputs: {inputs}. `preprocessor.json` says how they are made from raw samples:

```json
{preprocessor}
```
{processor}
## Files

{files}

None of them holds code, and nothing in them is pickled. {safety}

## Provenance

```json
{provenance}
```
"""

_SAFETY = {
    True: """The snippet calls whatever
`program.json` names, so keep it for copies that you trust; `limbeck predict` calls known operators alone, so it
opens a stranger's copy too.""",
    False: """`limbeck predict` opens a
stranger's copy too: it refuses settings that would make transformers run anything of another's.""",
}

_PROGRAM_FILES = """- `program.json`: the model as a list of PyTorch operators
- `model.safetensors`: its weights, under the names that the model's own code has for them{constants}{preparing}
- `student.json`: class names, inputs, hashes
- `preprocessor.json`: how inputs are made"""
_PREPARING_FILES = """
- `preprocessing.json`, `preprocessing.safetensors`: from raw samples or pixels to inputs, as operators too"""

_TRANSFORMERS_FILES = """- `config.json`, `model.safetensors`: the model, for transformers{pooled}
- `student.json`: class names, inputs, hashes
- `preprocessor.json`: how inputs are made"""
_POOLED_FILES = """ (without its head)
- `modules.json`, `1_Pooling`, `2_Dense`: pooling and head, for sentence-transformers"""

SETTINGS = ("licence", "base_model", "datasets", "results")
UNKNOWN = "unknown"  # a licence that the hub knows
_TASKS = {
    ("text", "token_classes"): "token-classification",
    ("text", "generation"): "text-generation",
    ("text", "choice"): "multiple-choice",
    ("text", "embedding"): "sentence-similarity",
    ("text", ""): "text-classification",
    ("image", "classification"): "image-classification",
    ("image", "multilabel"): "image-classification",
    ("image", "segmentation"): "image-segmentation",
    ("image", "embedding"): "image-feature-extraction",
    ("log_mel", "classification"): "audio-classification",
    ("log_mel", "multilabel"): "audio-classification",
    ("table", "classification"): "tabular-classification",
    ("table", "regression"): "tabular-regression",
}
_METRICS = {"macro_f1": "f1", "pearson": "pearsonr"}  # as the hub calls them


def check_card(card: Mapping[str, Any]) -> None:
    """ConfigError for a setting of a card that there is not, or that is of another type."""
    for name, value in card.items():
        if name not in SETTINGS:
            raise ConfigError(f"A card has no setting {name!r}; {nearest(name, SETTINGS)}")
        is_list = isinstance(value, list)
        of_texts = all(isinstance(part, str) for part in value) if is_list else isinstance(value, str)
        if name != "results" and (not of_texts or (name == "licence" and is_list) or not value):
            wanted = "a text" if name == "licence" else "a text or a list of texts"
            raise ConfigError(f"card.{name} is {value!r}; give {wanted}.")


def model_card(
    info: Mapping[str, Any],
    asked: Problem,
    preprocessor: Mapping[str, Any],
    provenance: Mapping[str, Any],
    card: Mapping[str, Any],
    pooling: str | None = None,
) -> str:
    """README.md of an export.

    Args:
        info: what ``student.json`` holds.    asked: what the student answers.    preprocessor, provenance: JSON-able.
        card: what the user says of it, see :func:`front_matter`.    pooling: of a pooled text student.
    """
    is_program, is_pooled = info["loads_with"] == PROGRAM, info["loads_with"] == POOLED
    inputs = ", ".join(f"`{k}` {v['dtype']} {v['shape']}".replace("'", "") for k, v in info["inputs"].items())
    processor = (
        "\nThe processor's own files lie beside it, for `transformers.AutoProcessor` or `AutoTokenizer`.\n"
    )
    constants = (
        "\n- `constants.safetensors`: fixed tensors that it reads" if CONSTANTS in info["sha256"] else ""
    )
    preparing = _PREPARING_FILES if PREPARING in info["sha256"] else ""
    short = short_snippet(info, asked, preprocessor, task_of(asked, preprocessor))
    return _CARD.format(
        front=front_matter(info, asked, preprocessor, card),
        what=asked.title.format(n=len(asked.names), names=", ".join(asked.names)),
        snippet=snippet(info, asked, preprocessor, pooling),
        short=f"\nOr in short:\n\n```python\n{short}```\n" if short else "",
        inputs=inputs,
        preprocessor=json.dumps(preprocessor, indent=2),
        processor=processor if info["has_processor"] else "",
        files=_PROGRAM_FILES.format(constants=constants, preparing=preparing)
        if is_program
        else _TRANSFORMERS_FILES.format(pooled=_POOLED_FILES if is_pooled else ""),
        safety=_SAFETY[is_program],
        provenance=json.dumps(provenance, indent=2),
    )


def front_matter(
    info: Mapping[str, Any], asked: Problem, preprocessor: Mapping[str, Any], card: Mapping[str, Any]
) -> str:
    """The YAML at the head of the card, as the Hugging Face hub reads it.

    Args:
        card: ``licence`` (default unknown), ``base_model`` and ``datasets`` (hub ids), and ``results``, rows with
            ``dataset``, ``split``, ``metric``, ``value``.
    """
    from huggingface_hub import EvalResult, ModelCardData

    task = task_of(asked, preprocessor)
    results = [
        EvalResult(
            task_type=task or asked.kind,
            dataset_type=_slug(row["dataset"]),
            dataset_name=row["dataset"],
            dataset_split=row["split"],
            metric_type=_METRICS.get(row["metric"], row["metric"]),
            metric_value=row["value"],
        )
        for row in card.get("results", ())
    ]
    licence = str(card.get("licence", UNKNOWN))
    is_short = re.fullmatch(r"[a-z][a-z0-9.\-]*", licence) is not None
    data = ModelCardData(
        license=licence if is_short else "other",
        license_name=None if is_short else _slug(licence),
        library_name={PROGRAM: "pytorch", POOLED: "sentence-transformers"}.get(
            info["loads_with"], "transformers"
        ),
        pipeline_tag=task,
        base_model=card.get("base_model"),
        datasets=card.get("datasets"),
        metrics=sorted({_METRICS.get(metric.name, metric.name) for metric in asked.metrics}),
        tags=["limbeck", "knowledge-distillation"],
        model_name="student" if results else None,
        eval_results=results or None,
    )
    return data.to_yaml() + "\n"


def task_of(asked: Problem, preprocessor: Mapping[str, Any]) -> str | None:
    """The hub's name of what the student does; None where it has none."""
    kind = str(preprocessor.get("kind"))
    return _TASKS.get((kind, asked.kind), _TASKS.get((kind, "")))


def _slug(name: str) -> str:
    return re.sub(r"[^\w.\-/]+", "-", name.strip().lower()).strip("-") or UNKNOWN
