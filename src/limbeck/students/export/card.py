"""The model card of an exported student, with a snippet that works as printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from limbeck.problems.base import Problem
from limbeck.students.export.program import CONSTANTS, PROGRAM

_SNIPPET = """{imports}

folder = Path(".")  # where this file lies
{load}
class_names = json.loads((folder / "student.json").read_text(encoding="utf-8"))["class_names"]
{inputs}
with torch.no_grad():
    {result}
{show}
"""

# What runs program.json without limbeck; limbeck.students.export.program does it with checks.
_PROGRAM = """program = json.loads((folder / "program.json").read_text(encoding="utf-8"))
weights = {name: value for path in folder.glob("*.safetensors") for name, value in load_file(path).items()}


def model(inputs):
    known = {"input": inputs, "weight": weights, "value": {}}

    def made(argument):
        if isinstance(argument, list):
            return [made(part) for part in argument]
        if not isinstance(argument, dict):
            return argument
        ((kind, name),) = argument.items()
        if kind in known:
            return known[kind][name]
        return torch.device(name) if kind == "device" else float(name) if kind == "float" else getattr(torch, name)

    for step in program["steps"]:
        kind, *names = step["call"].split(".")
        if kind == "aten":
            call = getattr(getattr(torch.ops.aten, names[0]), names[1])
        elif kind == "item":
            call = operator.getitem
        else:
            call = next(getattr(m, names[0]) for m in (operator, math, builtins) if hasattr(m, names[0]))
        options = {name: made(argument) for name, argument in step["options"].items()}
        known["value"][step["name"]] = call(*map(made, step["args"]), **options)
    return known["value"][program["output"]]

"""

_TENSORS = "inputs = {{{examples}}}  # yours come here"

# What limbeck reads, in the order in which it gives it to the tokenizer; a row of each.
_TEXTS = """tokenizer = AutoTokenizer.from_pretrained(folder)
texts = {texts}  # yours come here
tokens = tokenizer(*texts, truncation=True, max_length={max_length}, padding=True, return_tensors="pt")
inputs = {{name: tokens[name]{choices} for name in {names}}}"""

_SHOW = """for row in predictions.flatten(0, -2).tolist():
    print({name: round(value, 3) for name, value in zip(class_names, row)})"""

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
- `model.safetensors`: its weights, under the names that the model's own code has for them{constants}
- `student.json`: class names, inputs, hashes
- `preprocessor.json`: how inputs are made"""

_TRANSFORMERS_FILES = """- `config.json`, `model.safetensors`: the model, for transformers
- `student.json`: class names, inputs, hashes
- `preprocessor.json`: how inputs are made"""


def model_card(
    info: Mapping[str, Any], asked: Problem, preprocessor: Mapping[str, Any], provenance: Mapping[str, Any]
) -> str:
    """README.md of an export.

    Args:
        info: what ``student.json`` holds.    asked: what the student answers.    preprocessor, provenance: JSON-able.
    """
    is_program = info["loads_with"] == PROGRAM
    inputs = ", ".join(f"`{k}` {v['dtype']} {v['shape']}".replace("'", "") for k, v in info["inputs"].items())
    processor = (
        "\nThe processor's own files lie beside it, for `transformers.AutoProcessor` or `AutoTokenizer`.\n"
    )
    constants = (
        "\n- `constants.safetensors`: fixed tensors that it reads" if CONSTANTS in info["sha256"] else ""
    )
    return _CARD.format(
        library="pytorch" if is_program else "transformers",
        what=asked.title.format(n=len(asked.names), names=", ".join(asked.names)),
        snippet=_snippet(info, asked, preprocessor),
        inputs=inputs,
        preprocessor=json.dumps(preprocessor, indent=2),
        processor=processor if info["has_processor"] else "",
        files=_PROGRAM_FILES.format(constants=constants) if is_program else _TRANSFORMERS_FILES,
        safety=_SAFETY[is_program],
        provenance=json.dumps(provenance, indent=2),
    )


def _snippet(info: Mapping[str, Any], asked: Problem, preprocessor: Mapping[str, Any]) -> str:
    auto, is_text = info["loads_with"], preprocessor.get("kind") == "text"
    is_program = auto == PROGRAM
    call = "model(inputs)" if is_program else "model(**inputs).logits"
    if auto.endswith("SemanticSegmentation"):
        call += ".movedim(1, -1)"
    return _SNIPPET.format(
        imports=_imports(auto, is_program, is_text),
        load=_PROGRAM if is_program else f"model = {auto}.from_pretrained(folder).eval()",
        inputs=_texts(info, preprocessor) if is_text else _tensors(info),
        result=f"predictions = {call}.float(){asked.turned}",
        show=_SHOW
        if asked.reading in ("classifier", "positions")
        else "print(predictions.shape, predictions)",
    )


def _imports(auto: str, is_program: bool, is_text: bool) -> str:
    own = ["json", "pathlib"] if not is_program else ["builtins", "json", "math", "operator", "pathlib"]
    lines = ["from pathlib import Path" if name == "pathlib" else f"import {name}" for name in own]
    lines += ["", "import torch"]
    if is_program:
        lines.append("from safetensors.torch import load_file")
    if needed := [name for name, used in ((auto, not is_program), ("AutoTokenizer", is_text)) if used]:
        lines.append(f"from transformers import {', '.join(sorted(needed))}")
    return "\n".join(lines)


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
