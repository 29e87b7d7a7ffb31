"""``limbeck bank build``, ``import``, ``info``, ``verify`` and ``delete``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.commands.bank_build import build, paid
from limbeck.commands.bank_import import import_
from limbeck.commands.parser import Parser, WrongUse, print_json
from limbeck.errors import nearest, one_line, some


def command(arguments: Sequence[str]) -> int:
    commands: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
        "build": (
            build,
            "ask a teacher about every row of a file, and keep what it says",
        ),
        "import": (import_, "make a bank of a file of embeddings, logits or texts"),
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
    from limbeck.banks import bank_info
    from limbeck.banks.manifest import Manifest

    info = bank_info(values.bank)
    if values.json:
        print_json(info)
    else:
        print(
            "\n".join(
                one_line(f"{name:<14}{text}")
                for name, text in _told(info, Manifest.read(Path(values.bank)).missing)
            )
        )
    return 0


def _told(info: Mapping[str, Any], missing: Mapping[str, list[Any]]) -> list[tuple[str, str]]:
    """What a bank is, in lines for people: a name and a text."""
    from limbeck.banks.layout import told

    rows = "unknown" if info["rows"] is None else f"{info['rows']:,}"
    signals = [f"{name} {told(entry)}".rstrip() for name, entry in info["signals"].items()]
    classes = info["class_names"]
    lines = [
        ("path", info["path"]),
        ("state", info["state"]),
        ("rows", rows),
        (
            "signals",
            ", ".join(signals + ["labels"] * info["labelled"] + ["head"] * info["head"]) or "none yet",
        ),
        (
            "classes",
            f"{len(classes)}: {', '.join(classes[:8])}{' ...' * (len(classes) > 8)}" if classes else "none",
        ),
        ("views", ", ".join(info["views"])),
        ("access", str(info["access"])),
        ("licence", info["licence"] or "not stated"),
        ("size", f"{info['bytes']:,} bytes in {info['shards']} shards, {info['dtype']}"),
    ]
    lines += [("how", f"{name}: {_plain(value)}") for name, value in info["notes"].items()]
    if info["asked"]:
        lines.append(("asked", paid(info["asked"])))
    for reason, keys in missing.items():
        lines.append(("missing", f"{len(keys):,} rows ({reason}): {some(keys)}"))
    lines += [("fingerprint", f"{name}: {value}") for name, value in info["fingerprint"].items()]
    return lines


def _plain(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


def _verify(arguments: Sequence[str]) -> int:
    parser = _bank_parser("verify", "Read every byte of a bank and compare it with the recorded hashes.")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    from limbeck.banks import Bank

    print(f"{values.bank}: {Bank.open(values.bank).verify():,} bytes as they were written")
    return 0


def _delete(arguments: Sequence[str]) -> int:
    parser = _bank_parser("delete", "Delete a bank, and only a bank.")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    from limbeck.banks import bank_info, delete_bank

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
