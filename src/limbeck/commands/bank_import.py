"""``limbeck bank import``: a file of embeddings, logits or texts that exists already becomes a bank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limbeck.commands.parser import Parser, folder_name, parse_names
from limbeck.commands.terminal import waiting

_EXAMPLES = """examples:
  limbeck bank import embeddings.npz --output banks/mine
  limbeck bank import vectors.npy --keys products.csv --key sku --output banks/mine
  limbeck bank import answers.parquet --features embedding --key id --output banks/mine"""


def import_(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="limbeck bank import",
        usage="limbeck bank import FILE --output BANK [OPTIONS]",
        description="Make a bank of what a teacher said already: .npz, .npy, .safetensors, .csv, .tsv,\n"
        ".jsonl, .parquet.",
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add("file", help="the file")
    add("--output", required=True, type=folder_name, metavar="BANK", help="folder of the bank")
    add("--key", metavar="NAME", help="array or column of the keys (default: keys or id, else row numbers)")
    add("--keys", metavar="FILE", help="keys in a file of their own, in the order of the rows")
    for signal in ("features", "logits", "log-probs"):
        add(f"--{signal}", metavar="NAME", help=f"array or column of the {signal} (a pattern: 'f*')")
    add("--text", metavar="NAME", help="column of the teacher's texts")
    add("--label", metavar="NAME", help="array or column of the labels")
    add("--class-names", type=parse_names, metavar="A,B", help="in the order of labels and logits")
    add("--licence", metavar="TEXT", default="", help="what the owner says about training on it")
    add("--overwrite", action="store_true", help="replace another bank")
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    with waiting("Starting torch"):
        from limbeck.banks import Bank
        from limbeck.data.files.array_files import ARRAY_SUFFIXES, SIGNALS, arrays_of
    signals = {name: getattr(values, name) for name in SIGNALS if getattr(values, name) is not None}
    kept = {"class_names": values.class_names, "licence": values.licence, "overwrite": values.overwrite}
    if Path(values.file).suffix.lower() in ARRAY_SUFFIXES:
        if values.text is not None:
            parser.error("--text is a column of a table, not of arrays")
        named = signals | ({"labels": values.label} if values.label else {})
        columns = arrays_of(values.file, named, keys=values.keys, key=values.key)
        bank = Bank.from_arrays(values.output, **columns, **kept)
    else:
        if values.keys is not None:
            parser.error("--keys is for arrays; a table has a column of keys (--key)")
        told = signals | {"text": values.text, "label": values.label, "key": values.key or "id"}
        bank = Bank.from_table(values.output, values.file, **told, **kept)
    print(f"{bank.path}: {len(bank):,} rows, {', '.join(sorted(bank.signals))}")
    return 0
