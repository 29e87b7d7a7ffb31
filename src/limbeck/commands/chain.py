"""``limbeck chain``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from limbeck.commands.parser import Parser, add_no_verify, folder_name, print_json, trusts_code
from limbeck.commands.terminal import waiting
from limbeck.recipes.chain_spec import load_chain, shipped_chains

if TYPE_CHECKING:
    from limbeck.chain import ChainResult
    from limbeck.recipes.chain_spec import Chain


def command(arguments: Sequence[str]) -> int:
    parser = _parser()
    values, unknown = parser.parse_known_args(arguments)
    parser.check_unknown(unknown)
    with waiting("Starting torch and transformers"):
        chain = load_chain(values.config, output_dir=values.output_dir)
        from limbeck.chain import run_chain
    if values.dry_run:
        _print_plan(chain)
        return 0
    from limbeck.training.processes import is_first_process

    result = run_chain(chain, trust_code=trusts_code(values), tell=_tell, verify=not values.no_verify)
    if not is_first_process():
        return 0
    if values.json:
        stages = {name: record.facts["scores"] for name, record in result.stages.items()}
        print_json(
            {"scores": result.scores, "stages": stages, "ran": result.ran, "folder": str(result.folder)}
        )
    else:
        _print_result(result)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="limbeck chain",
        description="Run the stages of a chain, each a distillation run in a folder of its own.\n"
        "Finished stages are kept; started again after an interruption it goes on where it stopped.",
        epilog="--config takes a YAML file or the name of a chain that ships:\n  "
        + ", ".join(shipped_chains())
        + "\n\nexample:\n  limbeck chain --config fitnets --output_dir runs/mine",
    )
    parser.add_argument(
        "--config", required=True, metavar="CHAIN", help="a YAML file, or the name of a chain"
    )
    parser.add_argument("--output_dir", type=folder_name, metavar="DIR", help="in place of the chain's own")
    parser.add_trust_code()
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    add_no_verify(parser)
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    return parser


def _tell(sentence: str) -> None:
    from limbeck.training.processes import is_first_process

    if is_first_process():
        print(f"limbeck: {sentence}", file=sys.stderr)


def _print_plan(chain: Chain) -> None:
    from limbeck.chain import plan_chain
    from limbeck.training.arguments import DistillationArguments

    width = max(map(len, chain.stages)) + 2
    for planned in plan_chain(chain):
        recipe = chain.stages[planned.name]
        uses = ", ".join(f"{what} of {told}" for told, what in chain.uses(planned.name))
        steps = recipe.training.get("max_steps", DistillationArguments.max_steps)
        side = f" (the side of {recipe.data.side})" if recipe.data.side else ""
        print(
            f"{planned.name:<{width}}{planned.state:<10}{recipe.method.name} on {recipe.data.name}{side}, "
            f"{steps} steps{f'; uses {uses}' if uses else ''}"
        )
    print(f"folder: {chain.output_dir}")


def _print_result(result: ChainResult) -> None:
    from limbeck.problems.metric import metric_named

    width = max(map(len, result.stages)) + 2
    for name, record in result.stages.items():
        facts = record.facts
        metric = metric_named(facts["metric"])
        scores = ", ".join(
            f"{split} {metric.text(v)}" for split, v in facts["scores"].items() if v is not None
        )
        kept = "" if name in result.ran else " (finished before)"
        print(f"{name:<{width}}{facts['method']}: {scores}; {facts['steps']} steps{kept}")
    print(f"student: {result.student}\nreport: {result.folder / 'report.html'}")
