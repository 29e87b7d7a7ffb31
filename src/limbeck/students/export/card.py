"""The model card of an exported student, with a snippet that works as printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TRACED = "torch.export"

_SNIPPET = """import json
from pathlib import Path

import torch{imports}

folder = Path(".")  # where this file lies
model = {load}
class_names = json.loads((folder / "student.json").read_text(encoding="utf-8"))["class_names"]
{inputs}
with torch.no_grad():
    {result}
{show}
"""

_TENSORS = "inputs = {{{examples}}}  # yours come here"

# What limbeck reads, in the order in which it gives it to the tokenizer; a row of each.
_TEXTS = """tokenizer = AutoTokenizer.from_pretrained(folder)
texts = {texts}  # yours come here
tokens = tokenizer(*texts, truncation=True, max_length={max_length}, padding=True, return_tensors="pt")
inputs = {{name: tokens[name]{choices} for name in {names}}}"""

_PROBABILITIES = """for row in probabilities.flatten(0, -2).tolist():
    print({name: round(share, 3) for name, share in zip(class_names, row)})"""
_VALUES = """for (value,) in values.tolist():
    print({class_names[0]: round(value, 3)})"""

_CARD = """---
library_name: {library}
tags:
- limbeck
- knowledge-distillation
---

# Student

{what}

It was trained with Limbeck, a library for distillation between modalities; how, stands under Provenance. This
folder holds the student alone: no weights of a teacher and no projectors of the training. Limbeck is not needed
to use it.

## Use

```python
{snippet}```

Inputs: {inputs}. `preprocessor.json` says how they are made from raw samples:

```json
{preprocessor}
```
{processor}
## Files

{files}

As with any model file, load only copies that you trust: a tampered archive could make its loader run code. As
written, this one holds plain weights and no pickled objects.

## Provenance

```json
{provenance}
```
"""

_WHAT = {
    "classification": "A classifier of {n} classes: {names}.",
    "choice": "A multiple-choice model: it scores the {n} choices of a row ({names}).",
    "regression": "A regression model: it predicts one value, {names}.",
}

_TRACED_FILES = """- `student.pt2`: the model as a program, for `torch.export.load`, which needs torch alone
- `model.safetensors`: the same weights by name, for those who have the model's code
- `student.json`: class names, inputs, hashes
- `preprocessor.json`: how inputs are made"""

_TRANSFORMERS_FILES = """- `config.json`, `model.safetensors`: the model, for transformers
- `student.json`: class names, inputs, hashes
- `preprocessor.json`: how inputs are made"""


def model_card(
    info: Mapping[str, Any], preprocessor: Mapping[str, Any], provenance: Mapping[str, Any]
) -> str:
    """README.md of an export.

    Args:
        info: what ``student.json`` holds.    preprocessor, provenance: JSON-able.
    """
    traced = info["loads_with"] == TRACED
    inputs = ", ".join(f"`{k}` {v['dtype']} {v['shape']}".replace("'", "") for k, v in info["inputs"].items())
    processor = (
        "\nThe processor's own files lie beside it, for `transformers.AutoProcessor` or `AutoTokenizer`.\n"
    )
    names = info["class_names"]
    return _CARD.format(
        library="pytorch" if traced else "transformers",
        what=_WHAT[info["problem"]].format(n=len(names), names=", ".join(names)),
        snippet=_snippet(info, preprocessor),
        inputs=inputs,
        preprocessor=json.dumps(preprocessor, indent=2),
        processor=processor if info["has_processor"] else "",
        files=_TRACED_FILES if traced else _TRANSFORMERS_FILES,
        provenance=json.dumps(provenance, indent=2),
    )


def _snippet(info: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> str:
    auto, is_text = info["loads_with"], preprocessor.get("kind") == "text"
    traced, regression = auto == TRACED, info["problem"] == "regression"
    needed = [name for name, used in ((auto, not traced), ("AutoTokenizer", is_text)) if used]
    call = "model(inputs)" if traced else "model(**inputs).logits"
    return _SNIPPET.format(
        imports=f"\nfrom transformers import {', '.join(sorted(needed))}" if needed else "",
        load='torch.export.load(str(folder / "student.pt2")).module()'
        if traced
        else f"{auto}.from_pretrained(folder).eval()",
        inputs=_texts(info, preprocessor) if is_text else _tensors(info),
        result=f"values = {call}" if regression else f"probabilities = {call}.float().softmax(-1)",
        show=_VALUES if regression else _PROBABILITIES,
    )


def _tensors(info: Mapping[str, Any]) -> str:
    examples = (f'"{name}": {_example(spec)}' for name, spec in info["inputs"].items())
    return _TENSORS.format(examples=", ".join(examples))


def _example(spec: Mapping[str, Any]) -> str:
    shape = ", ".join("1" if size == "rows" else str(size) for size in spec["shape"])
    return f"torch.ones({shape}, dtype=torch.{spec['dtype']})"


def _texts(info: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> str:
    """The lines of a snippet that make the inputs of one row of texts."""
    columns = preprocessor.get("columns", ["text"])
    samples = {"text": ["a text"], "text_pair": ["another text"]}
    if "choices" in columns:
        n = len(info["class_names"])
        samples = {"text": ["what they share"] * n, "choices": [f"choice {i + 1}" for i in range(n)]}
    return _TEXTS.format(
        texts=json.dumps([values for name, values in samples.items() if name in columns]),
        max_length=preprocessor["max_length"],
        choices="[None]" if "choices" in columns else "",
        names=json.dumps(list(info["inputs"])),
    )
