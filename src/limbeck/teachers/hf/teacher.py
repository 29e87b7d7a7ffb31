"""A transformers model as a teacher, by path or hub id: an encoder, a classifier, two towers, or a fused model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.signals.teacher import first_rows
from limbeck.teachers.base import moved
from limbeck.teachers.hf import towers
from limbeck.teachers.hf.beside_float32 import check_compiled, compared, is_reduced
from limbeck.teachers.hf.inputs import (
    Columns,
    Prepared,
    columns_read,
    has_texts,
    joined,
    named_tensors,
    numbered,
    pictures_of,
    row_groups,
    rows_of,
)
from limbeck.teachers.hf.loading import (
    architecture_of,
    class_names_of,
    classifier_suffix,
    load_config,
    load_model,
    max_tokens,
    weights_fingerprint,
)
from limbeck.teachers.hf.own_recipe import home_of, recipe_read
from limbeck.teachers.hf.preprocessing import Preprocessor
from limbeck.teachers.hf.reading import Reading
from limbeck.teachers.hf.settings import Settings, grouped
from limbeck.teachers.module import ModuleTeacher

_WINDOW = 16  # forwards over which texts are sorted: padding is then a few percent


class HFTeacher:
    """A model of the transformers library, in evaluation mode and without gradient.

    A classification checkpoint gives logits and the input of its head as features. Any other gives the features
    of one *tower*: of CLIP, SigLIP, BLIP or CLAP the embedding of the modality that it is shown; of ViLT, or of
    BLIP shown texts and images together, one fused vector; of an encoder-decoder (Whisper) its encoder's states,
    the decoder is not loaded; of all others pooled hidden states. Features and hidden states are float32
    ``[m, D]``, whatever the dtype of the weights.

    A sentence-transformers model (``modules.json``) gives what its own ``encode`` gives: its pooling, dense layers,
    normalisation, prompt, letters and length, unless a layer or pooling is named.

    Tensors go to the model as they are, by name; texts, PIL images, waveforms and files of a data set go through
    the preprocessor that the model comes with. A row's features do not depend on the rows it is asked with,
    beyond rounding.

    Args:
        source: folder or hub id.
        classifier: read it as a classifier or as an encoder; default: what its checkpoint says.
        class_names: names of its logits; default those of its config.
        batch_size: most rows in one forward; default all that it is asked about at once.
        top_k: of a classifier, keep the log-probabilities of its likeliest classes alone, and the mass of the others.
        licence: what its owner allows; kept with a bank.

    What is read:
        tower: ``text``, ``image``, ``audio`` or ``fused``: what is read of a model that has several; other
            columns are left alone. Default: what the columns show.
        layer: what the features come from: the number of a hidden layer (-1 = the last, 0 = the embeddings) or
            the path of a module.
        pooling: over positions: ``mean`` or ``max`` of those that the attention mask keeps, ``cls`` (the first),
            ``last``, or the model's own ``pooler`` (before any projection); ``none``: all of them, as rows of
            different lengths (:class:`~limbeck.signals.Ragged`); ``auto``: the model's own recipe, else the
            embedding of a two-tower or fused model where no layer is named, else ``mean``.
        hidden_layers: layers kept as hidden states, pooled likewise: ``layer_0`` for a number, the path itself for
            a module.

    How texts and sounds are prepared:
        prompt: name of one of the model's own prompts (``query``), which every text begins with; default the one that
            the model names as its default.
        too_long: ``truncate`` what is longer than the model reads, and count it (``counts``, a bank's notes), or
            ``refuse`` it.
        empty: ``refuse`` texts without words, or ``keep`` them.
        sampling_rate: in Hz, of waveforms that do not carry their own.
        resample: convert sounds of another rate instead of refusing them.

    How it is loaded:
        dtype: of the weights: ``float32``, ``bfloat16`` or ``float16``.
        device: where it runs, default ``cpu``.    device_map: of accelerate, in place of ``device``.
        compile: run it through ``torch.compile``, of models with one tower; a text names the backend. In half precision
            or compiled it notes (``notes``) how far it is from float32 on the first rows.
        revision: of the hub repository.    trust_remote_code: run code that the repository brings.

    Raises: DataError: no such model, no weights for what is read, or a tokenizer of another model.
        UnknownNameError: no such setting, tower, layer, pooling, prompt or dtype.    ConfigError: settings that
        contradict each other.

    Example:
        >>> teacher = HFTeacher("openai/clip-vit-base-patch32", tower="image")  # doctest: +SKIP
        >>> bank = Bank.build("banks/clip", teacher, photos, key="id")          # doctest: +SKIP
    """

    def __init__(
        self,
        source: str | Path,
        *,
        classifier: bool | None = None,
        class_names: Sequence[str] | None = None,
        batch_size: int | None = None,
        top_k: int | None = None,
        licence: str = "",
        **settings: Unpack[Settings],
    ) -> None:
        others = ("classifier", "class_names", "batch_size", "top_k", "licence")
        loading, read, preparing = grouped(settings, others)
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1; it is {batch_size}.")
        self.source, self.licence, self.batch_size = str(source), licence, batch_size
        self.access: AccessLevel = "weights"
        home = home_of(self.source, loading)
        config = load_config(home, loading)
        suffix = classifier_suffix(config)
        if classifier and suffix is None:
            raise ConfigError(f"{self.source} is no classification checkpoint; leave out classifier=True.")
        is_classifier = suffix is not None if classifier is None else classifier
        if top_k is not None and not is_classifier:
            raise ConfigError(
                f"top_k is of a classifier's predictions, and {self.source} is read as an encoder."
            )
        self._top_k = top_k
        recipe = recipe_read(self.source, loading, preparing.prompt, read.is_default and not is_classifier)
        self.model, self._unloaded = load_model(home, config, loading, classifier=is_classifier)
        self._architecture = settings_fingerprint(architecture_of(self.model.config.to_dict()))
        self.towers = towers.towers_of(self.model)
        self._loading = loading
        own = {"classifier": classifier, "class_names": class_names, "batch_size": batch_size, "top_k": top_k}
        plain = settings | {"dtype": "float32", "compile": False}
        self._in_float32 = partial(HFTeacher, source, **own, **plain)  # type: ignore[arg-type]
        self.is_compiled = bool(loading.compile)
        self._compared: dict[str, Any] | None = None if is_reduced(loading) else {}
        self._tower = read.tower
        self._classifier = ModuleTeacher(self.model, top_k=top_k) if is_classifier else None
        self._check_tower()
        self._reading = Reading(self.source, read.layer, read.pooling, tuple(read.hidden_layers), recipe)
        self._reading.check(self.model, is_classifier)
        check_compiled(self.source, loading, self.towers, (read.layer, *read.hidden_layers))
        names = class_names if class_names is not None else class_names_of(config)
        self.class_names = tuple(names) if is_classifier and names is not None else None
        length = max_tokens(self.model, config)
        self._preprocess = Preprocessor(
            home, hub=loading.hub, config=config, max_length=length, recipe=recipe, **asdict(preparing)
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
        own = {"recipe": list(self._reading.recipe.says)} if self._reading.recipe is not None else {}
        return ({} if self._classifier else read | own) | (self._compared or {})

    def window(self, most: int) -> int:
        """Rows that are worth handing over together where a forward takes ``most``: of texts many, since those of like
        length are then read together and little of a forward is padding; pictures and sounds would fill the memory.
        """
        holds_all = self._reading.pooling == "none"
        texts_alone = (self._tower or " ".join(self.towers)) == "text"
        return most * _WINDOW if texts_alone and not holds_all else most

    def __call__(self, inputs: Mapping[str, Any], most: int | None = None) -> TeacherOutput:
        """As every teacher.

        Args:
            most: rows in one forward, where ``batch_size`` was not given.
        """
        self.compare(inputs)
        return self.read(self.prepare(inputs, most))

    def prepare(self, inputs: Mapping[str, Any], most: int | None = None) -> Prepared:
        """Everything before the model, but for tokenizing: the columns that are read and their groups, sounds as
        samples, pictures as the model takes them."""
        able = tuple(kind for kind in towers.KINDS for tower in self.towers if kind in towers.kinds_of(tower))
        columns = columns_read(inputs, self.model, able, self._tower)
        tower = self._tower or towers.tower_shown(
            self.source, self.towers, {k for k, _ in columns.values() if k}
        )
        for name, (kind, rows) in columns.items():
            if kind == "audio" and not isinstance(rows, Tensor):  # their lengths say which are read together
                columns[name] = kind, self._preprocess.waves(name, rows, self.model)
        size = 1 if self._cannot_pad(tower, columns) else self.batch_size or most
        groups = row_groups(columns, size, self._needs_equal_lengths(columns))
        parts = []
        for rows in groups:
            with numbered(rows):
                picked = rows_of(columns, rows)
                parts.append((picked, pictures_of(picked, self._preprocess)))
        return Prepared(tower, groups, parts)

    def compare(self, inputs: Mapping[str, Any]) -> None:
        """Of a model in half precision or compiled: note how far it is from float32 on the first of these rows. A bank
        does so on its first rows before it asks; the first call does where nobody did."""
        if self._compared is not None:
            return
        self._compared = {}  # from here on it answers
        try:
            if how := self._loading.compile:
                self(first_rows(inputs, 1))  # finds heads and missing weights, through hooks
                self._unloaded = frozenset()
                backend = how if isinstance(how, str) else "inductor"
                (self._classifier or self.model).compile(dynamic=True, backend=backend)
            self._compared = compared(self._loading, self, self._in_float32(), inputs)
        except BaseException:
            self._compared = None  # to be done when it is asked again
            raise

    def read(self, prepared: Prepared) -> TeacherOutput:
        """The model's answer to what :meth:`prepare` gave."""
        outputs = []
        for rows, (columns, pictures) in zip(prepared.groups, prepared.parts):
            with numbered(rows):
                outputs.append(self._read_counting(prepared.tower, columns, pictures))
        return joined(outputs, prepared.groups)

    def _read_counting(
        self, tower: str, columns: Columns, pictures: Mapping[str, Tensor] | None
    ) -> TeacherOutput:
        before = self._preprocess.truncated
        output = self._read(tower, columns, pictures)
        output.counts = {"truncated": cut} if (cut := self._preprocess.truncated - before) else {}
        return output

    def _cannot_pad(self, tower: str, columns: Columns) -> bool:
        """Whether the model sees padding in texts whatever their mask says, so that each is read alone."""
        takes = towers.arguments_of(self.model, None if self._classifier else tower)
        return has_texts(columns) and "attention_mask" not in takes and not self._preprocess.ignores_mask

    def _needs_equal_lengths(self, columns: Columns) -> bool:
        """Whether padding changes a row, so that only sounds of one length can be read together."""
        raw = {kind for kind, value in columns.values() if not isinstance(value, Tensor)}
        if "audio" not in raw:
            return False
        by_group_norm = getattr(self.model.config, "feat_extract_norm", None) == "group"  # over all of time
        return by_group_norm or self._preprocess.needs_equal_lengths("audio")

    def _read(self, tower: str, columns: Columns, pictures: Mapping[str, Tensor] | None) -> TeacherOutput:
        """One forward."""
        takes = towers.arguments_of(self.model, None if self._classifier else tower)
        named = named_tensors(self.source, self.model, takes, columns, self._preprocess, pictures)
        device = self.model.device
        for name, value in named.items():
            dtype = self.model.dtype if value.is_floating_point() else value.dtype
            # of an offloaded part, accelerate brings the inputs to where it computes
            named[name] = moved(value, value.device if device.type == "meta" else device, dtype)
        if self._classifier is not None:
            self._mark_padding(columns)
            return self._classifier(named).map_tensors(lambda value: value.float())
        mask = (
            named.pop("attention_mask", None)
            if self._preprocess.ignores_mask
            else named.get("attention_mask")
        )
        recipe = self._reading.recipe
        skips = recipe is not None and not recipe.counts_prompt and has_texts(columns)
        skipped = self._preprocess.prompt_tokens() if skips else 0
        return self._reading.read(self.model, tower, named, mask, self._unloaded, skipped)

    def _mark_padding(self, columns: Columns) -> None:
        """Tell a classifier of texts which token is padding, where its checkpoint does not: it reads the last other."""
        config = self.model.config.get_text_config()
        if has_texts(columns) and getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = self._preprocess.padding_token

    def _check_tower(self) -> None:
        if self._tower is not None and self._tower not in self.towers:
            raise ConfigError(
                f"{self.source} has no {self._tower} tower; it has {' and '.join(self.towers)}."
            )

    def fingerprint(self) -> dict[str, str]:
        """Parts: ``architecture``, ``weights``, ``reading`` (tower, layer and pooling) and ``preprocessing``."""
        how = self._reading
        reading = [self._classifier is not None, self._tower, how.layer, how.pooling, how.hidden_layers]
        if how.recipe is not None:
            reading.append(how.recipe.fingerprint())
        if self._top_k is not None:
            reading.append(f"top {self._top_k}")
        kinds = [kind for kind in towers.KINDS if any(kind in towers.kinds_of(t) for t in self.towers)]
        return {
            "architecture": self._architecture,
            "weights": weights_fingerprint(self.model),
            "reading": settings_fingerprint(reading),
            "preprocessing": self._preprocess.fingerprint(kinds),
        }
