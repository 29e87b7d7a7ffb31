"""``limbeck export``: a shipped student in another format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limbeck.commands.parser import Parser, folder_name
from limbeck.commands.terminal import waiting
from limbeck.errors import ConfigError


def command(arguments: Sequence[str]) -> int:
    parser = _parser()
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    folder = Path(values.student).expanduser()
    folder = folder / "student" if (folder / "student").is_dir() else folder
    path = Path(values.output).expanduser() if values.output else folder.parent / f"{folder.name}.onnx"
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name the file to write, such as {path / 'student.onnx'}.")
    with waiting("Starting torch and transformers"):
        from limbeck.students.export.onnx import export_shipped_onnx
    path.parent.mkdir(parents=True, exist_ok=True)
    difference = export_shipped_onnx(folder, path)
    print(f"{path}: {path.stat().st_size:,} bytes, largest difference on 32 drawn rows {difference:.2g}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="limbeck export",
        description="Write a student as ONNX, for runtimes without Python (extra onnx). Its inputs are those of\n"
        "student.json, made from raw samples as preprocessor.json says.",
        epilog="example:\n  limbeck export runs/mine --format onnx --output mine.onnx",
    )
    add = parser.add_argument
    add("student", metavar="RUN", help="the folder of a run, or of a student")
    add("--format", required=True, choices=("onnx",), help="of the file")
    add(
        "--output",
        type=folder_name,
        metavar="FILE",
        help="(default: student.onnx beside the student's folder)",
    )
    return parser
