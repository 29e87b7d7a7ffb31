"""A vision-language model as a teacher of answers: it is shown a picture with each prompt, the student is not.

Axis legend: m rows, L tokens of a row.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, DataError, UnknownNameError, first_line, nearest
from limbeck.problems.prompts import Wording, padded_rows
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.students.foreign import NO_CODE, PLAIN_WEIGHTS, loading, no_code
from limbeck.students.pretrained import quietly
from limbeck.teachers.answers import SETTINGS, AnswerTeacher
from limbeck.teachers.base import device_of
from limbeck.teachers.hf.loading import load_config
from limbeck.teachers.hf.settings import Loading
from limbeck.teachers.raw import to_image

PICTURE = "image"  # the column
_PART = re.compile(r"<row_\d+_col_\d+>")  # of a picture that is cut into parts


@dataclass(frozen=True)
class SeeingWording(Wording):
    """How a model that sees is asked: a picture before each prompt, in the processor's chat template or without.

    Args:
        processor: makes inputs of texts and pictures; it holds the tokenizer.
        known: tokens that are the student's too; those behind them in the tokenizer's order are cut off.
    """

    processor: Any = None
    known: int = 0

    def __post_init__(self) -> None:
        if self.chat and not getattr(self.processor, "chat_template", None):
            raise ConfigError(
                "The processor has no chat template, so prompts cannot be put as a conversation; leave chat false."
            )
        if self.system and not self.chat:
            raise ConfigError("A system's word goes into a chat template; set chat to true, or leave it out.")

    @cached_property
    def facts(self) -> dict[str, str]:
        """As of a :class:`Wording`, of the tokens that are known."""
        kept = sorted(item for item in self.tokenizer.get_vocab().items() if item[1] < self.known)
        words = json.dumps(kept, ensure_ascii=True)
        digest = hashlib.blake2b(words.encode("ascii"), digest_size=16).hexdigest()
        return {"vocabulary": digest, "end": str(self.tokenizer.convert_ids_to_tokens(self.end))}

    def asked(
        self, prompts: Sequence[Any], pictures: Sequence[Any]
    ) -> tuple[list[list[int]], dict[str, Tensor]]:
        """The tokens of each prompt, those that stand for its picture included, and what else the model takes; tensors
        by token are ``[m, L]``, padded on the right."""
        said = (
            [self._rendered(self._messages(prompt), add_generation_prompt=True) for prompt in prompts]
            if self.chat
            else [self._shown(prompt) for prompt in prompts]
        )
        made = self.processor(
            text=said,
            images=[[picture] for picture in pictures],
            padding=True,
            return_tensors="pt",
            add_special_tokens=False,
        )
        ids, mask = made.pop("input_ids"), made.pop("attention_mask").bool()
        begin = [] if self.chat else list(self.beginning)
        rows = [begin + row[there].tolist() for row, there in zip(ids, mask, strict=True)]
        return rows, {name: _by_token(value, mask, len(begin)) for name, value in made.items()}

    def _shown(self, prompt: Any) -> str:
        if not isinstance(prompt, str):
            raise ConfigError(
                f"A conversation of {len(prompt)} messages needs a chat template; set chat to true."
            )
        token = str(self.processor.image_token)
        return prompt if token in prompt else token + prompt

    def _messages(self, prompt: Any) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = [
            {**turn, "content": [{"type": "text", "text": turn["content"]}]}
            for turn in super()._messages(prompt)
        ]
        first = next(turn for turn in messages if turn["role"] == "user")
        first["content"].insert(0, {"type": "image"})
        return messages

    def _rendered(self, messages: list[dict[str, Any]], **options: Any) -> str:
        for turn in messages:
            if isinstance(turn["content"], str):
                turn["content"] = [{"type": "text", "text": turn["content"]}]
        return self._by(self.processor, messages, **options)


def _by_token(value: Tensor, mask: Tensor, begin: int) -> Tensor:
    """``value``, padded on the right wherever the tokenizer pads, if it has a number for each token."""
    if value.shape != mask.shape:
        return value
    rows = [[0] * begin + row[there].tolist() for row, there in zip(value, mask, strict=True)]
    return padded_rows([(row, []) for row in rows], 0)[0].to(value.dtype)


class SeeingAnswerTeacher(AnswerTeacher):
    """An :class:`AnswerTeacher` that is shown a picture before each prompt: columns ``prompt``, ``completion`` and
    ``image`` (paths, PIL images or pixels), and ``ended``. The student's answer is scored under the picture.

    Where the answer stands is counted: the prompt's tokens, as the processor makes them with all that stand for the
    picture, and the answer's, encoded apart as the student's are.

    Args:
        model: of transformers' ``AutoModelForImageTextToText``.    processor: its own, with its tokenizer.
        vocabulary: how many of the tokenizer's first tokens are the student's; by default all but those at its end that
            stand for pictures. The others are cut off before the softmax.
        settings: as of :class:`AnswerTeacher`.
    """

    def __init__(
        self, model: nn.Module, processor: Any, *, vocabulary: int | None = None, **settings: Any
    ) -> None:
        tokenizer = processor.tokenizer
        chat, system = settings.pop("chat", False), settings.pop("system", "")
        super().__init__(model, tokenizer, **settings)
        self.vocabulary = _text_tokens(processor) if vocabulary is None else vocabulary
        if not 0 < self.vocabulary <= len(tokenizer):
            raise ConfigError(
                f"vocabulary is from 1 to the {len(tokenizer):,} tokens of the teacher; it is {self.vocabulary:,}."
            )
        self.wording: SeeingWording = SeeingWording(tokenizer, chat, system, processor, self.vocabulary)

    @classmethod
    def load(cls, source: str | Path, **settings: Any) -> SeeingAnswerTeacher:
        """The model and processor in a folder, or of a hub id; no code of it is run.

        Raises: as :meth:`AnswerTeacher.load`.
        """
        known = (*SETTINGS, "vocabulary")
        for name in settings:
            if name not in known:
                raise UnknownNameError(
                    f"A teacher of answers has no setting {name!r}; {nearest(name, known)}"
                )
        return cls(*_model_and_processor(str(source)), **settings)

    def fingerprint(self) -> dict[str, str]:
        """As of an :class:`AnswerTeacher`, the processor included."""
        parts, processor = super().fingerprint(), self.wording.processor
        how = [parts["preprocessing"], processor.image_processor.to_dict(), processor.chat_template]
        return {**parts, "preprocessing": settings_fingerprint([*how, self.vocabulary])}

    def _one(self, inputs: Mapping[str, Any], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self._encoded({name: value[:1] for name, value in inputs.items()})[0]

    def _encoded(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor, int]:
        if PICTURE not in inputs:
            raise UnknownNameError(f"A teacher that sees reads {PICTURE!r}; {nearest(PICTURE, inputs)}")
        pictures = [to_image(PICTURE, value) for value in inputs[PICTURE]]
        prompts, more = self.wording.asked(list(inputs["prompt"]), pictures)
        completions = list(inputs["completion"])
        ended = [bool(end) for end in inputs.get("ended", [True] * len(completions))]
        coded = self.wording.answers(completions, ended)
        answers = [answer[: self.max_new_tokens] if text else [] for answer, text in zip(coded, completions)]
        cut = sum(len(a) > self.max_new_tokens for a, text in zip(coded, completions) if text)
        longest = max((len(p) + len(a) for p, a in zip(prompts, answers)), default=0)
        if longest > self.max_length:
            raise ConfigError(
                f"A prompt with its picture and answer is {longest:,} tokens, more than the teacher's max_length of "
                f"{self.max_length:,}; raise that or lower max_new_tokens: a picture's tokens are not cut."
            )
        ids, mask, labels = padded_rows(list(zip(prompts, answers)), self.wording.tokenizer.pad_token_id)
        device = device_of(self.model)
        wide = {
            name: torch.nn.functional.pad(value, (0, ids.shape[1] - value.shape[1]))
            if value.shape == (len(ids), max(map(len, prompts)))
            else value
            for name, value in more.items()
        }
        given = {"input_ids": ids, "attention_mask": mask, **wide}
        return {name: value.to(device) for name, value in given.items()}, labels.to(device), cut


def _text_tokens(processor: Any) -> int:
    """How many tokens the tokenizer has but for those at its end that stand for pictures."""
    own = {str(v) for name, v in vars(processor).items() if name.endswith(("_token", "_tag"))}
    tokenizer = processor.tokenizer
    n = len(tokenizer)
    while n > 1 and ((last := tokenizer.convert_ids_to_tokens(n - 1)) in own or _PART.fullmatch(last)):
        n -= 1
    return n


def _model_and_processor(source: str) -> tuple[nn.Module, Any]:
    """Both in a folder or of a hub id, in evaluation mode.

    Raises: DataError where they are not.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    config = load_config(source, Loading())
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise DataError(
            f"'{source}' holds a model of the kind '{config.model_type}', which is shown no pictures; take a "
            "vision-language model, or leave the pictures out of the data."
        )
    with quietly(), loading(source):
        model = AutoModelForImageTextToText.from_pretrained(source, **PLAIN_WEIGHTS).eval()
    try:
        with no_code(source):
            processor = AutoProcessor.from_pretrained(source, **NO_CODE)
    except DataError:
        raise
    except Exception as error:  # transformers raises what the kind of processor makes of missing files
        reason = first_line(error)
        raise DataError(
            f"The processor of '{source}' cannot be loaded ({reason}); save the model's own into it, or install "
            "what it asks for."
        ) from error
    if getattr(processor, "tokenizer", None) is None or getattr(processor, "image_token", None) is None:
        raise DataError(f"'{source}' holds no processor of texts and pictures; save the model's own into it.")
    tokenizer = processor.tokenizer
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, processor
