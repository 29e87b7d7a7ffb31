"""What ``limbeck bank build --kind answers`` adds: which columns are asked about, and the answers as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.files import writing

_ASKED = {"hf": ("prompt", "completion", "finish_reason"), "api": ("prompt",)}


def answer_columns(table: Any, kind: str) -> list[str]:
    """The prompts, and for a model that scores answers those that are there.

    Raises: UnknownNameError for a table without prompts.
    """
    from limbeck.banks.table_rows import check_column

    check_column(table, "prompt")
    return [name for name in _ASKED[kind] if name in table.columns]


def make_room(table: str | None) -> None:
    """The folder of the file ``table``; one that cannot be made is told before anybody is asked."""
    if table is not None:
        with writing(table):
            Path(table).parent.mkdir(parents=True, exist_ok=True)


def tell_answers(bank: Any, rows: Any, key: str, table: str | None) -> None:
    """Say how many answers there are and how many were left out, and write them into the file ``table``."""
    from limbeck.banks.manifest import Manifest

    missing = Manifest.read(Path(bank.path)).missing
    left = "".join(f"; left out {len(keys):,}: {reason}" for reason, keys in missing.items())
    print(f"{len(bank):,} answers{left}")
    if table is None:
        return
    lost = {name for keys in missing.values() for name in keys}
    with writing(table), Path(table).open("w", encoding="utf-8") as file:
        part: list[Any] = []
        for row in rows:
            part += [] if row[key] in lost else [row]
            if len(part) == 1024:
                file.writelines(_lines(bank, part, key))
                part = []
        file.writelines(_lines(bank, part, key))
    print(f"{table}: prompts and answers, for `data: prompts`")


def _lines(bank: Any, rows: Sequence[Any], key: str) -> list[str]:
    if not rows:
        return []
    said = bank.lookup([row[key] for row in rows], signals=["text"]).text
    told = [{"id": row[key], "prompt": row["prompt"], "completion": text} for row, text in zip(rows, said)]
    return [json.dumps(row, ensure_ascii=False) + "\n" for row in told]
