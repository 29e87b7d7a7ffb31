"""What a language model makes of whole texts: their likelihood, or their place in its space of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from limbeck.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn


def causal_scores(model: nn.Module, tokenizer: Any, texts: Sequence[str], batch_size: int = 64) -> Tensor:
    """Log-likelihood of each text, ``[n]`` float32, in nats, after the start token where the tokenizer has one."""
    import torch

    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    rows = []
    for ids in tokenizer(list(texts))["input_ids"]:
        rows.append(ids if start is None or ids[0] == start else [start, *ids])
    scores = []
    for first in range(0, len(rows), batch_size):
        ids, mask = _padded(rows[first : first + batch_size], model)
        log_probs = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float().log_softmax(-1)
        taken = log_probs.gather(2, ids[:, 1:, None]).squeeze(2)
        scores.append((taken * mask[:, 1:]).sum(1))
    return torch.cat(scores).cpu()


def masked_scores(model: nn.Module, tokenizer: Any, texts: Sequence[str], batch_size: int = 64) -> Tensor:
    """Pseudo-log-likelihood of each text, ``[n]`` float32, in nats: every token but the special ones masked in turn."""
    import torch

    if tokenizer.mask_token_id is None:
        raise ConfigError("A masked language model needs a tokenizer with a mask token; pass mode='causal'.")
    coded = tokenizer(list(texts), return_special_tokens_mask=True)
    copies: list[tuple[int, int, list[int]]] = []  # text, place, tokens with the place masked
    for text, (ids, special) in enumerate(zip(coded["input_ids"], coded["special_tokens_mask"])):
        for place in (p for p, is_special in enumerate(special) if not is_special):
            copies.append((text, place, [*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]]))
    scores = torch.zeros(len(texts))
    for first in range(0, len(copies), batch_size):
        batch = copies[first : first + batch_size]
        ids, mask = _padded([row for *_, row in batch], model)
        log_probs = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1).cpu()
        for number, (text, place, _) in enumerate(batch):
            scores[text] += log_probs[number, place, coded["input_ids"][text][place]]
    return scores


def embeddings(model: nn.Module, tokenizer: Any, texts: Sequence[str], batch_size: int = 64) -> Tensor:
    """Mean of the last states of each text, at unit length, ``[n, d]`` float32 (a tower's projection if it has one)."""
    import torch

    rows = tokenizer(list(texts))["input_ids"]
    found = []
    for first in range(0, len(rows), batch_size):
        ids, mask = _padded(rows[first : first + batch_size], model)
        output = model(input_ids=ids, attention_mask=mask)
        vectors = getattr(output, "text_embeds", None)
        if vectors is None:
            states, weights = output.last_hidden_state.float(), mask.unsqueeze(2).float()
            vectors = (states * weights).sum(1) / weights.sum(1)
        found.append(torch.nn.functional.normalize(vectors.float(), dim=1).cpu())
    return torch.cat(found)


def _padded(rows: Sequence[Sequence[int]], model: nn.Module) -> tuple[Tensor, Tensor]:
    """Token numbers and their mask, ``[n, L]`` each, on the model's device; what is padded is never looked at."""
    import torch

    device = next(iter(model.parameters()), torch.empty(0)).device
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return ids.to(device), mask.to(device)
