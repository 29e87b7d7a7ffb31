"""``limbeck predict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.commands.parser import Parser, print_json
from limbeck.commands.terminal import waiting


def command(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="limbeck predict",
        description="Use an exported student on files: audio files for an audio student,\n"
        "images for an image student, CSV files for a student of tables or texts.",
        epilog="example:\n  limbeck predict runs/av_digits_bagged/student clip.wav",
    )
    parser.add_argument("student", help="the student folder of a run")
    parser.add_argument("files", nargs="+", help="files to classify")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    with waiting("Starting torch"):
        from limbeck.predict import predict_files

    rows = predict_files(values.student, values.files)
    if values.json:
        print_json(rows)
        return 0
    for row in rows:
        place = "".join(f", {name} {row[name]}" for name in ("line", "row") if name in row)
        print(f"{row['file']}{place}  {_answer(row)}")
    return 0


def _answer(row: Mapping[str, Any]) -> str:
    """The three most likely classes, or the value of a regression."""
    if "value" in row:
        return f"{row['value']:.4g}"
    best = sorted(row["probabilities"].items(), key=lambda item: -item[1])[:3]
    return "  ".join(f"{name} {share:.1%}" for name, share in best)
