"""Rows of different lengths: token states, boxes, tokens with their predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import DataError, some
from limbeck.signals.tensors import tensor_of
from limbeck.signals.top_k import TopK

_PACKED = "parts of a signal"
Signal = Any  # Tensor [n, ...], Ragged or TopK of n rows


@dataclass(frozen=True, eq=False)
class Ragged:
    """``n`` rows of different lengths, one after the other.

    Args:
        values: ``[T, ...]``, all elements of the first row, then of the second, ...; of predictions a :class:`TopK`.
        lengths: ``[n]`` int64, how many elements each row has, 0 or more; they sum to T.

    Raises: DataError for lengths that do not fit (not looked at on a GPU, which would have to wait).

    Example:
        >>> states = Ragged.of([torch.ones(2, 3), torch.zeros(0, 3), torch.ones(1, 3)])
        >>> values, shown = states.padded()
        >>> values.shape, shown.sum(1)
        (torch.Size([3, 2, 3]), tensor([2, 0, 1]))
    """

    values: Any
    lengths: Tensor

    def __post_init__(self) -> None:
        values = self.values if isinstance(self.values, TopK) else torch.as_tensor(self.values)
        lengths = torch.as_tensor(self.lengths)
        if (
            lengths.dim() != 1
            or lengths.is_floating_point()
            or (isinstance(values, Tensor) and not values.dim())
        ):
            raise DataError(
                f"A Ragged needs values [T, ...] and whole lengths [n]; the lengths are {lengths.dtype} of shape "
                f"{list(lengths.shape)}."
            )
        if lengths.device.type == "cpu" and (int(lengths.sum()) != len(values) or bool((lengths < 0).any())):
            raise DataError(
                f"The lengths of a Ragged must be 0 or more and sum to its {len(values)} values; they are "
                f"{some(lengths.tolist(), 5)} and sum to {int(lengths.sum())}."
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "lengths", lengths.long())

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Ragged:
        """Of a row each: arrays or tensors ``[l_i, ...]`` with one width and dtype, or :class:`TopK`; an empty list
        is a row without elements.

        Raises: DataError for no rows, and for rows of several widths or dtypes.
        """
        if not len(rows):
            raise DataError("A Ragged needs at least one row.")
        if any(isinstance(row, TopK) for row in rows):
            return cls(_joined_top_k(list(rows)), torch.tensor([len(row) for row in rows]))
        parts = [tensor_of(row, f"values of row {i}") for i, row in enumerate(rows)]
        bare = [part.dim() == 1 and not len(part) for part in parts]  # [], which has neither width nor dtype
        like = next((part for part, is_bare in zip(parts, bare) if not is_bare), parts[0])
        for i, (part, is_bare) in enumerate(zip(parts, bare)):
            if part.dim() == 0 or (
                not is_bare and (part.shape[1:], part.dtype) != (like.shape[1:], like.dtype)
            ):
                raise DataError(
                    f"The rows of a Ragged need one width and dtype; row {i} is {part.dtype} {list(part.shape)}, "
                    f"another {like.dtype} {list(like.shape)}."
                )
        values = torch.cat([like[:0] if is_bare else part for part, is_bare in zip(parts, bare)])
        return cls(values, torch.tensor([len(part) for part in parts]))

    @classmethod
    def shown(cls, values: Any, mask: Tensor) -> Ragged:
        """The elements of ``values`` ``[n, L, ...]`` (or a TopK of that shape) where ``mask`` ``[n, L]`` is not 0."""
        kept = mask.bool()
        return cls(rows_of(values, kept), kept.sum(1))

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Any]:
        """The rows, each ``[l_i, ...]``."""
        ends = self.lengths.cumsum(0).tolist()
        return (rows_of(self.values, slice(start, end)) for start, end in zip([0, *ends], ends))

    def padded(self, fill: float = 0) -> tuple[Any, Tensor]:
        """Values ``[n, L, ...]`` (or a TopK of that shape), L the longest row, and what is shown of them, ``[n, L]``
        bool. Beyond a row's end stands ``fill``; of a TopK a uniform distribution, which no loss turns into NaN."""
        longest = int(self.lengths.max()) if len(self) else 0
        offsets = torch.arange(longest, device=self.lengths.device)
        shown = offsets < self.lengths.unsqueeze(1)
        starts = self.lengths.cumsum(0) - self.lengths
        places = torch.where(shown, starts.unsqueeze(1) + offsets, len(self.values)).flatten()

        def placed(values: Tensor, empty: Tensor | float) -> Tensor:
            # a gather, with what stands beyond the ends as one more element: a GPU need not wait for a count
            beyond = values.new_empty((1, *values.shape[1:]))
            beyond[:] = empty
            return torch.cat([values, beyond]).index_select(0, places).unflatten(0, shown.shape)

        if not isinstance(self.values, TopK):
            return placed(self.values, fill), shown
        said = self.values
        uniform = -math.log(said.k + (said.n_classes > said.k))
        ids = placed(said.ids, torch.arange(said.k, device=offsets.device))
        log_probs, rest = placed(said.log_probs, uniform), placed(said.rest, uniform)
        return TopK(ids, log_probs, said.n_classes, rest), shown

    def rows(self, index: Any) -> Ragged:
        """Some rows: numbers, a mask or a slice."""
        numbers = torch.arange(len(self), device=self.lengths.device)[index]
        lengths = self.lengths[numbers]
        starts = (self.lengths.cumsum(0) - self.lengths)[numbers]
        shift = torch.repeat_interleave(starts - (lengths.cumsum(0) - lengths), lengths)
        places = shift + torch.arange(len(shift), device=shift.device)
        return Ragged(rows_of(self.values, places), lengths)

    def map(self, fn: Callable[[Tensor], Tensor]) -> Ragged:
        """With ``fn``, a move or a cast, applied to the values; lengths only move."""
        values = mapped(self.values, fn)
        device = values.ids.device if isinstance(values, TopK) else values.device
        return Ragged(values, self.lengths.to(device))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"A signal with rows of different lengths has no {name!r}; read values and mask with .padded(), or "
            "the rows one by one with list()."
        )

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise DataError(
            f"{getattr(function, '__name__', function)} was given a signal with rows of different lengths; read its "
            "values and mask with .padded()."
        )


