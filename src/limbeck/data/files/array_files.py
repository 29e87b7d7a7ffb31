"""What a teacher said in a file of arrays (NPZ, NPY, safetensors), keys in it or in a file of their own. No pickles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.files.table_files import SUFFIXES, table_file
from limbeck.errors import ConfigError, DataError, UnknownNameError, first_line, nearest, some
from limbeck.signals.cells import keys_of

ARRAY_SUFFIXES = (".npz", ".npy", ".safetensors")
SIGNALS = ("features", "logits", "log_probs")
_KEYS = ("keys", "ids", "key", "id")
_FEATURES = ("features", "embeddings", "embedding", "x")


def arrays_of(
    path: str | Path, named: Mapping[str, str], *, keys: str | Path | None = None, key: str | None = None
) -> dict[str, Any]:
    """``keys`` and columns as :meth:`limbeck.banks.Bank.from_arrays` takes them.

    Args:
        path: ``.npz``, ``.npy`` (features alone) or ``.safetensors``.
        named: signal, or ``labels``, to the name of its array; by default features are the array of a usual name, or
            the only one that is a matrix.
        keys: a table with a column of keys, in the order of the rows, or lines of text; default: the array of keys in
            the file, else the rows' numbers.
        key: name of the array, or of the table's column, that holds the keys.

    Raises: DataError for a file that cannot be read, or that holds pickled objects; UnknownNameError for an array that
        is not there; ConfigError where no array is the features.
    """
    path = Path(path).expanduser()
    arrays = _read(path)
    columns: dict[str, Any] = {}
    for signal, name in named.items():
        if name not in arrays:
            raise UnknownNameError(f"{path} has no array {name!r} for {signal}; {nearest(name, arrays)}")
        columns[signal] = arrays[name]
    if not set(columns) & set(SIGNALS):
        columns["features"] = arrays[_features(path, arrays)]
    n = len(next(iter(columns.values())))
    columns["keys"] = _own_keys(path, arrays, key, n) if keys is None else _keys_in(Path(keys), key, n)
    if "labels" in columns and columns["labels"].dtype.kind in "US":
        columns["labels"] = [str(label) for label in columns["labels"]]
    return columns


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path} does not exist: there is no file of this name; check the path.")
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return {
                name: value.float().numpy() if value.is_floating_point() else value.numpy()
                for name, value in load_file(path).items()
            }
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"features": loaded}
        return {name: loaded[name] for name in loaded.files}
    except Exception as error:  # of numpy and safetensors over broken files
        reason = first_line(error)
        if "pickle" in reason.lower():
            raise DataError(
                f"{path} holds pickled objects, which are not loaded since they can run code; save plain arrays "
                "(texts as np.array(texts, dtype=str))."
            ) from error
        raise DataError(f"{path} cannot be read as arrays ({reason}); save it anew.") from error


def _features(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    usual = [name for name in _FEATURES if name in arrays]
    matrices = [name for name, value in arrays.items() if value.ndim == 2]
    if usual or len(matrices) == 1:
        return (usual or matrices)[0]
    raise ConfigError(
        f"{path} holds the arrays {some(arrays)}; say which is what: --features NAME (or --logits, --log-probs)."
    )


def _own_keys(path: Path, arrays: Mapping[str, np.ndarray], key: str | None, n: int) -> Sequence[Any]:
    if key is not None and key not in arrays:
        raise UnknownNameError(f"{path} has no array {key!r} of keys; {nearest(key, arrays)}")
    name = key or next((name for name in _KEYS if name in arrays), None)
    return range(n) if name is None else arrays[name].tolist()


def _keys_in(path: Path, key: str | None, n: int) -> Sequence[Any]:
    if path.suffix.lower() in SUFFIXES:
        table = table_file(path)
        name = key or next((name for name in _KEYS if name in table.columns), table.columns[0])
        if name not in table.columns:
            raise UnknownNameError(f"{path} has no column {name!r} of keys; {nearest(name, table.columns)}")
        keys = keys_of(
            [c for chunk in table.rows([name], 1024) for c in chunk.values(name)], typed=table.typed
        )
    elif path.is_file():
        keys = keys_of(path.read_text(encoding="utf-8-sig").splitlines(), typed=False)
    else:
        raise DataError(f"{path} does not exist: there is no file of keys of this name; check the path.")
    if len(keys) != n:
        raise DataError(f"{path} holds {len(keys):,} keys for {n:,} rows; give one for each, in their order.")
    return keys
