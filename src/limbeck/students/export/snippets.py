"""The snippets of a model card, which work as printed where limbeck is not installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from limbeck.problems.base import Problem
from limbeck.students.export.pooled import POOLED
from limbeck.students.export.program import CONSTANTS, PREPARING, PROGRAM

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
_RUNNER = """

def program(name, *weights_in):
    steps = json.loads((folder / name).read_text(encoding="utf-8"))
    weights = {name: value for path in weights_in for name, value in load_file(folder / path).items()}

    def run(inputs):
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

        for step in steps["steps"]:
            kind, *names = step["call"].split(".")
            if kind == "aten":
                call = getattr(getattr(torch.ops.aten, names[0]), names[1])
            elif kind == "item":
                call = operator.getitem
            else:
                call = next(getattr(m, names[0]) for m in (operator, math, builtins) if hasattr(m, names[0]))
            options = {name: made(argument) for name, argument in step["options"].items()}
            known["value"][step["name"]] = call(*map(made, step["args"]), **options)
        return known["value"][steps["output"]]

    return run


model = program({weights_of_model})"""
_PREPARE = '\nprepare = program("preprocessing.json", "preprocessing.safetensors")'

# A pooled text student by transformers alone.
_POOLED = """encoder = AutoModel.from_pretrained(folder).eval()
head = load_file(folder / "2_Dense" / "model.safetensors")


def model(inputs):
    flat = {{name: value.flatten(0, -2) for name, value in inputs.items()}}
    states, shown = encoder(**flat).last_hidden_state, flat["attention_mask"]
    {pooled}
    return torch.nn.functional.linear(pooled.to(states.dtype), head["linear.weight"], head["linear.bias"])

"""
_POOLED_BY = {
    "mean": "pooled = (states.float() * shown[..., None]).sum(1) / shown.sum(1, keepdim=True)",
    "last": "pooled = states[torch.arange(len(states)), shown.sum(1) - 1]",
    "cls": "pooled = states[:, 0]",
}

_TENSORS = "inputs = {{{examples}}}  # yours come here"

# What limbeck reads, in the order in which it gives it to the tokenizer; a row of each.
_TEXTS = """tokenizer = AutoTokenizer.from_pretrained(folder)
texts = {texts}  # yours come here
tokens = tokenizer(*texts, truncation=True, max_length={max_length}, padding=True, return_tensors="pt")
inputs = {{name: tokens[name]{choices} for name in {names}}}"""

_SOUND = """samples, rate = soundfile.read(folder / "clip.wav", dtype="float32", always_2d=True)  # yours comes here
samples, common = samples.mean(1), math.gcd(rate, {rate})
if rate != {rate}:
    samples = resample_poly(samples, {rate} // common, rate // common)
inputs = {{"{name}": prepare({{"samples": torch.tensor(samples, dtype=torch.float32)[None]}})}}"""

_PICTURE = """picture = ImageOps.exif_transpose(Image.open(folder / "picture.png")).convert("RGB")  # yours comes here
"""
_PIXELS = 'inputs = {{"{name}": prepare({{"pixels": torch.tensor(np.array(picture))[None]}})}}'
_PROCESSED = """processor = AutoImageProcessor.from_pretrained(folder)
inputs = {{"{name}": processor(picture, return_tensors="pt")["pixel_values"]}}"""

_TABLE = """settings = json.loads((folder / "preprocessor.json").read_text(encoding="utf-8"))
with open(folder / "table.csv", newline="", encoding="utf-8") as file:  # yours comes here
    rows = [[float(row[column]) for column in settings["columns"]] for row in csv.DictReader(file)]
inputs = {{"{name}": (torch.tensor(rows) - torch.tensor(settings["mean"])) / torch.tensor(settings["deviation"])}}"""

_SHOW = """for row in predictions.flatten(0, -2).tolist():
    print({name: round(value, 3) for name, value in zip(class_names, row)})"""

# A student that writes; its generation config says the rest.
_WRITER = """from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # where this file lies
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder).eval()
{tokens}
written = model.generate(**tokens)[0, tokens["input_ids"].shape[1] :]
print(tokenizer.decode(written, skip_special_tokens=True))
"""
_PLAIN_PROMPT = (
    """tokens = tokenizer("a prompt", return_tensors="pt", return_token_type_ids=False)  # yours comes here"""
)
_CHAT_PROMPT = """messages = {messages}  # yours come here
tokens = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")"""

_PIPELINE = """from transformers import pipeline

print(pipeline("{task}", "path/to/this/folder"{more})("{sample}"))
"""
_EMBED = """from sentence_transformers import SentenceTransformer

print(SentenceTransformer("path/to/this/folder").encode(["a text"]))  # {what}
"""


