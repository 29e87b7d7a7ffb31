"""From texts, images and sounds to what a transformers model reads, with the processor that belongs to it."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from limbeck.errors import ConfigError, DataError, LimbeckError, UnreadableRowsError, first_line
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.students.foreign import no_code
from limbeck.students.text import fit_tokenizer, load_tokenizer
from limbeck.teachers.hf.own_recipe import OwnRecipe
from limbeck.teachers.hf.settings import Preparing
from limbeck.teachers.hf.sounds import extract, longest_sound, pads_to_longest, too_short
from limbeck.teachers.raw import each, to_image, to_waves

_LOADING = threading.RLock()
_FALLBACK_LENGTH = 512  # tokens, where neither tokenizer nor model says how many it reads
# Models that were trained on texts padded to their full length, without an attention mask.
_FULL_LENGTH = ("siglip", "siglip2")


class Preprocessor:
    """Tokenizer, image processor and feature extractor of one model, each loaded when first needed.

    Args:
        source: path or id of the model.    hub: what ``from_pretrained`` is told of the repository.
        config: of the model.    max_length: most tokens that it reads, ``None`` if it does not say.
        recipe: the model's own, for its prompt, length and letters.
        settings: of texts and sounds, see :class:`~limbeck.teachers.hf.settings.Preparing`.

    Attributes:
        truncated: rows cut so far.
        ignores_mask: the model reads full-length texts without a mask; the mask is for pooling alone.
    """

    def __init__(
        self,
        source: str,
        *,
        hub: Mapping[str, Any] | None = None,
        config: Any = None,
        max_length: int | None = None,
        recipe: OwnRecipe | None = None,
        **settings: Any,
    ) -> None:
        self._source, self._max_length, self._config = source, max_length, config
        self._hub, self._how, self._recipe = dict(hub or {}), Preparing(**settings), recipe
        self.ignores_mask = getattr(config, "model_type", "") in _FULL_LENGTH
        self._loaded: dict[str, Any] = {}
        self.truncated = 0

    def __call__(self, kind: str, columns: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        """The columns of one kind as the model's inputs.

        Args:
            kind: ``text``, ``image`` or ``audio``.
            columns: one column, of sounds what :meth:`waves` gave; of texts also a pair, the second named
                ``text_pair``.

        Raises: DataError for several columns, and for values that the model cannot read.
        """
        names = list(columns)
        if kind == "text" and len(names) == 2 and "text_pair" in names:
            first = next(name for name in names if name != "text_pair")
            return self._texts(first, list(columns[first]), list(columns["text_pair"]))
        if len(names) > 1:
            raise DataError(
                f"The columns {', '.join(map(repr, names))} all need preprocessing as {kind}; name the one that "
                "the teacher reads with inputs= (a pair of texts is called text and text_pair)."
            )
        values = list(columns[names[0]])
        if kind == "text":
            return self._texts(names[0], values)
        if kind == "image":
            return self._images(names[0], values)
        return self._sounds(names[0], values)

    def waves(self, name: str, values: Sequence[Any], model: Any = None) -> list[np.ndarray]:
        """Sounds of the column ``name`` as samples ``[n]`` float32, at the rate that the model reads.

        Raises: UnreadableRowsError for sounds that cannot be read or are too short for ``model``.
        """
        extractor = self._load("audio")
        wanted = extractor.sampling_rate
        waves = to_waves(
            name, values, own_rate=self._how.sampling_rate, wanted=wanted, resample=self._how.resample
        )
        if rows := too_short(extractor, model, waves):
            least = min(len(waves[row]) for row in rows)
            raise UnreadableRowsError(
                f"{_rows(rows, 'sound', name)} too short for {self._source} ({least} samples at {wanted} Hz); leave "
                "them out.",
                rows,
            )
        return waves

    def needs_equal_lengths(self, kind: str) -> bool:
        """Whether padding would change a row: sounds that are padded and read without a mask."""
        extractor = self._load("audio") if kind == "audio" else None
        return extractor is not None and pads_to_longest(extractor) and not extractor.return_attention_mask

    def _texts(self, name: str, values: list[str], pairs: list[str] | None = None) -> dict[str, Tensor]:
        columns = [(name, values), *([("text_pair", pairs)] if pairs is not None else [])]
        for column, texts in columns:
            rows = [i for i, text in enumerate(texts) if not text.strip()]
            if rows and self._how.empty == "refuse":
                raise UnreadableRowsError(
                    f"{_rows(rows, 'text', column)} without words; leave them out, or pass empty='keep'.",
                    rows,
                )
        tokenizer = self._load("text")
        limit = self._limit(tokenizer)
        given = [self._begun(values)] if pairs is None else [self._begun(values), pairs]
        encoded = tokenizer(*given, verbose=False, return_attention_mask=True)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        if nothing := [i for i, length in enumerate(lengths) if not length]:
            found = _rows(nothing, "text", name)
            raise UnreadableRowsError(
                f"{found} of which the tokenizer of {self._source} makes no token; leave them out.", nothing
            )
        rows = [i for i, length in enumerate(lengths) if length > limit]
        if rows:
            self._cut(_rows(rows, "text", name), rows, f"{limit} tokens", str(max(lengths)))
            encoded = tokenizer(*given, truncation=True, max_length=limit, return_attention_mask=True)
        # on the right, where no position counts on from it, whatever side the tokenizer was saved with
        settings: dict[str, Any] = {
            "padding_side": "right",
            "return_attention_mask": True,
            "return_tensors": "pt",
        }
        if self.ignores_mask:
            settings |= {"padding": "max_length", "max_length": limit}
        return dict(tokenizer.pad(encoded, **settings))

    def _limit(self, tokenizer: Any) -> int:
        """Most tokens of a text."""
        own = self._recipe.max_length if self._recipe is not None else None
        bounds = (tokenizer.model_max_length, self._max_length or (own or _FALLBACK_LENGTH), own)
        return min(bound for bound in bounds if bound is not None)

    def _begun(self, texts: list[str]) -> list[str]:
        """Texts with the model's own prompt before them, in small letters where it reads such."""
        if self._recipe is None:
            return texts
        begun = [self._recipe.prompt + text for text in texts]
        return [text.lower() for text in begun] if self._recipe.lower_case else begun

    def prompt_tokens(self) -> int:
        """Tokens at the beginning of each text that are its prompt, with the special ones before it."""
        prompt = self._recipe.prompt if self._recipe is not None else ""
        if not prompt:
            return 0
        tokenizer = self._load("text")
        ids = tokenizer(self._begun([""]), verbose=False)["input_ids"][0]
        return len(ids) - bool(ids and ids[-1] in tokenizer.all_special_ids)

    @property
    def padding_token(self) -> int:
        """Number of the token that texts are padded with."""
        return int(self._load("text").pad_token_id)

    def _images(self, name: str, values: list[Any]) -> dict[str, Tensor]:
        processor = self._load("image")
        images = each(name, "picture", values, to_image)
        try:
            return dict(processor(images=images, return_tensors="pt"))
        except (ValueError, ZeroDivisionError) as error:
            reason = first_line(error)
            raise DataError(
                f"Images of the column {name!r} cannot be preprocessed for {self._source} ({reason})."
            ) from error

    def _sounds(self, name: str, waves: list[np.ndarray]) -> dict[str, Tensor]:
        extractor = self._load("audio")
        if silent := [i for i, wave in enumerate(waves) if not len(wave)]:
            raise UnreadableRowsError(
                f"{_rows(silent, 'sound', name)} without samples; leave them out.", silent
            )
        limit = longest_sound(extractor)
        if limit is not None and (rows := [i for i, wave in enumerate(waves) if len(wave) > limit]):
            rate = extractor.sampling_rate
            seconds = f"{max(len(wave) for wave in waves) / rate:.3g} s"
            self._cut(_rows(rows, "sound", name), rows, f"{limit / rate:.3g} s", seconds)
            waves = [wave[:limit] for wave in waves]
        return extract(extractor, waves)

    def _cut(self, found: str, rows: Sequence[int], limit: str, longest: str) -> None:
        """Count rows that are too long, and say so once; or refuse them."""
        found += f" longer than the {limit} that {self._source} reads (longest {longest})"
        if self._how.too_long == "refuse":
            raise UnreadableRowsError(f"{found}; shorten them, or pass too_long='truncate'.", rows)
        if not self.truncated:
            warnings.warn(f"{found}; such rows lose their ends.", stacklevel=2)
        self.truncated += len(rows)

    def _load(self, kind: str) -> Any:
        with _LOADING:  # rows are prepared in several threads
            return self._load_once(kind)

    def _load_once(self, kind: str) -> Any:
        if kind not in self._loaded:
            try:
                self._loaded[kind] = _loader(kind, self._source, self._hub)
            except ConfigError:
                raise
            except (OSError, ValueError, ImportError) as error:
                raise DataError(
                    f"No {kind} preprocessor can be loaded for {self._source} "
                    f"({str(error).splitlines()[0].rstrip('.')}); give the teacher tensors instead."
                ) from error
            if kind == "text" and self._config is not None:
                config = getattr(self._config, "text_config", None) or self._config
                fit_tokenizer(self._loaded[kind], config, self._source)
        return self._loaded[kind]

    def fingerprint(self, kinds: Sequence[str]) -> str:
        """Hash of the settings of every preprocessor of ``kinds`` that the model comes with."""
        settings = {}
        for kind in kinds:
            try:
                settings[kind] = _settings(self._load(kind))
            except LimbeckError:
                continue
        own = self._recipe
        recipe = [] if own is None else [[own.prompt, own.max_length, own.lower_case]]
        return settings_fingerprint([settings, self._max_length, self.ignores_mask, *recipe])


