"""Ship a student alone: a folder that predicts where limbeck is not installed."""

from __future__ import annotations

import inspect
import json
import math
import platform
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from limbeck import __version__
from limbeck.errors import ClassNamesError, ConfigError, ExportError
from limbeck.files import writing
from limbeck.problems.base import Problem
from limbeck.problems.registry import problem_class
from limbeck.students.export.answer import Answer, answer_to, answered
from limbeck.students.export.card import check_card, model_card
from limbeck.students.export.exported import hashed_files, load_exported, predict, sha256_of
from limbeck.students.export.info import FORMAT, INFO, PREPROCESSOR, digest_of
from limbeck.students.export.pooled import POOLED, save_pooled
from limbeck.students.export.preprocessing import save_preprocessing
from limbeck.students.export.processors import image_processor
from limbeck.students.export.program import PROGRAM
from limbeck.students.export.swapping import beside, clear_killed, swap
from limbeck.students.export.tracing import save_program
from limbeck.students.language.shipping import write_as_told
from limbeck.students.pooled import PooledClassifier
from limbeck.students.pretrained import auto_class, quietly
from limbeck.students.student import Student

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["export_student", "load_exported", "predict", "verify_export"]


def export_student(
    model: Student | nn.Module,
    folder: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    problem: Problem | None = None,
    inputs_example: Mapping[str, Tensor],
    preprocessor: Mapping[str, Any],
    provenance: Mapping[str, Any],
    processor: Any = None,
    card: Mapping[str, Any] | None = None,
) -> Path:
    """Write the student, and nothing else, to ``folder``; checked against ``model`` before it appears.

    A transformers classification model is written for its ``AutoModelFor...``; any other module as a program in
    JSON (:mod:`limbeck.students.export.program`) with its weights in safetensors: no Python class of the user, nothing
    pickled.
    LoRA adapters are merged into the weights that they adapt.
    The folder appears whole or not at all; an earlier export of that name is replaced.

    Args:
        model: a student or a bare model, in any mode and on any device; it is left as it is.
        problem: what the logits say, and their names in order.
        class_names: in its place, names of classes (of choices, where the model scores choices; of the value, where it
            has one logit).
        inputs_example: argument name to ``[n, ...]``, n >= 1: real rows, preprocessed. Not stored.
        preprocessor: JSON-able settings that make inputs from raw samples; of texts ``{"kind": "text", "columns":
            ["text", ...], "max_length": L}``.
        provenance: JSON-able facts for the model card (method, teacher, data, seed).
        processor: a transformers processor or tokenizer whose files go into the folder; a student of texts needs it.
            An image classifier of transformers that is shown RGB gets one that reads as ``preprocessor`` says.
        card: what the head of the model card says: ``licence``, ``base_model``, ``datasets``, ``results``.

    Returns: the folder.
    Raises: ClassNamesError if names and logits differ in number; ConfigError if ``folder`` holds something else,
    settings are not JSON-able, neither or both of ``problem`` and ``class_names`` are given, or a student of texts
    comes without its tokenizer; ExportError if the model cannot be
    traced or the copy's logits differ.
    """
    folder = Path(folder).absolute()
    check_target(folder)
    check_card(card or {})
    if preprocessor.get("kind") == "text" and processor is None:
        raise ConfigError("A student of texts is shipped with its tokenizer; pass processor=tokenizer.")
    inputs = {name: value.detach().cpu() for name, value in inputs_example.items()}
    asked = _asked(model.model if isinstance(model, Student) else model, problem, class_names)
    answer = answer_to(model, asked, inputs)
    _check_answer(asked, answered(answer, inputs))
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        clear_killed(folder)
        new = beside(folder)
        new.mkdir()
        try:
            told = Told(asked, preprocessor, provenance, processor, card or {})
            write_student(answer, new, inputs, told)
            usual_modes(new)
            _verify(answer, new, inputs)
            swap(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder


def verify_export(
    model: Student | nn.Module, folder: str | Path, inputs: Mapping[str, Tensor], *, tolerance: float = 1e-4
) -> float:
    """The largest difference between what ``model`` and its export answer (logits, or a prediction), on ``inputs``.

    Args:
        tolerance: allowed difference, relative to the largest logit (at least 1); at least 0.02 in bfloat16.
    Raises: ExportError beyond the tolerance.
    """
    answer = answer_to(model, load_exported(folder).problem, inputs)
    return _verify(answer, Path(folder), inputs, tolerance)


def _verify(answer: Answer, folder: Path, inputs: Mapping[str, Tensor], tolerance: float = 1e-4) -> float:
    logits = answered(answer, inputs)
    wanted = logits.float()
    if logits.dtype == torch.bfloat16:  # a unit in the last place is 0.004 to 0.008 of a value
        tolerance = max(tolerance, 0.02)
    found = load_exported(folder).outputs(inputs).float()
    difference = float((found - wanted).abs().max()) if found.shape == wanted.shape else math.inf
    if not difference <= tolerance * max(1.0, float(wanted.abs().max())):
        raise ExportError(
            f"The export in {folder} gives outputs that differ by {difference:.3g} from those of the trained "
            f"{type(answer.model).__name__}; export it again, from the weights you trained."
        )
    return difference


@dataclass(frozen=True)
class Told:
    """What is said of a student beside its weights; see :func:`export_student`.

    Args:
        as_program: write a program also of a model that transformers has a class for.
    """

    asked: Problem
    preprocessor: Mapping[str, Any]
    provenance: Mapping[str, Any]
    processor: Any
    card: Mapping[str, Any]
    as_program: bool = False


def write_student(answer: Answer, folder: Path, inputs: Mapping[str, Tensor], told: Told) -> None:
    """All files of an export into an empty folder, unchecked."""
    model, asked, preprocessor = answer.model, told.asked, told.preprocessor
    loads_with = PROGRAM if told.as_program else loader_of(model)
    processor = told.processor
    if loads_with == PROGRAM:
        save_program(answer, inputs, folder)
        save_preprocessing(preprocessor, folder)
    elif loads_with == POOLED:
        save_pooled(cast("PooledClassifier", model), folder, preprocessor.get("max_length"))
    else:
        pretrained = cast("PreTrainedModel", model)
        pretrained.config.__dict__.pop("auto_map", None)  # the class is transformers' own
        if asked.names_outputs:
            pretrained.config.id2label = dict(enumerate(asked.names))  # also its num_labels
            pretrained.config.label2id = {name: i for i, name in enumerate(asked.names)}
        if asked.writes:
            write_as_told(pretrained, asked)
        with quietly():
            pretrained.save_pretrained(folder)
        inputs = _by_its_name(pretrained, inputs)
        processor = processor or image_processor(loads_with, preprocessor)
    if processor is not None:
        processor.save_pretrained(folder)
    (folder / PREPROCESSOR).write_text(_plain_json(preprocessor, "preprocessor"), encoding="utf-8")
    provenance = _finite(told.provenance)
    _plain_json(provenance, "provenance")
    info = {
        "format": FORMAT,
        "loads_with": loads_with,
        "problem": asked.spec(),
        "class_names": list(asked.names),
        "inputs": {
            name: {"dtype": str(value.dtype).removeprefix("torch."), "shape": ["rows", *value.shape[1:]]}
            for name, value in inputs.items()
        },
        "has_processor": processor is not None,
        "versions": {"limbeck": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "provenance": provenance,
        "card": _finite(told.card),
    }
    info = write_info(folder, info)
    pooling = model.pooling if loads_with == POOLED else None
    facts = {**provenance, "versions": info["versions"]}
    card = model_card(info, asked, preprocessor, facts, info["card"], cast("str | None", pooling))
    (folder / "README.md").write_text(card, encoding="utf-8")


def write_info(folder: Path, info: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``student.json`` with the hashes of the files that are there, and its own; returns what it holds."""
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in hashed_files(folder)}
    whole = {**info, "sha256": hashes}
    whole["digest"] = digest_of(whole)
    (folder / INFO).write_text(_plain_json(whole, "student.json"), encoding="utf-8")
    return whole


def _by_its_name(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A single input under the name that the model's forward has for it."""
    if len(inputs) != 1 or next(iter(inputs)) in inspect.signature(model.forward).parameters:
        return inputs
    return {model.main_input_name: next(iter(inputs.values()))}


def loader_of(model: nn.Module) -> str:
    """What opens a model's folder: the ``AutoModelFor...`` of transformers, sentence-transformers, or a program."""
    if isinstance(model, PooledClassifier) and type(model.encoder).__module__.startswith(
        "transformers.models."
    ):
        return POOLED
    return auto_class(model) or PROGRAM


def _asked(model: nn.Module, problem: Problem | None, class_names: Sequence[str] | None) -> Problem:
    """The problem as given, or as model and names say it."""
    if sum(given is not None for given in (problem, class_names)) != 1:
        raise ConfigError("A student is exported with its problem, or with class_names; give one of them.")
    if problem is not None:
        return problem
    names = tuple(str(name) for name in class_names or ())
    scores_choices = getattr(model, "choices", False) is True
    if scores_choices or auto_class(model) == "AutoModelForMultipleChoice":
        return problem_class("choice")(names)
    return problem_class("classification" if len(names) != 1 else "regression")(names)


def _check_answer(asked: Problem, given: Tensor) -> None:
    """Raises ClassNamesError where names and logits, ConfigError where a problem and what a model says, do not fit."""
    width, wanted = given.shape[-1], asked.n_outputs()
    if asked.reading == "classifier" and given.ndim != 2:
        raise ConfigError(
            f"The student gives logits {list(given.shape)}, at several positions of a row; export it with a problem "
            "of positions (token_classes, segmentation)."
        )
    if asked.names_outputs and asked.reading in ("classifier", "positions") and len(asked.names) != width:
        raise ClassNamesError(f"{len(asked.names)} class names for {width} logits; give one name per logit.")
    if wanted is not None and wanted != width:
        raise ConfigError(f"The student answers with {width} numbers, the {asked.kind} has {wanted}.")


def _finite(value: Any) -> Any:
    """Scores that are no number as null; JSON has no word for them."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain_json(values: Mapping[str, Any], what: str) -> str:
    try:
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")  # half a surrogate pair cannot be written
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The {what} of a student must be plain JSON values ({error}).") from error
    return text + "\n"


def usual_modes(folder: Path) -> None:
    """Files as the umask has them, which some writers do not ask: the folder was made with it."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    for path in folder.rglob("*"):
        path.chmod(mode if path.is_dir() else mode & 0o666)


def check_target(folder: Path) -> None:
    """ConfigError for a folder that holds something other than a student."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / INFO).is_file():
        raise ConfigError(f"{folder} holds something other than an exported student; name another folder.")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; name a folder for the exported student.")
