"""One rank of a test with several processes: trains each case and leaves its weights. Run by test_invariance.py.

Usage: ranks.py CASES.json FOLDER, with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT set, as torchrun does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))
import toy
from examples import made

from limbeck.methods.registry import METHODS
from limbeck.recipes import Recipe
from limbeck.runner import run


def main(cases: list[dict], folder: Path) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo")
    METHODS.update(made.WORKED)
    bank = toy.bank(folder / f"bank-{rank}")
    for number, case in enumerate(cases):
        if "recipe" in case:
            result = run(Recipe.from_dict(case["recipe"]), show_progress=False)
            state = {name: value.contiguous() for name, value in result.student.model.state_dict().items()}
            save_file(state, folder / f"{number}-{rank}.safetensors")
            (folder / f"{number}-{rank}.json").write_text(json.dumps(result.metrics))
            continue
        if "example" in case:
            place = folder / f"run-{rank}-{number}"
            trainer = made.trainer(case["example"], place, ddp_backend="gloo")
            trainer.train()
            save_file(toy.weights(trainer), folder / f"{number}-{rank}.safetensors")
            continue
        trainer = toy.trainer(
            case["method"],
            folder / f"run-{rank}-{number}",
            bank,
            link=case["link"],
            config=case["config"],
            double=True,
            ddp_backend="gloo",
            **case["arguments"],
        )
        trainer.train()
        save_file(toy.weights(trainer), folder / f"{number}-{rank}.safetensors")
        logs = [entry for entry in trainer.state.log_history if "loss" in entry]
        (folder / f"{number}-{rank}.json").write_text(json.dumps(logs))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
