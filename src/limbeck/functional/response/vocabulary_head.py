"""The head of a language model, some tokens at a time: products in float32 whatever the weights are, scaled and capped
as its model has them, and the way back.

Heads of half precision are read by blocks of words, each widened when its turn comes (CUDA multiplies them as they are,
into float32): a logit near 100, rounded to bfloat16, is off by up to 0.25, and a softmax makes 25% of that.

Axis legend: T - tokens, h - width, V - vocabulary, c - tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional.precision import check_positive, computing_dtype
from limbeck.functional.relations.pair_sums import slices

CHUNK_ELEMENTS = {"cpu": 1 << 23, "other": 1 << 27}  # logits in one buffer: 32 MB, 512 MB of float32
BLOCK_ELEMENTS = 1 << 20  # of a head of half precision, widened at a time: 4 MB of float32


def chunk_size(chunk: int | str, weight: Tensor) -> int:
    """Tokens at a time; ``auto`` by :data:`CHUNK_ELEMENTS`, at least 1."""
    if chunk == "auto":
        elements = CHUNK_ELEMENTS["cpu" if weight.device.type == "cpu" else "other"]
        return max(1, elements // max(len(weight), 1))
    if not isinstance(chunk, int) or chunk < 1:
        raise ConfigError(f"chunk must be a number of tokens >= 1 or 'auto', got {chunk!r}")
    return chunk


@dataclass(frozen=True)
class LogitForm:
    """What a model makes of its head's products x: ``softcap * tanh(scale x / softcap)``, or ``scale x`` without a
    cap (Cohere scales, Granite divides, Gemma caps).

    Raises: ConfigError unless both are > 0.
    """

    scale: float = 1.0
    softcap: float | None = None

    def __post_init__(self) -> None:
        check_positive("scale", self.scale)
        if self.softcap is not None:
            check_positive("softcap", self.softcap)

    @property
    def is_plain(self) -> bool:
        """Whether the products are the logits."""
        return self.scale == 1 and self.softcap is None

    def of(self, products: Tensor) -> Tensor:
        """Logits of the head's products, any shape, with their gradient."""
        scaled = products if self.scale == 1 else products * self.scale
        return scaled if self.softcap is None else torch.tanh(scaled / self.softcap) * self.softcap

    def make(self, products: Tensor) -> Tensor:
        """:meth:`of`, written over the products."""
        if self.scale != 1:
            products.mul_(self.scale)
        return products if self.softcap is None else products.div_(self.softcap).tanh_().mul_(self.softcap)

    def bend(self, logits: Tensor, out: Tensor, temperature: float = 1.0) -> Tensor:
        """What the cap, which there must be, multiplies a gradient to logits over the temperature with; in ``out``."""
        assert self.softcap is not None
        torch.mul(logits, temperature / self.softcap, out=out)
        return out.square_().neg_().add_(1)


class VocabularyHead:
    """Hidden states ``(T, h)`` with the linear head ``(V, h)`` that turns them into logits."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, form: LogitForm) -> None:
        self.hidden, self.weight, self.bias, self.form = hidden, weight, bias, form
        self.dtype = computing_dtype(hidden, weight)

    def of(self, tokens: Tensor) -> VocabularyHead:
        return VocabularyHead(self.hidden[tokens], self.weight, self.bias, self.form)

    def logits(self, tokens: slice, temperature: float, out: Tensor) -> Tensor:
        """Logits over the temperature, ``(c, V)``, written over ``out``."""
        cap = self.form.softcap
        factor = self.form.scale / (temperature if cap is None else cap)
        rows = self.hidden[tokens]
        out = out[: len(rows)]
        if self.multiplies_halves:
            torch.mm(rows, self.weight.T, out_dtype=self.dtype, out=out)
            if factor != 1:
                out.mul_(factor)
        else:
            rows = rows.to(self.dtype)
            for words, weight in self._blocks():
                out[:, words].addmm_(rows, weight.T, beta=0, alpha=factor)
        if self.bias is not None:
            out.add_(self.bias.to(self.dtype), alpha=factor)
        return out if cap is None else out.tanh_().mul_(cap / temperature)

    def bend(self, logits: Tensor, temperature: float, out: Tensor) -> Tensor | None:
        """What the cap multiplies a gradient to these logits with, ``(c, V)`` in ``out``; None without a cap."""
        return None if self.form.softcap is None else self.form.bend(logits, out, temperature)

    def back(self, slope: Tensor, scale: float, out: Tensor) -> None:
        """``slope (c, V)`` through the head: ``scale * slope @ weight`` over ``out (c, h)``."""
        if self.multiplies_halves:
            torch.mm(slope.to(self.weight.dtype), self.weight, out_dtype=self.dtype, out=out)
            out.mul_(scale)
            return
        for words, weight in self._blocks():
            out.addmm_(slope[:, words], weight, beta=float(words.start > 0), alpha=scale)

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Words, and their part of the head in the type that is computed in."""
        whole = self.weight.dtype == self.dtype
        size = len(self.weight) if whole else max(1, BLOCK_ELEMENTS // max(self.weight.shape[1], 1))
        for words in slices(0, len(self.weight), size):
            yield words, self.weight[words].to(self.dtype)

    @property
    def multiplies_halves(self) -> bool:
        """Whether the device multiplies these halves into float32: the products are exact, and so are their sums."""
        return (
            self.hidden.device.type == "cuda"
            and self.hidden.dtype == self.weight.dtype
            and self.weight.dtype != self.dtype
            and hasattr(torch.ops.aten.mm, "dtype_out")  # torch 2.8
        )


class HeadGradients:
    """Sums over chunks of the gradients that are wanted; the others stay None."""

    def __init__(self, head: VocabularyHead, wanted: tuple[bool, ...]) -> None:
        self.head = head
        self.hidden = torch.empty_like(head.hidden, dtype=head.dtype) if wanted[0] else None
        self.weight = torch.zeros_like(head.weight, dtype=head.dtype) if wanted[1] else None
        self.bias = head.weight.new_zeros(len(head.weight), dtype=head.dtype) if wanted[2] else None

    def add(self, tokens: slice, slope: Tensor, scale: float) -> None:
        """``slope * scale`` is the gradient to the head's products ``(c, V)`` of these tokens."""
        scale = scale * self.head.form.scale
        if self.bias is not None:
            self.bias.add_(slope.sum(0), alpha=scale)
        if self.hidden is not None:
            self.head.back(slope, scale, self.hidden[tokens])
        if self.weight is not None:
            self._add_to_weight(slope, self.head.hidden[tokens], scale)

    def _add_to_weight(self, slope: Tensor, rows: Tensor, scale: float) -> None:
        assert self.weight is not None
        if self.head.multiplies_halves:
            product = torch.mm(slope.T.to(rows.dtype), rows, out_dtype=self.head.dtype)
            self.weight.add_(product, alpha=scale)
        else:
            self.weight.addmm_(slope.T, rows.to(self.head.dtype), alpha=scale)
