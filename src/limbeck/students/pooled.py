"""A text encoder under a new linear head: the mean, last or first of its last hidden states.

Axis legend: n rows, K choices, L tokens, d feature width, C outputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from limbeck.layers.pooling import pool

Pooling = Literal["mean", "last", "cls"]


class PooledClassifier(nn.Module):
    """Encoder, pooling over the tokens that the attention mask shows, dropout, linear head; returns logits.

    Args:
        encoder: a transformers text model with ``last_hidden_state``; an encoder or a causal language model.
        pooling: ``mean`` of the shown tokens, the ``last`` of them, or the first (``cls``).
        n_outputs: C; 1 for regression.
        choices: multiple choice: inputs ``[n, K, L]``, one output a choice, logits ``[n, K]``.
        dropout: before the head.
        deviation: of the head's first weights.
    """

    def __init__(
        self,
        encoder: Any,
        pooling: Pooling,
        n_outputs: int,
        *,
        choices: bool = False,
        dropout: float = 0.1,
        deviation: float = 0.02,
    ) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.pooling, self.choices = pooling, choices
        self.dropout = nn.Dropout(dropout)
        width = encoder.config.get_text_config().hidden_size
        self.head = nn.Linear(width, n_outputs)
        nn.init.normal_(self.head.weight, std=deviation)
        nn.init.zeros_(self.head.bias)
        self._takes_types = "token_type_ids" in inspect.signature(encoder.forward).parameters

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits ``[n, C]`` of int64 ``[n, L]``; ``[n, K]`` of ``[n, K, L]`` for multiple choice."""
        types = {"token_type_ids": token_type_ids} if token_type_ids is not None and self._takes_types else {}
        rows = {"input_ids": input_ids, "attention_mask": attention_mask, **types}
        if self.choices:
            rows = {name: value.flatten(0, 1) for name, value in rows.items()}  # (n K, L)
        states = self.encoder(**rows).last_hidden_state
        logits = self.head(self.dropout(pool(states, self.pooling, rows["attention_mask"])))
        return logits.view(input_ids.shape[:2]) if self.choices else logits

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """Trade time for memory in the encoder."""
        newer = getattr(self.encoder, "activation_checkpointing_enable", None)
        if callable(newer):
            newer(activation_checkpointing_kwargs=gradient_checkpointing_kwargs, **options)
        else:
            self.encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs, **options)

    def gradient_checkpointing_disable(self) -> None:
        """Undo :meth:`gradient_checkpointing_enable`."""
        newer = getattr(self.encoder, "activation_checkpointing_disable", None)
        (newer if callable(newer) else self.encoder.gradient_checkpointing_disable)()
