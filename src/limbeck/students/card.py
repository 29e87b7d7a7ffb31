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
inputs = {{{examples}}}  # yours come here
with torch.no_grad():
    probabilities = {call}.softmax(-1)
for row in probabilities.flatten(0, -2).tolist():
    print({{name: round(share, 3) for name, share in zip(class_names, row)}})
"""

_CARD = """---
library_name: {library}
tags:
- limbeck
- knowledge-distillation
---

# Student

A classifier of {n_classes} classes: {class_names}.

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
    return _CARD.format(
        library="pytorch" if traced else "transformers",
        n_classes=len(info["class_names"]),
        class_names=", ".join(info["class_names"]),
        snippet=_snippet(info),
        inputs=inputs,
        preprocessor=json.dumps(preprocessor, indent=2),
        processor=processor if info["has_processor"] else "",
        files=_TRACED_FILES if traced else _TRANSFORMERS_FILES,
        provenance=json.dumps(provenance, indent=2),
    )


def _snippet(info: Mapping[str, Any]) -> str:
    auto = info["loads_with"]
    traced = auto == TRACED
    return _SNIPPET.format(
        imports="" if traced else f"\nfrom transformers import {auto}",
        load='torch.export.load(str(folder / "student.pt2")).module()'
        if traced
        else f"{auto}.from_pretrained(folder).eval()",
        examples=", ".join(f'"{name}": {_example(spec)}' for name, spec in info["inputs"].items()),
        call="model(inputs)" if traced else "model(**inputs).logits",
    )


def _example(spec: Mapping[str, Any]) -> str:
    shape = ", ".join("1" if size == "rows" else str(size) for size in spec["shape"])
    return f"torch.ones({shape}, dtype=torch.{spec['dtype']})"
