"""``limbeck export``: a shipped student in another format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limbeck.commands.parser import Parser, folder_name
from limbeck.commands.terminal import waiting


def command(arguments: Sequence[str]) -> int:
    parser = _parser()
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    run = Path(values.student).expanduser()
    folder = run / "student" if (run / "student").is_dir() else run
    folder = folder if folder.name not in ("", "..") else folder.resolve()  # of '.', which has no name
    name = "-".join([folder.name, values.format, *([values.quantize] if values.quantize else [])])
    output = Path(values.output).expanduser() if values.output else folder.parent / name
    with waiting("Starting torch and transformers"):
        from limbeck.evaluation.results import METRICS_FILE
        from limbeck.reporting import report_folder
        from limbeck.reporting.exports import note_export
        from limbeck.students.export.formats import convert
    result = convert(folder, output, values.format, values.quantize)
    print(result.told())
    if (run / METRICS_FILE).is_file():
        note_export(run, result)
        report_folder(run)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="limbeck export",
        description="Write a student in another format, into a folder of its own:\n"
        "  onnx   for onnxruntime, without torch (extra onnx)\n"
        "  torch  a list of PyTorch operators with weights, for torch without transformers\n"
        "  hf     a folder of transformers or sentence-transformers, where the student is one of theirs\n"
        "It is checked against the student on 32 drawn rows; size and time before and after are printed, and kept\n"
        "in the report of the run.",
        epilog="example:\n  limbeck export runs/mine --format onnx --quantize int8",
    )
    add = parser.add_argument
    add("student", metavar="RUN", help="the folder of a run, or of a student")
    add("--format", required=True, choices=("onnx", "torch", "hf"), help="of the student")
    add("--quantize", choices=("int8",), help="weights of 8 bit (onnx, torch)")
    add(
        "--output",
        type=folder_name,
        metavar="FOLDER",
        help="(default: student-FORMAT beside the student's folder)",
    )
    return parser
