"""``limbeck report``."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.commands.parser import Parser


def command(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="limbeck report",
        description="(Re)build report.html from the results in a folder.",
        epilog="example:\n  limbeck report limbeck-demo",
    )
    parser.add_argument("folder", help="folder of a run or a comparison")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    from limbeck.reporting import report_folder

    print(report_folder(values.folder))
    return 0
