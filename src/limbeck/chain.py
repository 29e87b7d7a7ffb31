"""A chain: stages one after the other, each a run of its own, that goes on where it was killed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from limbeck.distill import distill, saved
from limbeck.errors import ConfigError
from limbeck.evaluation.results import read_metrics, write_metrics
from limbeck.methods.parts import PARTS_FILE
from limbeck.plan import recipe_facts
from limbeck.recipes.chain_spec import Chain, load_chain, make_chain
from limbeck.recipes.stages import StageRecord, differences, read_records, write_records
from limbeck.reporting import report_folder
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.students.export.exported import hashed_files, sha256_of
from limbeck.students.export.info import INFO
from limbeck.training.processes import is_first_process, wait_for_all

State = Literal["finished", "goes on", "new", "again"]


@dataclass(frozen=True)
class ChainResult:
    """What a chain gives.

    Args:
        folder: with a folder for each stage, ``chain.json``, ``metrics.json`` and ``report.html``.
        stages: name to record, in order.    ran: those that were trained now; the others were finished before.
    """

    folder: Path
    stages: dict[str, StageRecord]
    ran: tuple[str, ...]

    @property
    def scores(self) -> dict[str, float]:
        """Of the last stage: split to the metric that decides."""
        return dict(self.stages[self.last].facts["scores"])

    @property
    def student(self) -> Path:
        """The folder of the last stage's student."""
        return self.folder / self.last / "student"

    @property
    def last(self) -> str:
        """Name of the last stage."""
        return list(self.stages)[-1]


@dataclass(frozen=True)
class PlannedStage:
    """What is to be done for a stage.

    Args:
        state: ``finished``; ``goes on`` from its last checkpoint; ``new``; ``again``, since its recipe has changed
            before it was finished, or a stage that it uses has shipped other weights since.
        settings, inputs: as :class:`StageRecord` has them.
    """

    name: str
    state: State
    settings: dict[str, Any]
    inputs: dict[str, str]