def _rows(rows: Sequence[int], what: str, column: str) -> str:
    return f"The column {column!r} holds {len(rows)} {what}{'s' if len(rows) > 1 else ''}"


def _loader(kind: str, source: str, hub: Mapping[str, Any]) -> Any:
    from transformers import AutoFeatureExtractor, AutoImageProcessor

    if kind == "text":
        return load_tokenizer(source, **hub)
    with no_code(source, trusted=bool(hub.get("trust_remote_code"))):
        if kind == "image":  # the other backend is torchvision, which this package never loads
            return AutoImageProcessor.from_pretrained(source, backend="pil", **hub)
        return AutoFeatureExtractor.from_pretrained(source, **hub)


def _settings(processor: Any) -> Any:
    if hasattr(processor, "get_vocab"):
        special = {name: str(token) for name, token in processor.special_tokens_map.items()}
        return [_tokenization(processor), special, processor.padding_side, processor.truncation_side]
    drop = {"image_processor_type", "feature_extractor_type", "transformers_version"}
    return {name: value for name, value in processor.to_dict().items() if name not in drop}


def _tokenization(tokenizer: Any) -> Any:
    """Everything that a fast tokenizer does (normaliser, merges, template); of another, its vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer.get_vocab()
    # these two are set by each call
    return json.loads(backend.to_str()) | {"truncation": None, "padding": None}
