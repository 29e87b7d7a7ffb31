"""``limbeck bank build``: ask a teacher about every row of a file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.commands.bank_answers import answer_columns, make_room, tell_answers
from limbeck.commands.parser import Parser, WrongUse, folder_name, parse_names, positive
from limbeck.commands.teacher_spec import add_teacher_options, api_teacher, check_options, make_teacher
from limbeck.commands.terminal import waiting
from limbeck.errors import one_line

if TYPE_CHECKING:
    from limbeck.teachers.api.teacher import Plan

_EXAMPLES = """examples:
  limbeck bank build --teacher hf:PATH --data texts.csv --output banks/mine
  limbeck bank build --teacher hf:PATH --tower image --data photos/ --key stem --output banks/seen
  limbeck bank build --teacher callable:my_module:ask --data rows.parquet \\
    --column text --output banks/asked
  limbeck bank build --teacher api:MODEL --kind chat --class-names cat,dog \\
    --prompt "Which animal is this? {photo}" --column photo --data photos.csv \\
    --base-url http://localhost:8000/v1 --licence "own model" \\
    --max-requests 500 --output banks/asked --dry-run
  limbeck bank build --teacher hf:PATH --kind answers --data prompts.csv --max-tokens 200 \\
    --output banks/answers --table answers.jsonl"""

_NAMED = 20  # rows that were left out


def build(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    kind = check_options(values)
    from limbeck.banks.table_rows import check_column, table_rows

    table = _table(values)
    if values.kind == "answers":
        values.column = values.column or answer_columns(table, kind)
        make_room(values.table)
    for name in values.column or []:
        check_column(table, name)
    if values.on_error == "skip":
        table = _usable(table, values)
    label = values.label or ("label" if "label" in table.columns else None)
    rows = table_rows(table, values.key, label, values.class_names, values_are_no_labels=values.label is None)
    names = values.class_names or rows.class_names
    if values.dry_run:
        return _dry_run(values, kind, rows, label, names)
    licence = _licence(values) if kind == "api" else values.licence
    with waiting("Starting torch and transformers"):
        import limbeck.teachers  # noqa: F401
        from limbeck.banks import Bank

    engine = {"engine": values.engine, "workers": values.workers} if values.engine else {}
    teacher = make_teacher(values, licence or "")
    if kind == "api" and (values.max_requests is not None or values.max_cost is not None):
        _warn_of_budget(values, _plan(values, teacher, rows, label, names))
    bank = Bank.build(
        values.output,
        teacher,
        rows,
        key=values.key,
        label=label,
        class_names=names,
        inputs=values.column,
        batch_size=values.batch_size,
        dtype=values.dtype,
        licence=licence,
        overwrite=values.overwrite,
        **engine,
    )
    print(f"{bank.path}: {len(bank)} rows, {', '.join(sorted(bank.signals))}")
    if values.kind == "answers":
        tell_answers(bank, rows, values.key, values.table)
    _print_reduced(bank)
    if kind == "api":
        _print_paid(bank)
    return 0


def paid(asked: Mapping[str, float]) -> str:
    """What a paid teacher was asked in all runs of a build, in words."""
    cost = f"{asked['cost']:,.4g}" if asked["cost"] else "unknown (no prices were given)"
    return f"{asked['requests']:,.0f} requests, {asked['tokens']:,.0f} tokens, cost {cost}"


def _table(values: argparse.Namespace) -> Any:
    """The rows of ``--data``; of a folder of files a row each, known by its path, whose file the teacher is
    asked about. Completes key and columns that were not given."""
    from limbeck.data.files.table_files import table_file

    if not Path(values.data).expanduser().is_dir():
        table = table_file(values.data, keep=(values.key or "id", values.label or "label"))
    else:
        from limbeck.data.own.sides.sources import opened

        source = opened(values.data)
        table = source.table
        if source.is_folder:
            values.key, values.column = values.key or "path", values.column or ["file"]
    values.key = values.key or ("key" if "key" in table.columns and "id" not in table.columns else "id")
    return table


def _usable(table: Any, values: argparse.Namespace) -> Any:
    """The rows that can be asked about; the others are named."""
    from limbeck.banks.table_rows import check_column
    from limbeck.data.own.usable import usable

    check_column(table, values.key)
    table, skipped = usable(table, values.key, values.column)
    if skipped:
        named = [f"{place} ({reason})" for place, reason in list(skipped.items())[:_NAMED]]
        more = f", and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
        what = "row is" if len(skipped) == 1 else "rows are"
        print(
            one_line(f"limbeck: {len(skipped):,} {what} left out of {table.name}: {', '.join(named)}{more}."),
            file=sys.stderr,
        )
    return table


def _parser() -> Parser:
    parser = Parser(
        prog="limbeck bank build",
        usage="limbeck bank build --teacher KIND:NAME --data FILE --output BANK [OPTIONS]",
        description="Ask a teacher about every row of a file and keep what it says. Started again it\n"
        "goes on where it stopped and asks nothing twice.",
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add(
        "--teacher",
        required=True,
        metavar="KIND:NAME",
        help="hf:PATH_OR_ID, api:MODEL or callable:MODULE:NAME",
    )
    add(
        "--data",
        required=True,
        type=folder_name,
        metavar="FILE",
        help="a .csv, .tsv, .jsonl or .parquet file, a folder of pictures\nor sounds, or of Dataset.save_to_disk",
    )
    add("--output", required=True, type=folder_name, metavar="BANK", help="folder of the bank")
    add(
        "--column",
        action="append",
        metavar="NAME",
        help="column for the teacher (default: all but key and label)",
    )
    add(
        "--key",
        metavar="NAME",
        help="column of the unique keys (default: id; of a folder path, or\nstem for the files' names alone)",
    )
    add("--label", metavar="NAME", help="column of the labels (default: label, where there is one)")
    add(
        "--class-names",
        type=parse_names,
        metavar="A,B",
        help="classes of the labels, or to choose from, in order (default: sorted)",
    )
    add(
        "--licence",
        metavar="TEXT",
        help="what the teacher's owner says about training on its\noutputs; kept with "
        "the bank, required for api:",
    )
    add(
        "--batch-size",
        type=positive,
        default=64,
        metavar="N",
        help="rows asked at once (default: %(default)s)",
    )
    add(
        "--dtype",
        default="float32",
        choices=("float16", "bfloat16", "float32"),
        help="(default: %(default)s)",
    )
    add(
        "--on-error",
        default="error",
        choices=("error", "skip"),
        help="of rows that cannot be read, without a key or with one that came\nbefore, and of pictures and sounds "
        "that do not open: stop, or\nleave them out and name them (default: %(default)s)",
    )
    add(
        "--table",
        type=folder_name,
        metavar="FILE",
        help="of --kind answers: prompts and answers as JSON Lines, too,\nwhich `data: prompts` of a recipe reads",
    )
    add(
        "--overwrite",
        action="store_true",
        help="delete a bank of another teacher or of other data, and ask again",
    )
    add("--dry-run", action="store_true", help="say what would be asked and what it may cost, and stop")
    add_teacher_options(parser)
    return parser


def _licence(values: argparse.Namespace) -> str:
    """What was said of the licence; asked for on a terminal. Raises: WrongUse where nobody says."""
    if values.licence and values.licence.strip():
        return str(values.licence)
    model = values.teacher.partition(":")[2]
    if sys.stdin.isatty():
        said = input(f"What do the terms of {model} say about training on its outputs? ").strip()
        if said:
            return said
    raise WrongUse(
        f'State what the terms of {model} say about training on its outputs: --licence "TEXT", a sentence or a '
        "link (--licence unknown if you do not know); it is kept with the bank."
    )


def _dry_run(
    values: argparse.Namespace, kind: str, rows: Any, label: str | None, names: Sequence[str] | None
) -> int:
    """Say what a build would ask; asks nothing."""
    if kind != "api":
        batches = -(-len(rows) // values.batch_size)
        print(
            f"{len(rows)} rows of {values.data} in {batches} batches to {values.teacher}; nothing was asked."
        )
        return 0
    teacher = api_teacher(values, values.licence or "unknown")
    plan = _plan(values, teacher, rows, label, names)
    probes = max(0, teacher.probe - 1) if plan.requests else 0
    cost = "unknown (give --price-in and --price-out)" if plan.cost is None else f"about {plan.cost:,.4g}"
    probing = f" and at most {probes} to probe" * bool(probes)
    print(f"{'rows':<12}{len(rows):,} of {values.data}, to {values.teacher} at {teacher.server.endpoint}")
    print(f"{'questions':<12}{plan.questions:,} different, {plan.already:,} already in {teacher.store.path}")
    print(f"{'requests':<12}{plan.requests:,}{probing}")
    print(f"{'tokens':<12}about {plan.tokens:,}")
    print(f"{'cost':<12}{cost}")
    if plan.example is not None:
        print(f"{'a request':<12}{json.dumps(_shortened(plan.example), ensure_ascii=False)}")
    _warn_of_budget(values, plan)
    print("Nothing was asked.")
    return 0


def _plan(
    values: argparse.Namespace, teacher: Any, rows: Any, label: str | None, names: Sequence[str] | None
) -> Plan:
    """What asking a server about all rows would take."""
    with waiting("Starting torch"):
        from limbeck.banks.left_out import RowBatches
        from limbeck.banks.rows import RowColumns
    asked = getattr(teacher, "draw", teacher)  # of pictures: who draws
    columns = RowColumns(key=values.key, label=label, inputs=values.column)
    return asked.plan(RowBatches(rows, columns, names, values.batch_size))


def _warn_of_budget(values: argparse.Namespace, plan: Plan) -> None:
    """Say before the first request that the budget will not do."""
    short = []
    if values.max_requests is not None and plan.requests > values.max_requests:
        short.append(f"{values.max_requests:,} requests of about {plan.requests:,}")
    if values.max_cost is not None and plan.cost is not None and plan.cost > values.max_cost:
        short.append(f"a cost of {values.max_cost:,.4g} of about {plan.cost:,.4g}")
    if short:
        print(
            f"limbeck: The budget is below the estimate ({', '.join(short)}): the build will stop before its last row, "
            "and the same command with another budget goes on from there.",
            file=sys.stderr,
        )


def _print_reduced(bank: Any) -> None:
    """How far a model in half precision, or compiled, was from float32."""
    from limbeck.teachers.hf.beside_float32 import in_words

    if line := in_words(bank.manifest.notes):
        print(line)


def _print_paid(bank: Any) -> None:
    """What was asked, and how class probabilities came about."""
    from limbeck.banks.files import bank_info

    info = bank_info(bank.path)
    way = info["notes"].get("probabilities")
    how = f"; probabilities: {way}" if way else ""
    print(f"asked in all: {paid(info['asked'])}{how}" if info["asked"] else "nothing was asked")


def _shortened(value: Any) -> Any:
    """A request for people: pictures and sounds in it cut."""
    if isinstance(value, Mapping):
        return {key: _shortened(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_shortened(entry) for entry in value]
    return f"{value[:60]}..." if isinstance(value, str) and value.startswith("data:") else value
