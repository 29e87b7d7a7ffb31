"""Old public paths, kept for a while: each leads to the new home with a DeprecationWarning. The library uses none.

A file that moved is found through its old name (``import limbeck.signals.bank``); a name that left a file
which is still there is found through that file (``from limbeck.data.base import Task``).
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Old file to new file, below ``limbeck``.
FILES = {
    "assembly": "plan",
    "data.audio": "data.files.audio",
    "data.av_digits": "data.benchmarks.av_digits",
    "data.bags": "data.benchmarks.bags",
    "data.emoji": "data.benchmarks.emoji",
    "data.espeak_process": "data.benchmarks.espeak_process",
    "data.folders": "data.own.folders",
    "data.glue": "data.benchmarks.glue",
    "data.glue_tasks": "data.benchmarks.glue_tasks",
    "data.glyph_shapes": "data.benchmarks.glyph_shapes",
    "data.glyphs": "data.benchmarks.glyphs",
    "data.illustrate": "data.benchmarks.illustrate",
    "data.image_text": "data.benchmarks.image_text",
    "data.images": "data.files.images",
    "data.readers": "data.files.readers",
    "data.records": "data.files.records",
    "data.speech": "data.benchmarks.speech",
    "data.tasks": "data.registry",
    "data.text_rows": "data.own.text_rows",
    "data.text_splits": "data.own.text_splits",
    "data.text_table": "data.own.text_table",
    "data.two_folders": "data.own.two_folders",
    "data.vec": "data.benchmarks.vec",
    "data.vec_tasks": "data.benchmarks.vec_tasks",
    "data.views": "data.files.views",
    "functional.adjoint": "functional.transport.solver.adjoint",
    "functional.attached": "functional.hand_gradients",
    "functional.class_blocks": "functional.transport.class_blocks",
    "functional.divergence": "functional.transport.debiased",
    "functional.divergences": "functional.response.predictions",
    "functional.entropic": "functional.transport.entropic",
    "functional.exact": "functional.transport.exact",
    "functional.hints": "functional.features.hints",
    "functional.kernels": "functional.relations.kernels",
    "functional.majorised": "functional.transport.majorised",
    "functional.manifold": "functional.features.manifold",
    "functional.moments": "functional.relations.moments",
    "functional.notices": "functional.warnings_once",
    "functional.pairs": "functional.relations.pair_sums",
    "functional.prototypes": "functional.transport.prototypes",
    "functional.relations.contrast": "functional.contrastive.in_batch",
    "functional.similarity": "functional.relations.similarity",
    "functional.sinkd": "functional.transport.sinkd",
    "functional.sinkhorn": "functional.transport.solver.sinkhorn",
    "functional.sliced": "functional.transport.sliced",
    "functional.spectra": "functional.relations.spectra",
    "functional.streaming": "functional.transport.streaming",
    "functional.unbalanced": "functional.transport.unbalanced",
    "functional.unrolled": "functional.transport.solver.unrolled",
    "functional.vocabulary": "functional.response.vocabulary",
    "functional.within_class": "functional.transport.within_class",
    "reporting.feature_map": "reporting.two_dimensions",
    "run": "runner",
    "signals.ahead": "banks.left_out",
    "signals.answers": "banks.answers",
    "signals.arrays": "banks.arrays",
    "signals.bank": "banks.bank",
    "signals.build": "banks.build",
    "signals.columns": "banks.columns",
    "signals.engines": "banks.engines.choose",
    "signals.files": "banks.files",
    "signals.keys": "banks.key_index",
    "signals.manifest": "banks.manifest",
    "signals.ray_engine": "banks.engines.ray_engine",
    "signals.rows": "banks.rows",
    "signals.search": "banks.search",
    "signals.shards": "banks.shards",
    "signals.stores": "banks.stores",
    "signals.table_files": "data.files.table_files",
    "signals.tables": "banks.tables",
    "students.card": "students.export.card",
    "students.exported": "students.export.exported",
    "students.freezing": "students.changes.freezing",
    "students.lora": "students.changes.lora",
    "students.onnx_export": "students.export.onnx",
    "students.tracing": "students.export.tracing",
    "teachers.api_chat": "teachers.api.chat",
    "teachers.api_embeddings": "teachers.api.embeddings",
    "teachers.api_images": "teachers.api.images",
    "teachers.api_server": "teachers.api.server",
    "teachers.api_text": "teachers.api.text",
    "teachers.asking": "teachers.api.asking",
    "teachers.collecting": "teachers.api.collecting",
    "teachers.course": "teachers.api.scheduling",
    "teachers.hf_inputs": "teachers.hf.inputs",
    "teachers.hf_loading": "teachers.hf.loading",
    "teachers.hf_reading": "teachers.hf.reading",
    "teachers.hf_towers": "teachers.hf.towers",
    "teachers.kinds": "teachers.api.endpoint_kind",
    "teachers.labels": "teachers.api.labels",
    "teachers.limits": "teachers.api.limits",
    "teachers.pooling": "teachers.hf.pooling",
    "teachers.preprocessing": "teachers.hf.preprocessing",
    "teachers.prompts": "teachers.api.prompts",
    "teachers.questions": "teachers.api.questions",
    "teachers.sending": "teachers.api.sending",
    "teachers.sounds": "teachers.hf.sounds",
    "training.bag_check": "evaluation.diagnosis.bag_check",
    "training.texts": "training.encoding",
}

# File that is still there -> name that has left it -> its new file.
NAMES = {
    "runner": {
        "teacher_bank": "teacher_stage",
        "trained_teacher": "teacher_stage",
    },
    "data.base": {"Task": "data.task"},
    "data": {"UNLABELLED": "signals.classes"},
    "signals": {
        "Bank": "banks.bank",
        "bank_info": "banks.files",
        "delete_bank": "banks.files",
        "oracle_like": "banks.controls",
        "random_like": "banks.controls",
        "shuffled": "banks.controls",
        "uniform_like": "banks.controls",
    },
    "signals.pairing": {
        "oracle_like": "banks.controls",
        "random_like": "banks.controls",
        "shuffled": "banks.controls",
        "uniform_like": "banks.controls",
    },
}


class _OldFile(ModuleType):
    """A file under its old name. Called, it is the function that bears its name: once ``limbeck.run`` has been
    imported as a file, ``from limbeck import run`` gives this."""

    _home: str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self._home), name)

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self._home))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        package, _, name = self.__name__.rpartition(".")
        home: Any = importlib.import_module(self._home)
        # where the home has none of that name, the face of the package has
        found = getattr(home, name, None) or sys.modules[package].__getattr__(name)
        return found(*args, **kwargs)


class _Finder(MetaPathFinder, Loader):
    """Finds the old names of files; asked only when nothing else has found a module."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        package, _, file = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == "limbeck" and file in FILES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        old = spec.name.removeprefix("limbeck.")
        _warn(f"limbeck.{old}", f"limbeck.{FILES[old]}")
        module = _OldFile(spec.name)
        module._home = f"limbeck.{FILES[old]}"
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


def install() -> None:
    """Let Python find old files, after all others."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def names(module: str, fallback: Callable[[str], Any] | None = None) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that knows the names which have left it.

    Args:
        module: its ``__name__``.    fallback: asked about all other names.
    """
    homes = NAMES[module.removeprefix("limbeck.")]

    def __getattr__(name: str) -> Any:
        if name in homes:
            _warn(f"{module}.{name}", f"limbeck.{homes[name]}.{name}")
            return getattr(importlib.import_module(f"limbeck.{homes[name]}"), name)
        if fallback is not None:
            return fallback(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__


def _warn(old: str, new: str) -> None:
    """At the first line outside this file; ``warnings`` itself passes over the frames of the import system."""
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and (
        frame.f_globals is globals() or "_bootstrap" in frame.f_code.co_filename
    ):
        depth, frame = depth + (frame.f_globals is globals()), frame.f_back
    warnings.warn(f"{old} has moved; take {new}.", DeprecationWarning, stacklevel=depth)