def snippet(
    info: Mapping[str, Any], asked: Problem, preprocessor: Mapping[str, Any], pooling: str | None
) -> str:
    """Python that asks the student in the folder where it stands.

    Args:
        info: what ``student.json`` holds.    pooling: of a student that sentence-transformers opens.
    """
    if asked.writes:
        return _writer(asked.spec())
    auto, raw = info["loads_with"], _raw(info, preprocessor)
    call = "model(inputs)" if auto in (PROGRAM, POOLED) else "model(**inputs).logits"
    if auto.endswith("SemanticSegmentation"):
        call += ".movedim(1, -1)"
    if auto == POOLED and asked.chooses:
        call += f".view(-1, {len(asked.names)})"
    return _SNIPPET.format(
        imports=_imports(auto, raw),
        load=_load(info, raw, pooling),
        inputs=_inputs(info, preprocessor, raw),
        result=f"predictions = {call}.float(){asked.turned}",
        show=_SHOW
        if asked.reading in ("classifier", "positions")
        else "print(predictions.shape, predictions)",
    )


def short_snippet(
    info: Mapping[str, Any], asked: Problem, preprocessor: Mapping[str, Any], task: str | None
) -> str:
    """The same in two lines by a library's own door, where there is one."""
    auto, kind = info["loads_with"], preprocessor.get("kind")
    if auto == POOLED:
        return _EMBED.format(
            what="its vectors" if asked.reading == "embedding" else f"{asked.kind}: raw outputs"
        )
    one_text = kind == "text" and preprocessor.get("columns") == ["text"]
    if one_text and auto.endswith(("SequenceClassification", "TokenClassification")):
        more = ", top_k=None" if task == "text-classification" else ""
        return _PIPELINE.format(task=task, sample="a text", more=more)
    if auto.endswith("ImageClassification") and info["has_processor"]:
        return _PIPELINE.format(task="image-classification", sample="picture.png", more="")
    return ""


def _writer(settings: Mapping[str, Any]) -> str:
    """The snippet of a student that writes, by the settings of its problem."""
    if not settings.get("chat"):
        return _WRITER.format(tokens=_PLAIN_PROMPT)
    system = [{"role": "system", "content": settings["system"]}] if settings.get("system") else []
    messages = json.dumps([*system, {"role": "user", "content": "a prompt"}])
    return _WRITER.format(tokens=_CHAT_PROMPT.format(messages=messages))


def _raw(info: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> str:
    """What the snippet reads: ``text``, ``sound``, ``picture``, ``processed`` (a picture, by transformers' processor),
    ``table``, or ``tensors``."""
    kind = preprocessor.get("kind")
    if kind == "text":
        return "text"
    if kind == "image" and info["has_processor"] and info["loads_with"].endswith("ImageClassification"):
        return "processed"
    if PREPARING in info["sha256"]:
        return {"log_mel": "sound", "image": "picture"}[str(kind)]
    if kind == "table" and all(name in preprocessor for name in ("columns", "mean", "deviation")):
        return "table"
    return "tensors"


def _load(info: Mapping[str, Any], raw: str, pooling: str | None) -> str:
    if info["loads_with"] == POOLED:
        return _POOLED.format(pooled=_POOLED_BY[str(pooling)])
    if info["loads_with"] != PROGRAM:
        return f"model = {info['loads_with']}.from_pretrained(folder).eval()"
    files = [PROGRAM, "model.safetensors", *([CONSTANTS] if CONSTANTS in info["sha256"] else [])]
    made = _RUNNER.replace("{weights_of_model}", ", ".join(f'"{name}"' for name in files))
    return made + (_PREPARE if raw in ("sound", "picture") else "")


def _imports(auto: str, raw: str) -> str:
    plain = {"json"} | ({"csv"} if raw == "table" else set()) | ({"math"} if raw == "sound" else set())
    if auto == PROGRAM:
        plain |= {"builtins", "math", "operator"}
    lines = [*(f"import {name}" for name in sorted(plain)), "from pathlib import Path", ""]
    lines += ["import numpy as np"] if raw == "picture" else []
    lines += ["import soundfile"] if raw == "sound" else []
    lines += ["import torch"]
    lines += ["from PIL import Image, ImageOps"] if raw in ("picture", "processed") else []
    lines += ["from safetensors.torch import load_file"] if auto in (PROGRAM, POOLED) else []
    lines += ["from scipy.signal import resample_poly"] if raw == "sound" else []
    named = {PROGRAM: [], POOLED: ["AutoModel"]}.get(auto, [auto])
    named = [*named, *{"text": ["AutoTokenizer"], "processed": ["AutoImageProcessor"]}.get(raw, [])]
    return "\n".join([*lines, *([f"from transformers import {', '.join(sorted(named))}"] if named else [])])


def _inputs(info: Mapping[str, Any], preprocessor: Mapping[str, Any], raw: str) -> str:
    name = next(iter(info["inputs"]))
    if raw == "text":
        return _texts(info, preprocessor)
    if raw == "tensors":
        examples = (f'"{name}": {_example(spec)}' for name, spec in info["inputs"].items())
        return _TENSORS.format(examples=", ".join(examples))
    known = {
        "sound": _SOUND,
        "picture": _PICTURE + _PIXELS,
        "processed": _PICTURE + _PROCESSED,
        "table": _TABLE,
    }
    return known[raw].format(name=name, rate=preprocessor.get("rate", 8000))


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
