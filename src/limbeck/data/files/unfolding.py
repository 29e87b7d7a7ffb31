"""Parquet files that say they unfold to far more than they hold: refused by their head, before memory is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.errors import DataError

_TIMES = 2000  # more than this many times its size is suspected; zstd makes texts of a few words some 100 times smaller
_SMALL = 2**28  # bytes that any machine has
_ROWS = 10_000_000  # rows that any file may have


def check_unfolds(path: Path, head: Any) -> None:
    """Refuse a file by its metadata.

    Args:
        head: a ``pyarrow.parquet.FileMetaData``.

    Raises: DataError for a column that unfolds to more than 2000 times what it takes in the file, and for more
        rows than 2000 for each byte of the file.
    """
    size = path.stat().st_size
    if not 0 <= head.num_rows <= max(_ROWS, _TIMES * size):
        raise DataError(f"{path} says that its {size:,} bytes hold {head.num_rows:,} rows; save it anew.")
    for group in range(head.num_row_groups):
        found = head.row_group(group)
        for number in range(found.num_columns):
            column = found.column(number)
            most = max(_SMALL, _TIMES * min(column.total_compressed_size, size))
            if not 0 <= column.total_uncompressed_size <= most:
                raise DataError(
                    f"{path} has the column {column.path_in_schema!r}, which would unfold to "
                    f"{column.total_uncompressed_size:,} bytes; save it anew."
                )
