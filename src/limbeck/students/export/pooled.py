"""A pooled text student as a folder of sentence-transformers: an encoder of transformers, pooling, a linear layer.

``config.json`` and ``model.safetensors`` are the encoder's, ``1_Pooling`` says what is taken of its states, ``2_Dense``
holds the head. Limbeck writes and reads these files itself; sentence-transformers is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from limbeck.errors import DataError, first_line
from limbeck.problems.base import Problem
from limbeck.students.export.program import WEIGHTS
from limbeck.students.export.strict_json import read_json, read_object
from limbeck.students.foreign import refuse_extras
from limbeck.students.pooled import PooledClassifier
from limbeck.students.pretrained import quietly, shipped_encoder

POOLED = "SentenceTransformer"
_POOLING, _HEAD = "1_Pooling/config.json", "2_Dense/config.json"
_MODES = {
    "mean": "pooling_mode_mean_tokens",
    "last": "pooling_mode_lasttoken",
    "cls": "pooling_mode_cls_token",
}
_PARTS = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"))
_MODULES = [
    {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
    for i, (path, name) in enumerate(_PARTS)
]


def save_pooled(model: PooledClassifier, folder: Path, max_length: int | None) -> None:
    """Write the encoder, how it is pooled, and the head.

    Args:
        max_length: of texts, in tokens, at which sentence-transformers cuts; None = as the tokenizer says.
    """
    model.encoder.config.__dict__.pop("auto_map", None)  # the class is transformers' own
    with quietly():
        model.encoder.save_pretrained(folder)
    n_outputs, width = model.head.weight.shape
    modes = {name: mode == model.pooling for mode, name in _MODES.items()}
    # sentence-transformers asks for all of its settings
    others = dict.fromkeys(
        ("pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens"),
        False,
    )
    files = {
        "modules.json": _MODULES,
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        _POOLING: {"word_embedding_dimension": width, **modes, **others, "include_prompt": True},
        _HEAD: {
            "in_features": width,
            "out_features": n_outputs,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    head = {f"linear.{name}": value.contiguous() for name, value in model.head.state_dict().items()}
    save_file(head, folder / "2_Dense" / WEIGHTS, metadata={"format": "pt"})


def load_pooled(folder: Path, asked: Problem) -> PooledClassifier:
    """The student of a folder, in evaluation mode; nothing that it names is imported.

    Raises: DataError for a folder that holds another model, or more than plain settings and weights.
    """
    if read_json(folder / "modules.json") != _MODULES:
        raise DataError(f"{folder / 'modules.json'} is not as limbeck wrote it; export the student again.")
    refuse_extras(folder)
    pooling, head = pooling_of(folder), _head(folder)
    encoder = shipped_encoder(folder)
    width = encoder.config.get_text_config().hidden_size
    n_outputs = 1 if asked.chooses else len(head["bias"])
    if head["weight"].shape != (n_outputs, width) or head["weight"].dtype not in (
        torch.float32,
        torch.bfloat16,
    ):
        raise DataError(
            f"The head in {folder / '2_Dense'} does not fit its encoder; export the student again."
        )
    model = PooledClassifier(encoder, pooling, n_outputs, choices=asked.chooses, dropout=0.0)
    model.head.to(head["weight"].dtype).load_state_dict(head)
    return model.eval().requires_grad_(False)


def run_pooled(folder: Path, asked: Problem) -> Callable[[dict[str, Tensor]], Tensor]:
    """The student of a folder as a function from inputs by name to logits; errors as :func:`load_pooled`."""
    model = load_pooled(folder, asked)

    def run(inputs: dict[str, Tensor]) -> Tensor:
        try:
            return model(**inputs)
        except Exception as error:  # a model raises what it likes
            reason = first_line(error)
            raise DataError(
                f"The student in {folder} cannot take these inputs ({reason}); give it some like those it was "
                "trained on."
            ) from error

    return run


def pooling_of(folder: Path) -> Any:
    """``mean``, ``last`` or ``cls``; DataError for settings that say another, or several."""
    settings = read_object(folder / _POOLING)
    found = [mode for mode, name in _MODES.items() if settings.get(name) is True]
    others = [name for name in settings if name.startswith("pooling_mode") and name not in _MODES.values()]
    if len(found) != 1 or any(settings[name] is not False for name in others):
        raise DataError(f"{folder / _POOLING} is not as limbeck wrote it; export the student again.")
    return found[0]


def _head(folder: Path) -> Mapping[str, Tensor]:
    path = folder / "2_Dense" / WEIGHTS
    try:
        found = {name.removeprefix("linear."): value for name, value in load_file(path).items()}
    except Exception as error:  # safetensors has its own error, and raises others
        raise DataError(f"{path} cannot be read ({error}); copy or export it again.") from error
    if found.keys() != {"weight", "bias"} or found["weight"].ndim != 2 or found["bias"].ndim != 1:
        raise DataError(f"{path} is no head; export the student again.")
    if len(found["weight"]) != len(found["bias"]) or found["weight"].dtype != found["bias"].dtype:
        raise DataError(f"{path} is no head; export the student again.")
    return found
