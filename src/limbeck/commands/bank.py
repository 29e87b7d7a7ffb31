"""``limbeck bank build``, ``info``, ``verify`` and ``delete``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limbeck.commands.parser import Parser, WrongUse, parse_list, positive, print_json
from limbeck.commands.terminal import waiting
from limbeck.errors import DataError, UnknownNameError, nearest

TEACHER_KINDS = ("hf", "callable")


def command(arguments: Sequence[str]) -> int:
    commands: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
        "build": (
            _build,
            "ask a teacher about every row of a file, and keep what it says",
        ),
        "info": (_info, "what a bank holds, from whom, in which state"),
        "verify": (_verify, "read every byte and compare it with the recorded hashes"),
        "delete": (_delete, "delete a bank, and only a bank"),
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: limbeck bank COMMAND [OPTIONS]\n")
        print("\n".join(f"  {name:<8}{text}" for name, (_, text) in commands.items()))
        print("\nexample:\n  limbeck bank build --teacher hf:PATH --data texts.csv --output banks/mine")
        return 0 if arguments else 2
    if arguments[0] not in commands:
        raise WrongUse(
            f"There is no command 'limbeck bank {arguments[0]}'; {nearest(arguments[0], commands)}"
        )
    return commands[arguments[0]][0](arguments[1:])


def _build(arguments: Sequence[str]) -> int:
    parser = _build_parser()
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    rows = read_rows(Path(values.data))
    for name in [values.key, *(values.column or []), *([values.label] if values.label else [])]:
        if name not in rows.column_names:
            raise UnknownNameError(
                f"{values.data} has no column {name!r}; {nearest(name, rows.column_names)}"
            )
    label = values.label or ("label" if "label" in rows.column_names else None)
    if values.dry_run:
        batches = -(-len(rows) // values.batch_size)
        print(
            f"{len(rows)} rows of {values.data} in {batches} batches to {values.teacher}; nothing was asked."
        )
        return 0
    with waiting("Starting torch and transformers"):
        import limbeck.teachers.hf  # noqa: F401
        from limbeck.signals import Bank

    bank = Bank.build(
        values.output,
        make_teacher(values.teacher),
        rows,
        key=values.key,
        label=label,
        class_names=values.class_names or class_names_of(rows, label),
        inputs=values.column,
        batch_size=values.batch_size,
        dtype=values.dtype,
        licence=values.licence,
        overwrite=values.overwrite,
    )
    print(f"{bank.path}: {len(bank)} rows, {', '.join(sorted(bank.signals))}")
    return 0


def _build_parser() -> Parser:
    parser = Parser(
        prog="limbeck bank build",
        description="Ask a teacher about every row of a file and keep what it says. Started again it\n"
        "goes on where it stopped and asks nothing twice.",
        epilog="example:\n  limbeck bank build --teacher hf:PATH --data texts.csv --output banks/mine"
        "\n  limbeck bank build --teacher callable:my_module:ask --data rows.parquet \\\n"
        "    --column text --output banks/asked",
    )
    add = parser.add_argument
    add("--teacher", required=True, metavar="KIND:NAME", help="hf:PATH_OR_ID, or callable:MODULE:NAME")
    add("--data", required=True, metavar="FILE", help="a .csv, .jsonl or .parquet file")
    add(
        "--column",
        action="append",
        metavar="NAME",
        help="column for the teacher (default: all but key and label)",
    )
    add("--key", default="id", metavar="NAME", help="column of the unique keys (default: %(default)s)")
    add("--label", metavar="NAME", help="column of the labels (default: label, where there is one)")
    add(
        "--class-names",
        type=parse_list,
        metavar="A,B",
        help="names of the labels in the order of their numbers (default: sorted)",
    )
    add("--output", required=True, metavar="BANK", help="folder of the bank")
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
    add("--licence", metavar="TEXT", help="what the teacher's owner allows; kept with the bank")
    add(
        "--overwrite",
        action="store_true",
        help="delete a bank of another teacher or of other data, and ask again",
    )
    add("--dry-run", action="store_true", help="say what would be asked, and stop")
    return parser


def read_rows(path: Path) -> Any:
    """A CSV, JSON Lines or Parquet file as a ``datasets.Dataset``.

    Raises: DataError for a file that is missing, empty or of another kind.
    """
    readers = {".csv": "from_csv", ".jsonl": "from_json", ".parquet": "from_parquet"}
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    if path.suffix not in readers:
        raise DataError(f"{path} is none of {', '.join(readers)}; convert it first.")
    import datasets

    datasets.disable_progress_bars()
    try:
        rows = getattr(datasets.Dataset, readers[path.suffix])(str(path), keep_in_memory=True)
    except Exception as error:  # the readers raise many kinds
        raise DataError(
            f"{path} cannot be read as {path.suffix[1:]} ({str(error).splitlines()[0]})."
        ) from error
    if not len(rows):
        raise DataError(f"{path} holds no rows.")
    return rows


def class_names_of(rows: Any, label: str | None) -> list[str] | None:
    """The sorted names in a column of texts; None where labels are numbers or absent."""
    labels = {} if label is None else set(rows[label])
    return sorted(labels) if labels and all(isinstance(name, str) for name in labels) else None


def make_teacher(spec: str) -> Any:
    """A teacher from ``hf:PATH`` or ``callable:MODULE:NAME``; a module beside you is found too."""
    kind, _, name = spec.partition(":")
    if kind not in TEACHER_KINDS or not name:
        raise WrongUse(f"--teacher is KIND:NAME with KIND one of {', '.join(TEACHER_KINDS)}; it is {spec!r}.")
    if kind == "hf":
        from transformers.utils.logging import disable_progress_bar

        from limbeck.teachers import HFTeacher

        if Path(name).is_dir():  # nothing to download, whose bar would be missed
            disable_progress_bar()
        return HFTeacher(name)
    module_name, _, function = name.partition(":")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UnknownNameError(
            f"There is no module {error.name!r} for --teacher {spec}; start where {module_name}.py lies."
        ) from error
    found = getattr(module, function or "teacher", None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise UnknownNameError(f"{module_name} has no function {function!r}; {nearest(function, known)}")
    from limbeck.teachers import CallableTeacher

    return found if hasattr(found, "fingerprint") else CallableTeacher(found)


def _bank_parser(name: str, description: str) -> Parser:
    parser = Parser(
        prog=f"limbeck bank {name}", description=description, epilog=f"example:\n  limbeck bank {name} BANK"
    )
    parser.add_argument("bank", help="folder of the bank")
    return parser


def _info(arguments: Sequence[str]) -> int:
    parser = _bank_parser("info", "What a bank holds, from whom, in which state.")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    from limbeck.signals import bank_info

    info = bank_info(values.bank)
    if values.json:
        print_json(info)
    else:
        for key, value in info.items():
            print(f"{key:<14}{value}")
    return 0


def _verify(arguments: Sequence[str]) -> int:
    parser = _bank_parser("verify", "Read every byte of a bank and compare it with the recorded hashes.")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    from limbeck.signals import Bank

    print(f"{values.bank}: {Bank.open(values.bank).verify():,} bytes as they were written")
    return 0


def _delete(arguments: Sequence[str]) -> int:
    parser = _bank_parser("delete", "Delete a bank, and only a bank.")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    from limbeck.signals import bank_info, delete_bank

    bank_info(values.bank)  # refuses what is no bank, before anything is asked
    if not values.yes and not _confirmed(f"Delete the bank {values.bank}? [y/N] "):
        print("Nothing was deleted.")
        return 1
    print(f"{delete_bank(values.bank):,} bytes deleted")
    return 0


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # nobody there to answer
        print()
        return False
