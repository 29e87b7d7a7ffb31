"""``limbeck diagnose``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.commands.parser import Parser, add_no_verify, folder_name, print_json, share, trusts_code
from limbeck.commands.terminal import waiting
from limbeck.errors import one_line
from limbeck.recipes.places import check_places
from limbeck.recipes.recipe import parse_recipe

if TYPE_CHECKING:
    from limbeck.evaluation.diagnosis.expectation import Gain
    from limbeck.evaluation.diagnosis.outcome import Diagnosis

PICTURE = "diagnosis.svg"


def command(arguments: Sequence[str]) -> int:
    values, recipe_arguments = _parser().parse_known_args(arguments)
    recipe = parse_recipe(recipe_arguments, look=partial(check_places, teacher=values.teacher))
    with waiting("Starting torch and transformers"):
        from limbeck.files import write_whole
        from limbeck.prior import diagnose
        from limbeck.reporting.diagnosis_picture import diagnosis_svg

    folder = Path(values.output or recipe.output_dir)
    folder.mkdir(parents=True, exist_ok=True)  # what cannot be written is told at once
    found = diagnose(
        recipe,
        teacher=values.teacher,
        alone=values.alone,
        train_alone=not values.no_training,
        trust_code=trusts_code(values),
        verify=not values.no_verify,
    )
    path = found.save(folder)
    write_whole(folder / PICTURE, diagnosis_svg(found))
    if values.json:
        print_json(found.to_dict())
        return 0
    _print(found)
    print(f"\ndiagnosis: {path}\npicture: {folder / PICTURE}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="limbeck diagnose",
        description="Tell, before training, whether a teacher can help: a pilot by ridge regression on the student's\n"
        "features, and how much of the class comes through the link; the smaller of both is expected.\n"
        "The student is trained once without the teacher, which tells what there is to gain.",
        epilog="The other options are those of `limbeck distill`: --config RECIPE, and keys of the recipe.\n\n"
        "example:\n  limbeck diagnose --config av_digits_bagged --data.config.labels_per_class 2",
    )
    add = parser.add_argument
    add(
        "--output",
        type=folder_name,
        metavar="DIR",
        help="folder of diagnosis.json and the picture (default: the recipe's output_dir)",
    )
    add("--teacher", metavar="NAME", help="which of several teachers")
    add(
        "--alone",
        type=share,
        metavar="A",
        help="accuracy of the student without a teacher, where it is known",
    )
    add(
        "--no-training",
        action="store_true",
        help="do not train the student alone; a probe stands in, which promises too much",
    )
    parser.add_trust_code()
    add_no_verify(parser)
    add("--json", action="store_true", help="print the diagnosis as JSON")
    return parser


def _print(d: Diagnosis) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(escape(one_line(d.sentence)), style="bold", highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    for name, text in _lines(d):
        table.add_row(name, escape(one_line(text)))
    console.print(table)
    for reason in d.reasons:
        console.print(
            f"- {escape(one_line(reason.sentence))} Mend: {escape(one_line(reason.mend))}", highlight=False
        )
    for warning in d.warnings:
        console.print(f"! {escape(one_line(warning))}", highlight=False)


def _lines(d: Diagnosis) -> Iterator[tuple[str, str]]:
    """Name and text of each figure."""
    from limbeck.evaluation.diagnosis.outcome import points

    yield "teacher, link", f"{d.teacher}, {d.link}"
    yield "student alone", f"{d.room.alone:.1%} ({d.alone_from})"
    yield (
        "rows",
        f"{d.room.n_labelled:,} labelled, {d.room.n_new:,} reached without a label"
        + (f" in {d.room.n_bags} bags" if d.room.in_bags else "")
        + f" (cover {d.room.cover:.0%})",
    )
    yield "by the link", _gain(d.expectation.by_link)
    if d.information is not None:
        found = d.information
        yield (
            "",
            f"{found.psi:.0%} of the class comes through [{found.low:.0%}, {found.high:.0%}]; what arrives is right in "
            f"{found.accuracy:.0%} of {found.n} rows whose class is known",
        )
    yield "by the pilot", _gain(d.expectation.by_pilot)
    if d.pilot is not None:
        judges = "its own labels, each left out" if d.pilot.crossed else "held-out rows"
        yield "", f"{d.pilot.alone:.1%} to {d.pilot.taught:.1%}, judged by {d.pilot.n} {judges}"
    yield "expected", _gain(d.gain)
    for what, gain in d.helps_more.items():
        yield "would bring more", f"{what}: up to {points(gain)}"
    if d.bound is not None:
        b = d.bound
        yield (
            "UCMKD's bound",
            f"{b.student_error:.2f} <= {b.right:.2f} = {b.teacher_error:.2f} (teacher) "
            f"+ {b.feature_alignment:.2f} (FA) + {b.label_alignment:.2f} (LA), in nats (decides nothing)",
        )
    for name, value in d.facts.items():
        yield (
            name.replace("_", " "),
            f"{value:.2f}" + (" (decides nothing)" if name in ("teacher_accuracy", "cka") else ""),
        )


def _gain(gain: Gain | None) -> str:
    from limbeck.evaluation.diagnosis.outcome import points

    if gain is None:
        return "cannot be told"
    return f"{points(gain.estimate)} points [{points(gain.low)}, {points(gain.high)}]"
