"""``limbeck predict``."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.commands.parser import Parser, print_json
from limbeck.commands.terminal import waiting
from limbeck.errors import one_line

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
        from limbeck.students.export.folder import load_exported

    student = load_exported(values.student)
    rows = predict_files(values.student, values.files, exported=student)
    if values.json:
        print_json(rows)
        return 0
    for row in rows:
        place = "".join(f", {name} {row[name]}" for name in _PLACES if name in row)
        print(one_line(f"{row['file']}{place}  {student.problem.told(row)}"))
    return 0
