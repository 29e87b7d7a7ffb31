"""How the feature extractors of transformers pad, cut and shape sounds, so that a row does not depend on others."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def pads_to_longest(extractor: Any) -> bool:
    """Whether sounds are padded to the longest of their batch (Wav2Vec2), not to a fixed length."""
    return not any(hasattr(extractor, name) for name in ("nb_max_samples", "nb_max_frames", "max_length"))


def longest_sound(extractor: Any) -> int | None:
    """Most samples that the model reads of a sound, ``None`` = any number."""
    if hasattr(extractor, "nb_max_samples"):  # CLAP; with fusion it reads longer sounds in parts
        return None if extractor.truncation == "fusion" else extractor.nb_max_samples
    if hasattr(extractor, "nb_max_frames"):  # Whisper
        return extractor.n_samples
    if hasattr(extractor, "max_length"):  # AST: windows of 25 ms every 10 ms
        return 400 + 160 * extractor.max_length - 1
    return None


def too_short(extractor: Any, model: Any, waves: Sequence[np.ndarray]) -> list[int]:
    """Places of sounds of which not one frame of the model is left; those of no samples are told elsewhere."""
    frames = getattr(model, "_get_feat_extract_output_lengths", None)  # Wav2Vec2 and its kin
    if frames is not None and hasattr(model.config, "conv_kernel") and waves:
        lengths = frames(torch.tensor([len(wave) for wave in waves]))
        return [i for i, (wave, n) in enumerate(zip(waves, lengths.tolist())) if len(wave) and n < 1]
    # windows of 25 ms (AST, SeamlessM4T); all others are padded to a full length
    least = extractor.sampling_rate // 40 if hasattr(extractor, "num_mel_bins") else 1
    return [i for i, wave in enumerate(waves) if 0 < len(wave) < least]


def extract(extractor: Any, waves: list[np.ndarray]) -> dict[str, Tensor]:
    """The model's inputs for ``waves`` (``[n]`` float32 each, at the extractor's rate)."""
    rate = extractor.sampling_rate
    if hasattr(extractor, "nb_max_samples"):
        return _clap(extractor, waves)
    if hasattr(extractor, "nb_max_frames"):
        options: dict[str, Any] = {"padding": "max_length", "return_attention_mask": True}
    else:
        options = {"padding": True}
    return dict(extractor(waves, sampling_rate=rate, return_tensors="pt", **options))


def _clap(extractor: Any, waves: list[np.ndarray]) -> dict[str, Tensor]:
    """CLAP's extractor draws crops of long sounds, and which short sound of a batch counts as long, from numpy's
    global generator: here the draw follows from the sound alone, and short sounds are short."""
    parts = []
    state = np.random.get_state()  # noqa: NPY002 (it is the generator that the extractor uses)
    try:
        for wave in waves:
            np.random.seed(zlib.crc32(wave.tobytes()))  # noqa: NPY002
            parts.append(extractor([wave], sampling_rate=extractor.sampling_rate, return_tensors="pt"))
    finally:
        np.random.set_state(state)  # noqa: NPY002
    joined = {name: torch.cat([torch.as_tensor(part[name]) for part in parts]) for name in parts[0]}
    is_longer = [[len(wave) > extractor.nb_max_samples] for wave in waves]
    return joined | {"is_longer": torch.tensor(is_longer)}
