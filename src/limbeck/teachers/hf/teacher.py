"""A transformers model as a teacher, by path or hub id: an encoder, a classifier, two towers, or a fused model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from limbeck.errors import ConfigError, UnknownNameError, UnreadableRowsError, nearest
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.hf import towers
from limbeck.teachers.hf.inputs import Columns, columns_read, joined, named_tensors, row_groups, rows_of
from limbeck.teachers.hf.loading import (
    architecture_of,
    class_names_of,
    classifier_suffix,
    load_config,
    load_model,
    max_tokens,
    weights_fingerprint,
)
from limbeck.teachers.hf.pooling import Pooling
from limbeck.teachers.hf.preprocessing import Preprocessor
from limbeck.teachers.hf.reading import Reading
from limbeck.teachers.module import ModuleTeacher


class HFTeacher:
    """A model of the transformers library, in evaluation mode and without gradient.

    A classification checkpoint gives logits and the input of its head as features. Any other gives the features
    of one *tower*: of CLIP, SigLIP, BLIP or CLAP the embedding of the modality that it is shown; of ViLT, or of
    BLIP shown texts and images together, one fused vector; of an encoder-decoder (Whisper) its encoder's states,
    the decoder is not loaded; of all others pooled hidden states. Features and hidden states are float32
    ``[m, D]``, whatever the dtype of the weights.

    Tensors go to the model as they are, by name; texts, PIL images, waveforms and files of a data set go through
    the preprocessor that the model comes with. A row's features do not depend on the rows it is asked with,
    beyond rounding.

    Args:
        source: folder or hub id.
        tower: ``text``, ``image``, ``audio`` or ``fused``: what is read of a model that has several; other
            columns are left alone. Default: what the columns show.
        classifier: read it as a classifier or as an encoder; default: what its checkpoint says.
        layer: what the features come from: the number of a hidden layer (-1 = the last, 0 = the embeddings) or
            the path of a module.
        pooling: over positions: ``mean`` or ``max`` of those that the attention mask keeps, ``cls`` (the first),
            ``last``, or the model's own ``pooler`` (before any projection); ``auto``: the embedding of a two-tower or
            fused model where no layer is named, else ``mean``.
        hidden_layers: layers kept as hidden states, pooled likewise: ``layer_0`` for a number, the path itself for
            a module.
        class_names: names of its logits; default those of its config.
        sampling_rate: in Hz, of waveforms that do not carry their own.
        resample: convert sounds of another rate instead of refusing them.
        too_long: ``truncate`` what is longer than the model reads, and count it (``counts``, a bank's notes), or
            ``refuse`` it.
        empty: ``refuse`` texts without words, or ``keep`` them.
        batch_size: most rows in one forward; default all that it is asked about at once.
        dtype: of the weights: ``float32``, ``bfloat16`` or ``float16``.
        device: where it runs, default ``cpu``.    device_map: of accelerate, in place of ``device``.
        revision: of the hub repository.    trust_remote_code: run code that the repository brings.
        licence: what its owner allows; kept with a bank.

    Raises: DataError: no such model, or no weights for what is read.    UnknownNameError: no such tower, layer,
        pooling or dtype.    ConfigError: settings that contradict each other.

    Example:
        >>> teacher = HFTeacher("openai/clip-vit-base-patch32", tower="image")  # doctest: +SKIP
        >>> bank = Bank.build("banks/clip", teacher, photos, key="id")          # doctest: +SKIP
    """

    def __init__(
        self,
        source: str | Path,
        *,
        tower: towers.Tower | None = None,
        classifier: bool | None = None,
        layer: int | str = -1,
        pooling: Pooling = "auto",
        hidden_layers: Sequence[int | str] = (),
        class_names: Sequence[str] | None = None,
        sampling_rate: int | None = None,
        resample: bool = False,
        too_long: Literal["truncate", "refuse"] = "truncate",
        empty: Literal["refuse", "keep"] = "refuse",
        batch_size: int | None = None,
        dtype: str = "float32",
        device: str | None = None,
        device_map: Any = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        licence: str = "",
    ) -> None:
        if tower is not None and tower not in towers.TOWERS:
            raise UnknownNameError(f"There is no tower {tower!r}; {nearest(str(tower), towers.TOWERS)}")
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1; it is {batch_size}.")
        self.source, self.licence, self.batch_size = str(source), licence, batch_size
        self.access: AccessLevel = "weights"
        self._reading = Reading(self.source, layer, pooling, tuple(hidden_layers))
        config = load_config(self.source, revision, trust_remote_code)
        suffix = classifier_suffix(config)
        if classifier and suffix is None:
            raise ConfigError(f"{self.source} is no classification checkpoint; leave out classifier=True.")
        is_classifier = suffix is not None if classifier is None else classifier
        self.model, self._unloaded = load_model(
            self.source,
            config,
            classifier=is_classifier,
            revision=revision,
            dtype=dtype,
            device=device,
            device_map=device_map,
            trust_remote_code=trust_remote_code,
        )
        self.towers = towers.towers_of(self.model)
        self._tower = tower
        self._classifier = ModuleTeacher(self.model) if is_classifier else None
        self._check_tower()
        self._reading.check(self.model, is_classifier)
        names = class_names if class_names is not None else class_names_of(config)
        self.class_names = tuple(names) if is_classifier and names is not None else None
        self._preprocess = Preprocessor(
            self.source,
            revision=revision,
            model_type=config.model_type,
            max_length=max_tokens(self.model, config),
            sampling_rate=sampling_rate,
            resample=resample,
            too_long=too_long,
            empty=empty,
            trust_remote_code=trust_remote_code,
        )

    @property
    def head(self) -> tuple[Tensor, Tensor | None] | None:
        """Weight and bias of a classifier, known after the first call."""
        return None if self._classifier is None else self._classifier.head

    @property
    def notes(self) -> dict[str, Any]:
        """What a bank should say of how its rows came about: what was read (how many inputs were cut is counted
        by the bank)."""
        read = {
            "tower": self._tower or " or ".join(self.towers),
            "layer": self._reading.layer,
            "pooling": self._reading.pooling,
        }
        return {} if self._classifier else read

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        able = tuple(kind for kind in towers.KINDS for tower in self.towers if kind in towers.kinds_of(tower))
        columns = columns_read(inputs, self.model, able, self._tower)
        tower = self._tower or towers.tower_shown(
            self.source, self.towers, {k for k, _ in columns.values() if k}
        )
        for name, (kind, rows) in columns.items():
            if kind == "audio" and not isinstance(rows, Tensor):  # their lengths say which are read together
                columns[name] = kind, self._preprocess.waves(name, rows, self.model)
        groups = row_groups(columns, self.batch_size, self._needs_equal_lengths(columns))
        return joined([self._read_rows(tower, columns, rows) for rows in groups], groups)

    def _read_rows(self, tower: str, columns: Columns, rows: Sequence[int]) -> TeacherOutput:
        before = self._preprocess.truncated
        try:
            output = self._read(tower, rows_of(columns, rows))
            output.counts = {"truncated": cut} if (cut := self._preprocess.truncated - before) else {}
            return output
        except UnreadableRowsError as error:
            raise UnreadableRowsError(str(error), [rows[i] for i in error.rows]) from error

    def _needs_equal_lengths(self, columns: Columns) -> bool:
        """Whether padding changes a row, so that only sounds of one length can be read together."""
        raw = {kind for kind, value in columns.values() if not isinstance(value, Tensor)}
        if "audio" not in raw:
            return False
        by_group_norm = getattr(self.model.config, "feat_extract_norm", None) == "group"  # over all of time
        return by_group_norm or self._preprocess.needs_equal_lengths("audio")

    def _read(self, tower: str, columns: Columns) -> TeacherOutput:
        """One forward."""
        takes = towers.arguments_of(self.model, None if self._classifier else tower)
        named = named_tensors(self.source, self.model, takes, columns, self._preprocess)
        device = self.model.device
        for name, value in named.items():
            dtype = self.model.dtype if value.is_floating_point() else value.dtype
            # of an offloaded part, accelerate brings the inputs to where it computes
            named[name] = value.to(device=value.device if device.type == "meta" else device, dtype=dtype)
        if self._classifier is not None:
            return self._classifier(named).map_tensors(lambda value: value.float())
        mask = (
            named.pop("attention_mask", None)
            if self._preprocess.ignores_mask
            else named.get("attention_mask")
        )
        return self._reading.read(self.model, tower, named, mask, self._unloaded)

    def _check_tower(self) -> None:
        if self._tower is not None and self._tower not in self.towers:
            raise ConfigError(
                f"{self.source} has no {self._tower} tower; it has {' and '.join(self.towers)}."
            )

    def fingerprint(self) -> dict[str, str]:
        """Parts: ``architecture``, ``weights``, ``reading`` (tower, layer and pooling) and ``preprocessing``."""
        how = self._reading
        reading = [self._classifier is not None, self._tower, how.layer, how.pooling, how.hidden_layers]
        kinds = [kind for kind in towers.KINDS if any(kind in towers.kinds_of(t) for t in self.towers)]
        return {
            "architecture": settings_fingerprint(architecture_of(self.model.config.to_dict())),
            "weights": weights_fingerprint(self.model),
            "reading": settings_fingerprint(reading),
            "preprocessing": self._preprocess.fingerprint(kinds),
        }
