"""Who draws a picture (or a video, or plays a sound) from a text: a diffusers pipeline or any function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from limbeck.errors import ConfigError, DataError
from limbeck.seeding import keyed_seed
from limbeck.signals.fingerprint import module_fingerprint, settings_fingerprint
from limbeck.students.foreign import PLAIN_WEIGHTS, no_code
from limbeck.teachers.callable import source_of

DIFFUSERS = "diffusers:"


class FunctionDraw:
    """A function from a text to a picture (PIL image, array, tensor), a video (its frames), or a sound (``{"array",
    "sampling_rate"}``).

    Args:
        version: what tells one state of the function from another; default its name and source code.
    """

    def __init__(self, function: Callable[[str], Any], version: str | None = None) -> None:
        self.function, self._version = function, version

    def __call__(self, text: str) -> Any:
        return self.function(text)

    def fingerprint(self) -> dict[str, str]:
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        version = self._version or settings_fingerprint(source_of(self.function))
        return {"function": f"{name} {version}"}


class DiffusersDraw:
    """A text-to-picture, text-to-video or text-to-sound pipeline of the diffusers library (extra ``diffusers``).

    Each text is drawn by itself, by a generator keyed by text and seed, so its picture depends on no other.

    Args:
        source: folder or hub id.    seed: another seed, other pictures.
        steps: of the denoising; ``None`` = the pipeline's default.
        dtype: of the weights.    device: where it runs.
        options: further arguments of the pipeline (``{"guidance_scale": 5.0, "height": 64}``), JSON-able.

    Raises: ConfigError without diffusers.    DataError: no such pipeline.
    """

    def __init__(
        self,
        source: str,
        *,
        seed: int = 0,
        steps: int | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        import torch

        try:
            from diffusers import DiffusionPipeline
        except ImportError as error:
            raise ConfigError(
                "Drawing with a diffusers pipeline needs diffusers; install it with: pip install "
                "'limbeck[diffusers]'."
            ) from error
        try:
            with no_code(source):
                pipeline = DiffusionPipeline.from_pretrained(
                    source, torch_dtype=getattr(torch, dtype), **PLAIN_WEIGHTS
                )
        except DataError:
            raise
        except (OSError, ValueError) as error:
            raise DataError(
                f"No diffusers pipeline can be loaded from {source!r} ({str(error).splitlines()[0]})."
            ) from error
        self.pipeline = pipeline.to(device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.seed, self._options = seed, dict(options or {})
        if steps is not None:
            self._options["num_inference_steps"] = steps
        self._fingerprint: dict[str, str] | None = None

    def __call__(self, text: str) -> Any:
        import torch

        generator = torch.Generator().manual_seed(keyed_seed(self.seed, text))  # CPU: the same on any device
        answer = self.pipeline(prompt=text, generator=generator, **self._options)
        for name in ("images", "frames"):  # of a video its frames
            if hasattr(answer, name):
                return getattr(answer, name)[0]
        return self._sound(answer.audios[0])

    def _sound(self, samples: Any) -> dict[str, Any]:
        for name in ("vae", "vocoder"):
            part = getattr(self.pipeline, name, None)
            for holder in (part, getattr(part, "config", None)):
                if rate := getattr(holder, "sampling_rate", None):
                    return {"array": samples, "sampling_rate": int(rate)}
        raise DataError("The pipeline does not say the sampling rate of its sounds; wrap it in a function.")

    def fingerprint(self) -> dict[str, str]:
        """Parts: ``weights`` and ``settings`` (components, their configs, seed and options)."""
        if self._fingerprint is None:
            parts = dict(sorted(self.pipeline.components.items()))
            weights = {n: module_fingerprint(p) for n, p in parts.items() if hasattr(p, "state_dict")}
            configs = {name: [type(part).__name__, _config(part)] for name, part in parts.items()}
            settings = [type(self.pipeline).__name__, configs, self.seed, self._options]
            self._fingerprint = {
                "weights": settings_fingerprint(weights),
                "settings": settings_fingerprint(settings),
            }
        return dict(self._fingerprint)


def _config(part: Any) -> dict[str, Any]:
    """The settings of a component, without what tells where it came from."""
    if hasattr(part, "get_vocab"):
        return dict(part.get_vocab())
    config: Any = getattr(part, "config", None)
    found = config.to_dict() if hasattr(config, "to_dict") else config
    drop = {
        "_name_or_path",
        "_diffusers_version",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "_use_default_values",
    }
    return (
        {name: value for name, value in found.items() if name not in drop}
        if isinstance(found, Mapping)
        else {}
    )


def first_frame(drawn: Any) -> Any:
    """The first frame of a video, a list of pictures or pixels ``[frames, H, W, 3]``; anything else as it is.

    Raises: DataError for a video without frames.
    """
    is_video = isinstance(drawn, (list, tuple)) or getattr(drawn, "ndim", 0) == 4
    if not is_video:
        return drawn
    if not len(drawn):
        raise DataError("draw gave a video without frames.")
    return drawn[0]


def drawer(draw: Any) -> Any:
    """``draw`` as something that takes a text and gives a picture or sound, and has a ``fingerprint``.

    Raises: ConfigError for what cannot draw.
    """
    if isinstance(draw, str):
        if draw.startswith(DIFFUSERS):
            return DiffusersDraw(draw.removeprefix(DIFFUSERS))
        raise ConfigError(f"draw={draw!r} names no pipeline; write 'diffusers:PATH', or pass a function.")
    if isinstance(draw, (DiffusersDraw, FunctionDraw)):
        return draw
    if callable(draw) and not inspect.isclass(draw):
        return FunctionDraw(draw)
    raise ConfigError(
        f"draw must be an APITeacher of kind='images', 'diffusers:PATH', or a function from a text to a picture; "
        f"it is {draw!r}."
    )
