"""Arrays of the scientific stack as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError


def tensor_of(value: Any, what: str) -> Tensor:
    """``value`` as a tensor; one stays as it is.

    Args:
        value: a tensor, array (of any byte order, strides or width), nested list, frame or series of pandas or polars,
            or sparse matrix (made dense).
        what: what it is, for messages: ``features``.

    Raises: DataError for texts, lists of different lengths, and other things that are no numbers.
    """
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "toarray"):
        value = value.toarray()
    elif hasattr(value, "to_numpy"):
        value = value.to_numpy()
    try:
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
            return torch.stack(list(value))
        if isinstance(value, (list, tuple)) and not hasattr(_leaf(value), "dtype"):
            return torch.as_tensor(value)  # Python's floats as float32
        array = np.asarray(value)
        if array.dtype == object:  # a column of lists, or of numbers with gaps
            array = np.asarray(
                [[np.nan if cell is None else cell for cell in np.atleast_1d(row)] for row in array]
            )
            array = array.astype(np.float64)
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"of {array.dtype}")
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(np.ascontiguousarray(native) if native.flags.writeable else native.copy())
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(
            f"The {what} are no array of numbers ({type(value).__name__}: {reason}); give [rows, width]."
        ) from error


def _leaf(value: Any) -> Any:
    """The first number, or array, of nested lists."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return value
