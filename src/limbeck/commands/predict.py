"""``limbeck predict``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.commands.parser import Parser, print_json
from limbeck.commands.terminal import waiting

_PLACES = ("line", "row")


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
        place = "".join(f", {name} {row[name]}" for name in _PLACES if name in row)
        print(f"{row['file']}{place}  {_answer(row)}")
    return 0


def _answer(row: Mapping[str, Any]) -> str:
    """The value, or the three most likely classes, behind the classes that were found; anything else as JSON."""
    answer = {name: value for name, value in row.items() if name not in ("file", *_PLACES)}
    if set(answer) == {"value"}:
        return f"{answer['value']:.4g}"
    if not set(answer) <= {"classes", "probabilities"}:
        return json.dumps(answer, ensure_ascii=False)
    best = sorted(answer["probabilities"].items(), key=lambda item: -item[1])[:3]
    likely = "  ".join(f"{name} {share:.1%}" for name, share in best)
    return f"{' + '.join(answer['classes']) or 'none'}  ({likely})" if "classes" in answer else likely
