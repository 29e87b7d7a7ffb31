"""From texts, images and sounds to what a transformers model reads, with the processor that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.signals.fingerprint import settings_fingerprint

_FALLBACK_LENGTH = 512  # tokens, where neither tokenizer nor model says how many it reads


class Preprocessor:
    """Tokenizer, image processor and feature extractor of one model, each loaded when first needed.

    Args:
        source: path or id of the model.    revision: of the hub repository.
        max_length: most tokens that the model reads, ``None`` if it does not say.
        sampling_rate: of waveforms that do not carry their own, in Hz.
    """

    def __init__(
        self, source: str, *, revision: str | None, max_length: int | None, sampling_rate: int | None
    ) -> None:
        self._source, self._revision, self._max_length = source, revision, max_length
        self._sampling_rate = sampling_rate
        self._loaded: dict[str, Any] = {}

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Tensors stay as they are; one column of texts, PIL images or waveforms becomes tensors."""
        raw = {name: value for name, value in inputs.items() if not isinstance(value, Tensor)}
        ready = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
        if not raw:
            return ready
        if len(raw) > 1:
            raise DataError(
                f"The columns {', '.join(map(repr, raw))} all need preprocessing; name the one that the "
                "teacher reads with inputs=."
            )
        name, values = next(iter(raw.items()))
        return ready | self._encode(name, values)

    def _encode(self, name: str, values: list[Any]) -> dict[str, Tensor]:
        first = values[0]
        if isinstance(first, str):
            return self._texts(values)
        if type(first).__module__.startswith("PIL."):
            processor = self._load("image")
            return dict(processor(images=[v.convert("RGB") for v in values], return_tensors="pt"))
        if (isinstance(first, Mapping) and "array" in first) or isinstance(first, (list, np.ndarray, Tensor)):
            return self._sounds(name, values)
        raise DataError(
            f"The column {name!r} holds {type(first).__name__}; a teacher reads tensors, texts, PIL images, "
            "or waveforms (arrays, or mappings with 'array' and 'sampling_rate')."
        )

    def _texts(self, values: list[str]) -> dict[str, Tensor]:
        tokenizer = self._load("text")
        length = min(tokenizer.model_max_length, self._max_length or _FALLBACK_LENGTH)
        return dict(tokenizer(values, padding=True, truncation=True, max_length=length, return_tensors="pt"))

    def _sounds(self, name: str, values: list[Any]) -> dict[str, Tensor]:
        extractor = self._load("audio")
        waves, wanted = [], extractor.sampling_rate
        for value in values:
            rate = value.get("sampling_rate") if isinstance(value, Mapping) else self._sampling_rate
            if rate != wanted:
                raise DataError(
                    f"The sounds in column {name!r} have a rate of {rate or 'unknown'} Hz and the teacher "
                    f"reads {wanted} Hz; resample them, and pass sampling_rate={wanted} for plain arrays."
                )
            wave = value["array"] if isinstance(value, Mapping) else value
            waves.append(np.asarray(wave, dtype=np.float32))
        return dict(extractor(waves, sampling_rate=wanted, padding=True, return_tensors="pt"))

    def _load(self, kind: str) -> Any:
        if kind not in self._loaded:
            try:
                self._loaded[kind] = _loader(kind, self._source, self._revision)
            except (OSError, ValueError, ImportError) as error:
                raise DataError(
                    f"No {kind} preprocessor can be loaded for {self._source} "
                    f"({str(error).splitlines()[0]}); give the teacher tensors instead."
                ) from error
        return self._loaded[kind]

    def fingerprint(self) -> str:
        """Hash of the settings of every preprocessor that the model comes with."""
        settings = {}
        for kind in ("text", "image", "audio"):
            try:
                settings[kind] = _settings(self._load(kind))
            except DataError:
                continue
        return settings_fingerprint([settings, self._max_length])


def _loader(kind: str, source: str, revision: str | None) -> Any:
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer

    if kind == "text":
        return AutoTokenizer.from_pretrained(source, revision=revision)
    if kind == "image":  # the other backend is torchvision, which this package never loads
        return AutoImageProcessor.from_pretrained(source, revision=revision, backend="pil")
    return AutoFeatureExtractor.from_pretrained(source, revision=revision)


def _settings(processor: Any) -> Any:
    if hasattr(processor, "get_vocab"):
        special = {name: str(token) for name, token in processor.special_tokens_map.items()}
        return [processor.get_vocab(), special, processor.padding_side, processor.truncation_side]
    drop = {"image_processor_type", "feature_extractor_type", "transformers_version"}
    return {name: value for name, value in processor.to_dict().items() if name not in drop}


def masked_mean(states: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the tokens that ``mask`` ``[m, T]`` keeps; ``states`` ``[m, T, D]`` to ``[m, D]``."""
    if mask is None:
        return states.mean(dim=1)
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)


def masked_max(states: Tensor, mask: Tensor | None) -> Tensor:
    """Largest value over the tokens that ``mask`` keeps, ``[m, D]``."""
    if mask is not None:
        states = states.masked_fill(mask.unsqueeze(-1) == 0, torch.finfo(states.dtype).min)
    return states.amax(dim=1)
