"""From the keys of a bank to its row numbers: a sorted index that lies on disk and is mapped, not loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.search import SortedSearch
from limbeck.errors import (
    BankError,
    ConfigError,
    CorruptShardError,
    DataError,
    MissingKeysError,
    nearest,
    some,
)
from limbeck.signals.key import Key

KeyKind = Literal["int", "str"]
DEFAULT_VIEW = "default"


def kind_of(keys: Sequence[Any]) -> KeyKind:
    """``int`` or ``str``; DataError if the keys are neither, or mixed."""
    wrong = [k for k in keys if not isinstance(k, str)]
    if not wrong:
        return "str"
    other = [k for k in keys if isinstance(k, bool) or not isinstance(k, (int, np.integer))]
    if not other:
        return "int"
    raise DataError(
        f"Keys must be all integers or all strings; found {type(other[0]).__name__} {other[0]!r}"
        + (f" beside {wrong[0]!r}." if wrong[0] is not other[0] else ".")
    )


def plain_keys(keys: Iterable[Any]) -> list[Key]:
    """Keys as Python ints or strings, from a list, array or tensor."""
    listed = keys.tolist() if isinstance(keys, (np.ndarray, Tensor)) else list(keys)
    return [int(k) for k in listed] if kind_of(listed) == "int" else listed


def encode_keys(keys: Sequence[Key], kind: KeyKind) -> dict[str, Tensor]:
    """Keys as tensors: int64, or the bytes of all strings with their ends."""
    if kind == "int":
        try:
            return {"keys": torch.tensor(keys, dtype=torch.int64)}
        except (OverflowError, RuntimeError, ValueError) as error:
            raise DataError("Integer keys must fit into 64 bits; give larger ones as strings.") from error
    if nul := [k for k in keys if "\0" in str(k)]:
        raise DataError(f"Keys cannot contain the character NUL; found {some(nul)}.")
    try:
        encoded = [str(k).encode() for k in keys]
    except UnicodeEncodeError as error:
        raise DataError(f"The key {error.object!r} holds half of a character; write it anew.") from error
    ends = np.cumsum([len(e) for e in encoded], dtype=np.int64)
    text = np.frombuffer(b"".join(encoded), dtype=np.uint8).copy()
    return {"keys.text": torch.from_numpy(text), "keys.ends": torch.from_numpy(ends)}


def decode_keys(tensors: dict[str, Tensor]) -> list[Key]:
    """The inverse of :func:`encode_keys`."""
    if "keys" in tensors:
        return tensors["keys"].tolist()
    text, ends = tensors["keys.text"].numpy().tobytes(), tensors["keys.ends"].tolist()
    return _decoded(text[a:b] for a, b in zip([0, *ends], ends))


def _decoded(encoded: Iterable[bytes]) -> list[Key]:
    try:
        return [text.decode() for text in encoded]
    except UnicodeDecodeError as error:
        raise CorruptShardError(
            f"Keys of the bank are damaged ({error}); `limbeck bank verify` names the file."
        ) from error


def explained(
    error: MissingKeysError, asked: Iterable[Any], missing: Mapping[str, Sequence[Key]]
) -> MissingKeysError:
    """``error``, with the reason where the teacher gave no answer (``missing``: reason to keys)."""
    if not missing:
        return error
    wanted = set(asked.tolist() if isinstance(asked, (np.ndarray, Tensor)) else asked)
    lost = {reason: [key for key in keys if key in wanted] for reason, keys in missing.items()}
    named = [f"{some(keys)} ({reason})" for reason, keys in lost.items() if keys]
    if not named:
        return error
    return MissingKeysError(f"The teacher gave no answer for {', '.join(named)}; leave these rows out.")


class KeyIndex:
    """Keys and views of all rows, and the way back from (key, view) to the row.

    Args:
        kind: of the keys.    views: names of all views; row ``i`` has ``views[tensors["view"][i]]``.
        tensors: as :meth:`build` gives them; they may be memory-mapped.
    """

    def __init__(self, kind: KeyKind, views: Sequence[str], tensors: dict[str, Tensor]) -> None:
        self.kind, self.views, self.tensors = kind, tuple(views), tensors
        self._codes, self._rows = tensors["codes"].numpy(), tensors["rows"].numpy()
        self._search = SortedSearch(self._codes)

    @classmethod
    def build(cls, keys: Sequence[Key], view_of: Sequence[str] | None = None) -> KeyIndex:
        """Index ``keys``; BankError naming the first (key, view) that occurs twice."""
        kind = kind_of(keys)
        views = sorted(set(view_of)) if view_of is not None else [DEFAULT_VIEW]
        tensors = encode_keys(keys, kind)
        codes = _codes(keys, kind, view_of if len(views) > 1 else None)
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        twice = order[1:][ordered[1:] == ordered[:-1]]
        if len(twice):
            names = some(keys[i] if len(views) < 2 else (keys[i], view_of[i]) for i in twice)  # type: ignore[index]
            raise BankError(f"Rows of a bank are unique by key and view, but these come twice: {names}.")
        tensors |= {"codes": torch.from_numpy(ordered), "rows": torch.from_numpy(order)}
        if len(views) > 1 and view_of is not None:
            number = {view: i for i, view in enumerate(views)}
            tensors["view"] = torch.tensor([number[v] for v in view_of], dtype=torch.int16)
        return cls(kind, views, tensors)

    def __len__(self) -> int:
        return len(self._codes)

    def rows_of(self, keys: Iterable[Any], view: str | None = None) -> np.ndarray:
        """Row numbers of ``keys``; MissingKeysError names those that the bank lacks."""
        view = self._view(view)
        asked: Any
        if self.kind == "int" and view is None and isinstance(keys, (np.ndarray, Tensor)):
            asked = np.asarray(keys)
        else:
            asked = keys.tolist() if isinstance(keys, (np.ndarray, Tensor)) else list(keys)
        if not len(asked):
            return np.zeros(0, dtype=np.int64)
        self._check_kind(asked)
        codes = _codes(asked, self.kind, None if view is None else [view] * len(asked))
        position = self._search(codes)
        lost = self._codes[position] != codes
        if lost.any():
            missing = [asked[i] for i in np.flatnonzero(lost)]
            raise MissingKeysError(
                f"The bank lacks {len(missing)} of the {len(asked)} keys asked for"
                f"{'' if view is None else f' in view {view!r}'}: {some(missing)}; "
                "build it from data that holds them, or leave these rows out."
            )
        return self._rows[position]

    def _view(self, view: str | None) -> str | None:
        if view is not None and view not in self.views:
            raise ConfigError(f"The bank has no view {view!r}; {nearest(view, self.views)}")
        if len(self.views) < 2:
            return None
        if view is None:
            raise ConfigError(f"The bank holds several views ({', '.join(self.views)}); name one with view=.")
        return view

    def _check_kind(self, asked: Any) -> None:
        types = {asked.dtype.type} if isinstance(asked, np.ndarray) else set(map(type, asked))
        wanted = str if self.kind == "str" else (int, np.integer)
        wrong = [t for t in types if not issubclass(t, wanted) or t is bool]
        if wrong:
            first = next(key for key in asked if type(key) in wrong)
            raise MissingKeysError(
                f"The keys of this bank are {'integers' if self.kind == 'int' else 'strings'}, but {first!r} "
                f"({type(first).__name__}) was asked for; use the bank's own keys."
            )

    @property
    def key_tensors(self) -> tuple[str, ...]:
        """Names of the tensors that hold the keys, here and in a shard."""
        return ("keys",) if self.kind == "int" else ("keys.text", "keys.ends")

    def is_at(
        self, start: int, n: int, tensors: Mapping[str, Tensor], views: Sequence[Sequence[Any]] | None
    ) -> bool:
        """Whether ``n`` rows from ``start`` have the keys and labels of a shard, and its runs of views."""
        stop, own = start + n, self.tensors
        if self.kind == "int":
            same = torch.equal(tensors["keys"], own["keys"][start:stop])
        else:
            begin = int(own["keys.ends"][start - 1]) if start else 0
            ends = own["keys.ends"][start:stop] - begin
            last = begin + (int(ends[-1]) if len(ends) else 0)
            same = torch.equal(tensors["keys.ends"], ends) and torch.equal(
                tensors["keys.text"], own["keys.text"][begin:last]
            )
        if same and "labels" in own:
            same = torch.equal(tensors["labels"], own["labels"][start:stop])
        if same and views is not None and "view" in own:
            named = [view for view, count in views for _ in range(min(count, n + 1))]
            same = self.views_at(np.arange(start, stop)) == named
        return same

    def keys_at(self, rows: np.ndarray) -> list[Key]:
        """Keys of some rows."""
        if self.kind == "int":
            return self.tensors["keys"].numpy()[rows].tolist()
        text, ends = self.tensors["keys.text"].numpy(), self.tensors["keys.ends"].numpy()
        stops = ends[rows]
        starts = np.where(rows > 0, ends[rows - 1], 0)
        return _decoded(text[a:b].tobytes() for a, b in zip(starts.tolist(), stops.tolist()))

    def all_keys(self) -> list[Key]:
        return decode_keys(self.tensors)

    def views_at(self, rows: np.ndarray) -> list[str] | None:
        """Views of some rows; ``None`` when there is only one view."""
        if "view" not in self.tensors:
            return None
        return [self.views[i] for i in self.tensors["view"].numpy()[rows].tolist()]

    def subset(self, rows: np.ndarray) -> KeyIndex:
        """An index of some rows, which become 0, 1, 2, ..."""
        return KeyIndex.build(self.keys_at(rows), self.views_at(rows))


def _codes(keys: Sequence[Any], kind: KeyKind, view_of: Sequence[str] | None) -> np.ndarray:
    """int64 a row: an integer key itself, else a 64-bit hash (10^6 keys collide once in 10^7 banks)."""
    if kind == "int" and view_of is None:
        return np.asarray(keys, dtype=np.int64)
    texts = keys if view_of is None else [f"{v}\x1f{k}" for v, k in zip(view_of, keys)]
    step = max(1, 2**22 // max(1, max(map(len, texts))))  # characters at once: 16 MB
    if len(texts) <= step:
        return _hashes(texts)
    return np.concatenate([_hashes(texts[i : i + step]) for i in range(0, len(texts), step)])


def _hashes(texts: Sequence[str]) -> np.ndarray:
    """A 64-bit hash of each text, over all texts at once: ten times faster than hashlib one by one.

    Multilinear: the sum of each character times the weight of its place, modulo 2^64, then mixed. The padding of
    shorter texts is NUL, which no key contains and which adds nothing.
    """
    padded = np.array(texts)
    characters = padded.view(np.uint32).reshape(len(texts), -1).astype(np.uint64)
    return _mix(characters @ _weights(characters.shape[1])).view(np.int64)


@lru_cache
def _weights(length: int) -> np.ndarray:
    return _mix(np.arange(1, length + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _mix(state: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele et al., OOPSLA 2014): nearby numbers become unrelated ones."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
