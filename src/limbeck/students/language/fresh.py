"""A new language model for a tokenizer of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from limbeck.errors import ConfigError, LimbeckError, UnknownNameError, first_line, nearest
from limbeck.students.text import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FRESH = "causal_lm:"
KINDS = ("llama", "gpt2")
# What a new model is, unless its config says otherwise; by the names that both kinds of configuration know.
_SIZES: Mapping[str, Any] = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


def fresh_causal_lm(path: str, settings: Mapping[str, Any], dtype: torch.dtype) -> PreTrainedModel:
    """A causal language model with weights drawn from torch's generator.

    Args:
        path: folder (or hub id) of its tokenizer.
        settings: ``kind``, ``llama`` (default) or ``gpt2``, and settings of that configuration: ``hidden_size``,
            ``num_hidden_layers``, ``num_attention_heads``, ``intermediate_size``, ``tie_word_embeddings`` ...
    Raises: UnknownNameError for a kind or setting that does not exist; ConfigError for sizes that do not go together.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer, values = load_tokenizer(path), dict(settings)
    kind = str(values.pop("kind", KINDS[0]))
    if kind not in KINDS:
        raise UnknownNameError(f"There is no new language model of the kind {kind!r}; {nearest(kind, KINDS)}")
    config = AutoConfig.for_model(kind)
    for name in values:
        if name.startswith("_") or not hasattr(config, name):
            raise UnknownNameError(f"A new {kind} has no setting {name!r}; {nearest(name, config.to_dict())}")
    whole = {**_SIZES, **values, "vocab_size": values.get("vocab_size", len(tokenizer))}
    if kind == "llama" and "intermediate_size" not in values:
        whole["intermediate_size"] = 4 * int(whole["hidden_size"])
    tokens = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    try:
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **whole, **tokens))
    except LimbeckError:
        raise
    except Exception as error:  # transformers raises what the kind makes of its settings
        reason = first_line(error)
        raise ConfigError(
            f"No {kind} can be made with {', '.join(f'{n}={v!r}' for n, v in values.items())} ({reason}); give other "
            "values, or leave them out."
        ) from error
    model.config.use_cache = False
    return model.to(dtype)
