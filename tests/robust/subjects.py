"""What is damaged: banks however they are used, what paid teachers answered, checkpoints."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
import toy
from robust.fuzz import Subject, all_files

from limbeck.banks import AnswerStore, Bank
from limbeck.banks.answers import Answer
from limbeck.banks.folder.verifying import verifying
from limbeck.recipes.specs import TeacherSpec
from limbeck.signals import Ragged, TeacherOutput, TopK
from limbeck.teacher_stage import teacher_bank
from limbeck.training.checkpoints import check_files

N = 24
OLD_BANK = Path(__file__).parents[1] / "banks" / "format_1"


class Said:
    """A teacher with features, texts, and tokens of different number."""

    class_names, access = ("no", "yes"), "logits"
    head = None

    def __init__(self, variant: int = 0) -> None:
        self.shift = float(variant)

    def fingerprint(self) -> dict[str, str]:
        return {"weights": "the same for both variants"}

    def __call__(self, inputs: Any) -> TeacherOutput:
        x = inputs["x"] + self.shift
        lengths = (inputs["x"][:, 0] % 3).long()
        tokens = TopK.of(torch.cat([row.repeat(int(n), 2) for row, n in zip(x, lengths)]), 2)
        return TeacherOutput(
            features=2 * x,
            logits=x[:, :2],
            tokens=Ragged(tokens, lengths),
            text=[f"said {v:.0f}" for v in x[:, 0]],
        )


def rows() -> list[dict[str, Any]]:
    return [{"id": f"key {i}é", "x": torch.tensor([i, 1.0, -i]), "label": i % 2} for i in range(N)]


def built(folder: Path, variant: int = 0) -> Bank:
    return Bank.build(folder, Said(variant), rows(), batch_size=4, shard_size=8)


def arrays(variant: int = 0) -> dict[str, Any]:
    features = torch.randn(N, 3, generator=torch.Generator().manual_seed(variant))
    return {
        "keys": range(100, 100 + N),
        "features": features,
        "hidden_states": {"layer": features[:, :, None]},
        "labels": [i % 3 for i in range(N)],
        "class_names": ["ant", "bee", "cat"],
        "head": (features[:3], None),
        "licence": "our own",
        "fingerprint": {"weights": "1"},
    }


def of_arrays(folder: Path, variant: int = 0, **options: Any) -> Bank:
    return Bank.from_arrays(folder, **arrays(variant), **options)


def of_views(folder: Path, variant: int) -> None:
    """Two shards that hold the same keys, in another view each."""
    data = [
        {"id": i, "view": view, "x": torch.tensor([i, 1.0, v])}
        for v, view in enumerate("ab")
        for i in range(8)
    ]
    Bank.build(folder, Said(variant), data, view="view", batch_size=4, shard_size=8)


def of_format_1(folder: Path, variant: int) -> None:
    shutil.copytree(OLD_BANK, folder, dirs_exist_ok=True)


def said_by(bank: Bank) -> dict[str, Any]:
    """All that a bank says, as a run would read it, comparable."""
    found: dict[str, Any] = {
        "facts": (bank.keys, bank.views, bank.class_names, bank.access, bank.licence, bank.fingerprint),
        "labels": None if bank.labels is None else bank.labels.tolist(),
        "missing": bank.manifest.missing,
        "head": None if bank.head is None else bank.head[0].tolist(),
    }
    for view in bank.views if len(bank.views) > 1 else (None,):
        said = bank.lookup(list(dict.fromkeys(bank.keys)), view=view)
        found[f"view {view}"] = {
            "plain": [None if v is None else v.tolist() for v in (said.features, said.logits, said.labels)],
            "hidden": {name: value.tolist() for name, value in said.hidden_states.items()},
            "text": said.text,
            "tokens": None if said.tokens is None else plain(said.tokens),
        }
    return found


def plain(tokens: Ragged) -> list[Any]:
    assert isinstance(tokens.values, TopK)
    return [part.tolist() for part in (tokens.lengths, tokens.values.ids, tokens.values.log_probs)]


def at_start(folder: Path) -> dict[str, Any]:
    """As a run, a diagnosis or a comparison takes the bank that its recipe names."""
    return said_by(teacher_bank(TeacherSpec(bank=str(folder)), task=None, folder=folder))  # type: ignore[arg-type]


def unverified(folder: Path) -> dict[str, Any]:
    with verifying(False):
        return at_start(folder)


def built_again(folder: Path) -> dict[str, Any]:
    """What a build makes of what is there; it has read all of it, so that it need not be read again."""
    bank = built(folder)
    with verifying(False):
        return said_by(bank)


def of_arrays_again(folder: Path) -> dict[str, Any]:
    bank = of_arrays(folder)
    with verifying(False):
        return said_by(bank)


def stopped(folder: Path, variant: int) -> None:
    """A build that was interrupted after two of three shards."""

    class Stops(Said):
        def __call__(self, inputs: Any) -> TeacherOutput:
            if inputs["x"][0, 0] >= 16:
                raise KeyboardInterrupt
            return super().__call__(inputs)

    try:
        Bank.build(folder, Stops(variant), rows(), batch_size=4, shard_size=8)
    except KeyboardInterrupt:
        return


def all_but_manifest(folder: Path) -> list[Path]:
    """Of an older bank, whose manifest has no hash of its own."""
    return [path for path in all_files(folder) if path.name != "bank.json"]


def manifest_of(folder: Path) -> list[Path]:
    return [folder / "bank.json"]


# ---- what paid teachers answered -----------------------------------------------------------------------------


def answered(folder: Path, variant: int) -> None:
    with AnswerStore(folder / "answers.sqlite") as store:
        for i in range(60):
            vector = torch.full((32,), float(i + variant)).numpy().tobytes()
            answer = Answer({"tokens": i, "text": f"answer {i + variant}"}, vector)
            store.put(f"question {i} {variant}", answer, "url", "m")


def kept_answers(folder: Path) -> dict[str, Answer]:
    """Those that are not here are asked again."""
    with AnswerStore(folder / "answers.sqlite") as store:
        return store.get_many([f"question {i} 0" for i in range(60)])


def are_kept(found: dict[str, Answer], expected: dict[str, Answer]) -> bool:
    return all(expected.get(identity) == answer for identity, answer in found.items())


# ---- checkpoints -----------------------------------------------------------------------------------------------


def checkpoints(folder: Path, variant: int) -> None:
    bank = toy.bank(folder.parent / f"bank of {folder.name}")
    run = folder.parent / f"run of {folder.name}"
    toy.trainer("kd", run, bank, save_strategy="steps", save_steps=4, max_steps=4, seed=variant).train()
    shutil.copytree(run / "checkpoints" / "checkpoint-4", folder / "checkpoint-4")


def resumed(folder: Path) -> dict[str, bytes]:
    """What a run reads that goes on from here."""
    check_files(folder / "checkpoint-4")
    return {path.name: path.read_bytes() for path in all_files(folder)}


SUBJECTS: tuple[Subject, ...] = (
    Subject("bank of arrays", partial(of_arrays), at_start),
    Subject("bank that was built", partial(built), at_start),
    Subject("bank of two views", of_views, at_start),
    Subject(
        "bank of format 1",
        of_format_1,
        at_start,
        files=all_but_manifest,
    ),
    Subject("bank.json", partial(built), at_start, files=manifest_of),
    Subject("bank, not verified", partial(built), unverified, checked=False),
    Subject("finished bank, built again", partial(built), built_again),
    Subject("finished bank, arrays again", partial(of_arrays), of_arrays_again),
    Subject("interrupted build, resumed", stopped, built_again),
    Subject("answers of a paid teacher", answered, kept_answers, are_kept),
    Subject("checkpoint", checkpoints, resumed),
)
