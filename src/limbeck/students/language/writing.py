"""What a language model writes to prompts, likeliest tokens or drawn ones.

Axis legend: n prompts, l tokens of a prompt, W tokens written, V tokens of the vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.seeding import keyed_seed

ROWS = 64  # prompts written to at once
NOTHING = -1  # behind the end of an answer


@torch.no_grad()
def written(
    model: nn.Module,
    prompts: Sequence[Tensor],
    *,
    max_new_tokens: int,
    ends: Sequence[int],
    vocabulary: int = 0,
    temperature: float = 0.0,
    seed: int = 0,
    rows: int = ROWS,
) -> Tensor:
    """``[n, max_new_tokens]`` int64: the answers of a transformers model, each with its end, -1 behind.

    Prompts of like length are written to together, padded on the left. The model is put in evaluation mode meanwhile,
    and torch's generators stay where they were.

    Args:
        prompts: ``[l_i]`` each, at least one token.    ends: tokens at which an answer is over.
        vocabulary: only the first so many tokens are written; 0 = all.
        temperature: at which tokens are drawn; 0 = the likeliest each time.    seed: of the draws.
    Raises: ConfigError for a model that cannot write.
    """
    if not callable(getattr(model, "generate", None)):
        raise ConfigError(
            f"{type(model).__name__} cannot write: answers are written by a transformers language model; take "
            "'hf:PATH' or 'causal_lm:PATH', or score by nll alone (leave exact_match and rouge_l out of also)."
        )
    device = next(model.parameters()).device
    found = torch.full((len(prompts), max_new_tokens), NOTHING, dtype=torch.long, device=device)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    settings = _settings(max_new_tokens, ends, temperature)
    with _as_it_was(model, device):
        torch.manual_seed(keyed_seed(seed, "writing"))
        for first in range(0, len(order), rows):
            part = order[first : first + rows]
            ids, mask = _padded_left([prompts[i].to(device) for i in part], ends[0])
            answer = _generated(model, ids, mask, settings, vocabulary)[:, ids.shape[1] :]
            found[torch.tensor(part, device=device), : answer.shape[1]] = _without_rest(answer, ends)
    return found


def _settings(max_new_tokens: int, ends: Sequence[int], temperature: float) -> Any:
    from transformers import GenerationConfig

    drawn = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=temperature > 0,
        eos_token_id=list(ends),
        pad_token_id=ends[0],  # behind an end, where nothing is read
        use_cache=True,
        **drawn,
    )


def _generated(model: Any, ids: Tensor, mask: Tensor, settings: Any, vocabulary: int) -> Tensor:
    from transformers import LogitsProcessorList

    def within(_: Tensor, scores: Tensor) -> Tensor:
        if not 0 < vocabulary < scores.shape[-1]:
            return scores
        beyond = torch.arange(scores.shape[-1], device=scores.device) >= vocabulary
        return scores.masked_fill(beyond, -torch.inf)

    return model.generate(
        ids,
        attention_mask=mask,
        generation_config=settings,
        logits_processor=LogitsProcessorList([within]),
    )


def _padded_left(prompts: Sequence[Tensor], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(len(prompt) for prompt in prompts)
    ids = prompts[0].new_full((len(prompts), longest), pad)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = prompt
        mask[row, longest - len(prompt) :] = 1
    return ids, mask


def _without_rest(answers: Tensor, ends: Sequence[int]) -> Tensor:
    """With -1 behind the first end of each answer ``[n, W]``."""
    is_end = torch.isin(answers, torch.tensor(list(ends), device=answers.device))
    over = is_end.cumsum(1) - is_end.long() > 0
    return answers.masked_fill(over, NOTHING)


@contextlib.contextmanager
def _as_it_was(model: Any, device: torch.device) -> Iterator[None]:
    """The model in evaluation mode and with its own generation settings set aside; all as before afterwards."""
    from transformers import GenerationConfig

    flags, own = [(m, m.training) for m in model.modules()], model.generation_config
    devices = [device.index or 0] if device.type == "cuda" else []
    model.eval()
    model.generation_config = GenerationConfig()  # a checkpoint's penalties and forced tokens are not ours
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        model.generation_config = own
        for module, flag in flags:
            module.training = flag
