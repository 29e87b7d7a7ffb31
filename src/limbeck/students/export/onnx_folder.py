"""What lies beside ``model.onnx``: how its inputs are made, and a snippet that needs no torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from limbeck.students.export.exported import ExportedStudent
from limbeck.students.export.info import PREPROCESSOR

ONNX_INFO = "onnx.json"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")

_CARD = """# Student, for onnxruntime

{what} It was exported from a student that Limbeck trained; torch is not needed to use it.

```python
{snippet}```

`onnx.json` has class names, inputs and outputs; `preprocessor.json` says how inputs are made from raw samples.
"""
_SNIPPET = """import json
from pathlib import Path

import numpy as np
import onnxruntime
{imports}
folder = Path(".")  # where this file lies
session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
{inputs}
(outputs,) = session.run(None, inputs)
class_names = json.loads((folder / "onnx.json").read_text(encoding="utf-8"))["class_names"]
for row in outputs.reshape(-1, outputs.shape[-1]).tolist():
    print(dict(zip(class_names, row)))  # {meant}
"""
_TEXTS = """tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation({max_length})
row = tokenizer.encode({texts})  # yours come here
known = {{"input_ids": row.ids, "attention_mask": row.attention_mask, "token_type_ids": row.type_ids}}
inputs = {{part.name: np.array([known[part.name]], dtype=np.int64) for part in session.get_inputs()}}"""


def write_onnx_folder(source: Path, folder: Path, student: ExportedStudent) -> None:
    """The settings of the student in ``source``, its tokenizer's files, and a README."""
    info = {
        "class_names": list(student.class_names),
        "problem": student.problem.spec(),
        "inputs": student.info["inputs"],
        "output": "logits" if student.problem.reading in ("classifier", "positions") else "prediction",
        "provenance": student.info.get("provenance", {}),
    }
    (folder / ONNX_INFO).write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in (PREPROCESSOR, *_TOKENIZER):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    what = student.problem.title.format(n=len(student.class_names), names=", ".join(student.class_names))
    (folder / "README.md").write_text(
        _CARD.format(what=what, snippet=_snippet(folder, student)), encoding="utf-8"
    )


def _snippet(folder: Path, student: ExportedStudent) -> str:
    settings = student.preprocessor
    columns = {"text": '"a text"', "text_pair": '"another text"'}
    is_text = settings.get("kind") == "text" and set(settings["columns"]) <= set(columns)
    if is_text and (folder / "tokenizer.json").is_file():
        texts = ", ".join(columns[name] for name in settings["columns"])
        inputs = _TEXTS.format(max_length=settings["max_length"], texts=texts)
    else:
        examples = (
            f'"{name}": np.ones(({"".join("1, " if n == "rows" else f"{n}, " for n in spec["shape"])}), '
            f'dtype="{spec["dtype"]}")'
            for name, spec in student.info["inputs"].items()
        )
        inputs = f"inputs = {{{', '.join(examples)}}}  # yours come here"
    return _SNIPPET.format(
        imports="from tokenizers import Tokenizer\n" if "Tokenizer" in inputs else "",
        inputs=inputs,
        meant="logits" if student.problem.reading in ("classifier", "positions") else "what it predicts",
    )
