"""What a teacher wrote, as numbers: its texts embedded once by a frozen text encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from limbeck.banks.bank import Bank
from limbeck.errors import ConfigError, MissingSignalError
from limbeck.students.text import text_model_path
from limbeck.teachers.hf.teacher import HFTeacher


def embedded_texts(bank: Bank, encoder: str, folder: Path, batch_size: int = 64) -> Bank:
    """A bank of features ``[N, D]`` with the keys of ``bank``, whose texts they embed.

    Args:
        encoder: ``minilm`` or ``hf:PATH``, a transformers text encoder, read by its own recipe or, without one, by the
            mean of its last states.
        folder: where the bank of features is kept; it is built once.

    Raises: MissingSignalError if the bank holds no text.
    """
    if "text" not in bank.signals:
        raise MissingSignalError(
            f"teacher: text needs the teacher's texts, but this bank holds only {', '.join(sorted(bank.signals))}; a "
            "teacher with access level 'text' gives them (for an API: kind text)."
        )
    said = bank.take(np.arange(len(bank)), ["text"])
    assert said.text is not None
    assert said.keys is not None
    rows = [{"id": key, "text": text} for key, text in zip(said.keys, said.text, strict=True)]
    path = text_model_path(encoder)
    if path is None:
        raise ConfigError(
            f"teacher: text embeds the texts with the student's own encoder, but {encoder!r} reads no texts; take "
            "'minilm' or 'hf:PATH'."
        )
    teacher = HFTeacher(path, classifier=False)
    return Bank.build(folder, teacher, rows, batch_size=batch_size, overwrite=True)