# ---- any signal: a tensor, a Ragged or a TopK -------------------------------------------------------------------


def rows_of(value: Signal, index: Any) -> Signal:
    """Some rows: numbers, a mask or a slice."""
    return value[index] if isinstance(value, Tensor) else value.rows(index)


def mapped(value: Signal, fn: Callable[[Tensor], Tensor]) -> Signal:
    """With ``fn``, a move or a cast, applied to the numbers."""
    return fn(value) if isinstance(value, Tensor) else value.map(fn)


def joined(values: Sequence[Signal]) -> Signal:
    """The rows of all, one after the other."""
    first = values[0]
    if isinstance(first, Ragged):
        return Ragged(joined([v.values for v in values]), torch.cat([v.lengths for v in values]))
    return _joined_top_k(values) if isinstance(first, TopK) else torch.cat(list(values))


def in_classes(value: Signal, picked: Tensor) -> Signal:
    """Predictions with the classes ``picked`` ``[C']``, in their order; DataError of a TopK unless these are all."""
    if n_classes_of(value) is None:
        return mapped(value, lambda whole: whole.index_select(-1, picked.to(whole.device)))
    if isinstance(value, Ragged):
        return replace(value, values=value.values.in_order(picked))
    return value.in_order(picked)


def log_probs_in_classes(value: Signal, picked: Tensor) -> Signal:
    """The same of log-probabilities, which sum to 1 afterwards."""
    if n_classes_of(value) is not None:
        return in_classes(value, picked)
    return mapped(in_classes(value, picked), lambda whole: whole.float().log_softmax(-1).to(whole.dtype))


def row_shape(value: Signal) -> tuple[int, ...]:
    """Shape of a row; of a Ragged, of one element of a row."""
    inner = value.values if isinstance(value, Ragged) else value
    return tuple((inner.ids if isinstance(inner, TopK) else inner).shape[1:])


def _joined_top_k(values: Sequence[Any]) -> TopK:
    first = next(value for value in values if isinstance(value, TopK))
    odd = [v for v in values if not isinstance(v, TopK) or (v.k, v.n_classes) != (first.k, first.n_classes)]
    if odd:
        raise DataError(
            f"All rows must be a TopK of the same k and number of classes; one keeps {first.k} of "
            f"{first.n_classes}, another is {_told(odd[0])}."
        )
    ids, log_probs, rest = (
        torch.cat([getattr(v, part) for v in values]) for part in ("ids", "log_probs", "rest")
    )
    return replace(first, ids=ids, log_probs=log_probs, rest=rest)


def _told(value: Any) -> str:
    return f"{value.k} of {value.n_classes}" if isinstance(value, TopK) else f"a {type(value).__name__}"


# ---- as plain tensors, for a file or a batch --------------------------------------------------------------------


def parts_of(value: Signal) -> dict[str, Tensor]:
    """The tensors that a signal consists of, by what is put behind its name: ``.ids`` and ``.rest`` of a TopK (whose
    log-probabilities bear the plain name), ``.ends`` of a Ragged (where each row ends among the values)."""
    if isinstance(value, Ragged):
        return parts_of(value.values) | {".ends": value.lengths.cumsum(0)}
    if isinstance(value, TopK):
        return {"": value.log_probs, ".ids": value.ids, ".rest": value.rest}
    return {"": value}


def of_parts(parts: Mapping[str, Tensor], n_classes: int | None) -> Signal:
    """The inverse of :func:`parts_of`; ``n_classes`` of a TopK."""
    value: Any = parts[""]
    if ".ids" in parts:
        assert n_classes is not None
        value = TopK(parts[".ids"], value, n_classes, parts[".rest"])
    if ".ends" not in parts:
        return value
    ends = parts[".ends"]
    return Ragged(value, torch.diff(ends, prepend=ends.new_zeros(1)))


def n_classes_of(value: Signal) -> int | None:
    """V of a TopK or a Ragged of it; None for other signals."""
    inner = value.values if isinstance(value, Ragged) else value
    return inner.n_classes if isinstance(inner, TopK) else None


def packed(value: Any) -> Any:
    """Signals, one or a mapping of them, as nested mappings of tensors, which a training loop can move to a device."""
    if isinstance(value, Mapping):
        return {name: packed(inner) for name, inner in value.items()}
    if not isinstance(value, (Ragged, TopK)):
        return value
    return {_PACKED: parts_of(value), "n_classes": n_classes_of(value)}


def unpacked(value: Any) -> Any:
    """The inverse of :func:`packed`."""
    if not isinstance(value, Mapping):
        return value
    if _PACKED in value:
        return of_parts(value[_PACKED], value["n_classes"])
    return {name: unpacked(inner) for name, inner in value.items()}