def run_chain(
    chain: Chain | Mapping[str, Any] | str | Path,
    *,
    output_dir: str | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> ChainResult:
    """Run the stages that are not finished, each by :func:`limbeck.distill.distill` in ``output_dir/NAME``.

    A stage that was finished is kept. One that was killed goes on from its last checkpoint, to the same weights as if
    it had not been; a stage whose recipe does not say how it is saved saves ten times, and only until it is finished.
    A stage runs again if one that it uses ships other weights than it did.

    Args:
        chain: a YAML file, the name of a chain that ships, plain values, or a chain.
        output_dir: in place of its own.    tell: called with a sentence before each stage.

    Raises: ConfigError for a finished stage whose recipe has been edited since, before anything is run, and as
        :func:`limbeck.recipes.chain_spec.load_chain` and :func:`limbeck.distill.distill`.
    """
    chain = chain_of(chain, output_dir)
    folder = Path(chain.output_dir)
    settings = {name: recipe_facts(recipe) for name, recipe in chain.stages.items()}
    _check_all(chain, settings)
    wait_for_all()
    ran = []
    for number, name in enumerate(chain.stages, 1):
        planned = _planned(chain, name, settings[name], read_records(folder))
        tell(f"stage {number} of {len(chain.stages)}, {name}: {_SAID[planned.state]}")
        wait_for_all()  # all have looked before the first writes
        if planned.state != "finished":
            _run_stage(chain, planned)
            ran.append(name)
    found = read_records(folder)
    result = ChainResult(folder, {name: found[name] for name in chain.stages}, tuple(ran))
    if is_first_process():
        _report(result)
    wait_for_all()
    return result


_SAID: dict[State, str] = {
    "finished": "finished before",
    "goes on": "goes on from its last checkpoint",
    "new": "training",
    "again": "training again, as its recipe or a stage that it uses has changed",
}


def chain_of(chain: Chain | Mapping[str, Any] | str | Path, output_dir: str | None = None) -> Chain:
    """A chain from whatever names one; errors as ``load_chain``."""
    if isinstance(chain, str | Path):
        return load_chain(chain, output_dir=output_dir)
    if not isinstance(chain, Chain):
        chain = make_chain({**chain} if output_dir is None else {**chain, "output_dir": output_dir})
    return chain if output_dir is None else replace(chain, output_dir=output_dir)


def plan_chain(chain: Chain) -> list[PlannedStage]:
    """What is to be done, stage by stage; nothing is run or written. Errors as :func:`run_chain`."""
    settings = {name: recipe_facts(recipe) for name, recipe in chain.stages.items()}
    _check_all(chain, settings)
    records = read_records(Path(chain.output_dir))
    return [_planned(chain, name, settings[name], records) for name in chain.stages]


def led_to(chain: Chain, names: Iterable[str]) -> list[str]:
    """The stages that some stages use, and those that these use, in order."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [told for told, _ in chain.uses(name)]
    return [name for name in chain.stages if name in found]


def _planned(
    chain: Chain, name: str, settings: dict[str, Any], records: Mapping[str, StageRecord]
) -> PlannedStage:
    record = records.get(name)
    inputs = {told: records[told].digest if told in records else "" for told, _ in chain.uses(name)}
    state: State
    if record is None or not chain.folder(name).is_dir():
        state = "new"
    elif record.inputs != inputs or record.settings != settings:
        state = "again"
    elif record.state == "finished" and _ships(chain, name):
        state = "finished"
    else:
        state = "goes on"
    return PlannedStage(name, state, settings, inputs)


def _run_stage(chain: Chain, planned: PlannedStage) -> None:
    name, folder = planned.name, Path(chain.output_dir)
    record = StageRecord("running", planned.settings, planned.inputs)
    goes_on = planned.state == "goes on"
    if is_first_process():
        if not goes_on:
            shutil.rmtree(chain.folder(name), ignore_errors=True)
        write_records(folder, {**read_records(folder), name: record})
    wait_for_all()
    uses = chain.uses(name)
    known = read_records(folder)
    before = [
        facts for told in led_to(chain, [told for told, _ in uses]) for facts in _all_facts(known[told])
    ]
    recipe = chain.recipe(name)
    result = distill(saved(recipe), resume=goes_on, overwrite=True, stage=name, before=before)
    if is_first_process():
        first = [{**facts, "stage": f"{name}/{facts['stage']}"} for facts in result.stages[len(before) :]]
        facts = {**result.facts(name, dict(uses)), "before": first}
        digest = stage_digest(chain, name)
        record = replace(record, state="finished", digest=digest, facts=facts)
        write_records(folder, {**read_records(folder), name: record})
        if "save_strategy" not in recipe.training:
            shutil.rmtree(chain.folder(name) / "checkpoints", ignore_errors=True)
    wait_for_all()


def stage_digest(chain: Chain, name: str) -> str:
    """Digest of what a stage left: weights and program of its student, and the parts of its method, if it has some."""
    parts = chain.folder(name) / PARTS_FILE
    files = [*hashed_files(chain.shipped(name)), *([parts] if parts.is_file() else [])]
    return settings_fingerprint({path.name: sha256_of(path) for path in files})


def _ships(chain: Chain, name: str) -> bool:
    return (chain.shipped(name) / INFO).is_file()


# ---- what may not be ------------------------------------------------------------------------------------------


def _check_all(chain: Chain, settings: Mapping[str, dict[str, Any]]) -> None:
    """Refuse finished stages that were edited or touched, and folders that hold something else."""
    records = read_records(Path(chain.output_dir))
    for name in chain.stages:
        record, folder = records.get(name), chain.folder(name)
        mend = f"delete {folder} to train it anew, or name another output_dir"
        if record is None and folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(
                f"{folder} holds what chain.json does not list as a stage of this chain; delete it, or name another "
                "output_dir."
            )
        if record is None or record.state != "finished" or not _ships(chain, name):
            continue
        if record.settings != settings[name]:
            raise ConfigError(
                f"Stage {name!r} is finished, and its recipe has been edited since: it was trained with "
                f"{differences(record.settings, settings[name])}; {mend}."
            )
        if stage_digest(chain, name) != record.digest:
            raise ConfigError(f"{chain.shipped(name)} is not what the stage {name!r} wrote; {mend}.")


# ---- what is told ---------------------------------------------------------------------------------------------


def _all_facts(record: StageRecord) -> list[dict[str, Any]]:
    """Facts of a stage, after those of the teachers that were trained in it."""
    own = dict(record.facts)
    return [*own.pop("before", []), own]


def _report(result: ChainResult) -> None:
    """The last stage's results and the table of all stages, in the chain's own folder."""
    last = read_metrics(result.folder / result.last)
    stages = [facts for record in result.stages.values() for facts in _all_facts(record)]
    info = {
        **last.info,
        "title": f"{' → '.join(result.stages)}: {last.info['title']}",
        "stages": stages,
        "run_folder": result.last,
    }
    write_metrics(result.folder, last.rows, info)
    report_folder(result.folder)
