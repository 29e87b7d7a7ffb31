"""``limbeck eval``: a student that writes, on the tasks of lm-evaluation-harness."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.commands.parser import Parser, folder_name, parse_names, positive, print_json
from limbeck.commands.terminal import waiting
from limbeck.errors import one_line
from limbeck.files import writing

if TYPE_CHECKING:
    from limbeck.evaluation import HarnessScore


def command(arguments: Sequence[str]) -> int:
    parser = _parser()
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    if (values.num_fewshot or 0) < 0:
        parser.error(f"--num-fewshot must be at least 0; it is {values.num_fewshot}")
    output = None if values.output is None else Path(values.output).expanduser()
    if output is not None:  # a folder that cannot be made is told before the tasks are asked
        with writing(output):
            output.parent.mkdir(parents=True, exist_ok=True)
    run = Path(values.student).expanduser()
    folder = run / "student" if (run / "student").is_dir() else run
    with waiting("Starting torch and lm-eval"):
        from limbeck.evaluation import check_harness, harness_scores

        check_harness()
        from importlib.metadata import version

        import lm_eval.evaluator  # noqa: F401
    scores = harness_scores(
        folder,
        values.tasks,
        include_path=values.include_path,
        limit=values.limit,
        num_fewshot=values.num_fewshot,
        batch_size=values.batch_size,
        device=values.device,
    )
    facts = {"student": str(folder), "lm_eval": version("lm_eval"), "limit": values.limit}
    told = {**facts, "scores": [asdict(score) for score in scores]}
    if output is not None:
        with writing(output):
            output.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if values.json:
        print_json(told)
    else:
        print(_table(scores))
    return 0


def _table(scores: Sequence[HarnessScore]) -> str:
    """A line a metric."""
    lines: list[tuple[str, ...]] = [("task", "metric", "score", "± s.e.", "rows", "shots")]
    for score in scores:
        metric = score.metric if score.filter == "none" else f"{score.metric} ({score.filter})"
        better = {True: "", False: " (lower is better)", None: ""}[score.higher_is_better]
        of = f" of {score.of:,}" if score.of is not None and score.of != score.rows else ""
        lines.append(
            (
                score.task,
                metric + better,
                f"{score.value:.4f}",
                "" if score.error is None else f"{score.error:.4f}",
                "" if score.rows is None else f"{score.rows:,}{of}",
                "" if score.shots is None else str(score.shots),
            )
        )
    lines = [tuple(map(one_line, line)) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(f"{cell:<{n}}" for cell, n in zip(line, widths)).rstrip() for line in lines)


def _parser() -> Parser:
    parser = Parser(
        prog="limbeck eval",
        description="Score a student that writes on tasks of lm-evaluation-harness (extra eval). `lm_eval ls tasks`\n"
        "lists them; most fetch their data from the Hugging Face hub once. No code of others is run for a task:\n"
        "one that needs trust_remote_code is refused.",
        epilog="examples:\n  limbeck eval runs/mine --tasks arc_easy,hellaswag --limit 200\n"
        "  limbeck eval runs/mine --tasks my_task --include-path tasks/ --output scores.json",
    )
    add = parser.add_argument
    add("student", metavar="RUN", help="the folder of a run, or of a student")
    add("--tasks", required=True, type=parse_names, metavar="A,B", help="tasks, groups or tags")
    add("--include-path", metavar="DIR", help="folder with tasks of your own (YAML); they run as code")
    add("--limit", type=positive, metavar="N", help="only the first N rows of each task")
    add("--num-fewshot", type=int, metavar="N", help="examples in the prompt (default: as the task says)")
    add("--batch-size", type=positive, default=16, metavar="N", help="rows at once (default: %(default)s)")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--output", type=folder_name, metavar="FILE", help="write the scores as JSON, too")
    add("--json", action="store_true", help="print as JSON")
    return parser
