"""A generative teacher: it draws what a text says, and an encoder tells what the picture shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.data.files.media import to_picture
from limbeck.data.files.pictures import open_picture
from limbeck.errors import ConfigError, DataError
from limbeck.files import write_whole
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.signals.teacher import Teacher
from limbeck.teachers.api.prompts import Prompt, rows_of
from limbeck.teachers.api.teacher import APITeacher
from limbeck.teachers.drawing import drawer, first_frame
from limbeck.teachers.media import media_of, png_bytes
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.wave_files import read_wave_file

PROMPTS_FILE = "prompts.jsonl"
_SUFFIX = {"image": ".png", "audio": ".wav"}


class GenerativeTeacher:
    """Text to picture (or sound) to the signals of an encoder.

    What is drawn is kept in a folder, one file for each text, named by a hash of text and drawing settings,
    and listed in ``prompts.jsonl``; it is not drawn again (by an APITeacher: as long as its answer store is
    there), and the signals are those of the kept files.

    Args:
        draw: an :class:`~limbeck.teachers.api.teacher.APITeacher` of ``kind="images"``; ``"diffusers:PATH"`` or a
            :class:`~limbeck.teachers.drawing.DiffusersDraw`; or a function from a text to a PIL image, an
            array of pixels, a video (a list of pictures, or pixels ``[frames, H, W, 3]``) of which the first frame is
            kept, or a sound ``{"array": samples, "sampling_rate": Hz}``, as of speech.
        encoder: a teacher that reads pictures (sounds): an ``HFTeacher`` gets PIL images, a ``ModuleTeacher``
            float tensors ``[m, 3, H, W]`` from 0 to 1; sounds come as ``{"array", "sampling_rate"}``.
        pictures: the folder; beside a bank it is called ``BANK.pictures``.
        prompt: template with ``{column}``; default the text alone. An APITeacher has its own.
        licence: what the owner of the drawing model allows; default that of ``draw``, else of ``encoder``.

    Raises: ConfigError: ``draw`` cannot draw, or an APITeacher of another kind.

    Example:
        >>> teacher = GenerativeTeacher("diffusers:PATH", HFTeacher("PATH"), pictures="b.pictures")  # doctest: +SKIP
        >>> bank = Bank.build("b", teacher, [{"id": 0, "text": "a red fox"}])  # doctest: +SKIP
    """

    def __init__(
        self,
        draw: Any,
        encoder: Teacher,
        *,
        pictures: str | Path,
        prompt: str | None = None,
        licence: str = "",
    ) -> None:
        if isinstance(draw, APITeacher):
            if draw.kind_name != "images":
                raise ConfigError(
                    f"An APITeacher draws with kind='images'; this one has kind={draw.kind_name!r}."
                )
            if prompt is not None:
                raise ConfigError("Give the prompt to the APITeacher that draws.")
        if not isinstance(encoder, Teacher):
            raise ConfigError(
                f"encoder must be a teacher (HFTeacher, ModuleTeacher, ...); it is {type(encoder).__name__}."
            )
        self.draw = draw if isinstance(draw, APITeacher) else drawer(draw)
        self.encoder, self.pictures = encoder, Path(pictures)
        self.licence = licence or getattr(draw, "licence", "") or getattr(encoder, "licence", "")
        self._prompt = draw.kind.prompt if isinstance(draw, APITeacher) else Prompt(prompt)  # type: ignore[attr-defined]
        if isinstance(draw, APITeacher):  # then a bank has everything drawn first, many requests at a time
            self.collect, self.plan = draw.collect, draw.plan
        self._settings = settings_fingerprint([self.draw.fingerprint(), self._prompt.template])

    @property
    def access(self) -> AccessLevel:
        return self.encoder.access

    @property
    def class_names(self) -> Sequence[str] | None:
        return self.encoder.class_names

    @property
    def head(self) -> tuple[Tensor, Tensor | None] | None:
        return self.encoder.head

    @property
    def notes(self) -> dict[str, Any]:
        """What the bank says of how its answers came about."""
        drawn = dict(getattr(self.draw, "notes", None) or {})
        read = dict(getattr(self.encoder, "notes", None) or {})
        return {"drawn": drawn or self.draw.fingerprint(), "pictures": self.pictures.name, **read}

    def fingerprint(self) -> dict[str, str]:
        """The parts of who draws (``draw ...``) and of the encoder (``encoder ...``)."""
        drawn = {
            f"draw {name}".replace("draw draw", "draw"): v for name, v in self.draw.fingerprint().items()
        }
        read = {f"encoder {name}": value for name, value in self.encoder.fingerprint().items()}
        prompt = {} if isinstance(self.draw, APITeacher) else {"draw prompt": str(self._prompt.template)}
        return {**drawn, **prompt, **read}

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        """The encoder's signals of what was drawn for ``m`` texts; what is not there yet is drawn now."""
        paths = self.drawn(inputs)
        if paths[0].suffix == _SUFFIX["audio"]:
            return self.encoder({"audio": [read_wave_file(path) for path in paths]})
        images = [to_picture(path).convert("RGB") for path in paths]
        return self.encoder(
            {"image": _stacked(images) if isinstance(self.encoder, ModuleTeacher) else images}
        )

    def drawn(self, inputs: Mapping[str, Any]) -> list[Path]:
        """The kept file for each row; draws what is not there yet.

        Raises: DataError for a row without text.
        """
        texts = [self._prompt.text(row) for row in rows_of(inputs)]
        known = {text: self._find(text) for text in dict.fromkeys(texts)}
        numbers = [texts.index(text) for text, path in known.items() if path is None]
        if isinstance(self.draw, APITeacher):
            answers = (
                []
                if not numbers
                else self.draw.answers({name: _at(values, numbers) for name, values in inputs.items()})
            )
            for number, row in zip(numbers, answers, strict=True):
                known[texts[number]] = self._keep(texts[number], "image", row[0].blob or b"")
        else:
            for number in numbers:  # each is kept before the next is drawn
                known[texts[number]] = self._keep(
                    texts[number], *self._content(texts[number], self.draw(texts[number]))
                )
        return [path for text in texts if (path := known[text]) is not None]

    def _content(self, text: str, drawn: Any) -> tuple[str, bytes]:
        media = media_of(first_frame(drawn))
        if media is None:
            raise DataError(
                f"For {text[:60]!r} draw gave {type(drawn).__name__}; it must give a PIL image, pixels, a video's "
                "frames, or a sound {'array': samples, 'sampling_rate': Hz}."
            )
        if media.kind == "image" and media.format != "png":
            return "image", png_bytes(open_picture(media.data, "What draw gave"))
        return media.kind, media.data

    def _find(self, text: str) -> Path | None:
        stem = self.pictures / self._name(text)
        paths = [stem.with_suffix(suffix) for suffix in _SUFFIX.values()]
        return next((path for path in paths if path.is_file()), None)

    def _keep(self, text: str, kind: str, data: bytes) -> Path:
        path = (self.pictures / self._name(text)).with_suffix(_SUFFIX[kind])
        self.pictures.mkdir(parents=True, exist_ok=True)
        with open(self.pictures / PROMPTS_FILE, "a", encoding="utf-8") as file:  # first: a file has its line
            file.write(json.dumps({"file": path.name, "prompt": text}, ensure_ascii=False) + "\n")
        write_whole(path, data)
        return path

    def _name(self, text: str) -> str:
        return blake2b(f"{self._settings}\n{text}".encode(), digest_size=12).hexdigest()


def _stacked(images: Sequence[Any]) -> Tensor:
    """RGB images of one size as floats ``[m, 3, H, W]`` from 0 to 1."""
    import numpy as np
    import torch

    sizes = {image.size for image in images}
    if len(sizes) > 1:
        raise DataError(f"The pictures have different sizes ({sorted(sizes)[:3]}); make draw give one size.")
    pixels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def _at(values: Any, numbers: Sequence[int]) -> Any:
    return [values[number] for number in numbers]
