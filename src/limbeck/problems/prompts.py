"""Prompts and answers as tokens: each encoded apart, put one behind the other, cut where they are too long.

Axis legend: N rows, L tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError, first_line
from limbeck.signals.classes import UNLABELLED

Prompt = (
    str | tuple[str, ...]
)  # a text, or a conversation: the system's word ("" for none), then user, assistant, ...


@dataclass(frozen=True)
class Wording:
    """How a model is asked: its tokenizer, and whether prompts go through its chat template.

    Args:
        chat: each prompt is what a user says, in the tokenizer's own template.
        system: what the template is told before; "" = nothing.
    """

    tokenizer: Any
    chat: bool = False
    system: str = ""

    def __post_init__(self) -> None:
        if self.chat and not getattr(self.tokenizer, "chat_template", None):
            raise ConfigError(
                "The tokenizer has no chat template, so prompts cannot be put as a conversation; leave chat false, or "
                "set tokenizer.chat_template and save it beside the model."
            )
        if self.system and not self.chat:
            raise ConfigError("A system's word goes into a chat template; set chat to true, or leave it out.")

    @cached_property
    def end(self) -> int:
        """The token that ends an answer: of a chat template the first special one behind what an assistant says, else
        the end of the text.

        Raises: ConfigError for a tokenizer without one.
        """
        found = self._end_of_turn() if self.chat else None
        found = self.tokenizer.eos_token_id if found is None else found
        if found is None:
            raise ConfigError(
                "The tokenizer has no end-of-text token, so a written answer would never end; set tokenizer.eos_token "
                "to one of its tokens and save it beside the model."
            )
        return int(found)

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens at which writing stops."""
        return tuple(dict.fromkeys(t for t in (self.end, self.tokenizer.eos_token_id) if t is not None))

    @cached_property
    def facts(self) -> dict[str, str]:
        """JSON-able: digest of which token has which number, and the token that ends an answer."""
        words = json.dumps(sorted(self.tokenizer.get_vocab().items()), ensure_ascii=True)
        digest = hashlib.blake2b(words.encode("ascii"), digest_size=16).hexdigest()
        return {"vocabulary": digest, "end": str(self.tokenizer.convert_ids_to_tokens(self.end))}

    @cached_property
    def beginning(self) -> tuple[int, ...]:
        """What stands before a plain text: the tokenizer's beginning-of-text token, if it puts one there."""
        special = list(self.tokenizer("", add_special_tokens=True)["input_ids"])
        begin = self.tokenizer.bos_token_id
        return (int(begin),) if begin is not None and special[:1] == [begin] else ()

    def prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Tokens of each prompt; a beginning-of-text token that the text brings itself is not put there again."""
        if not self.chat:
            if spoken := [prompt for prompt in prompts if not isinstance(prompt, str)]:
                raise ConfigError(
                    f"A conversation of {len(spoken[0])} messages needs a chat template; set chat to true."
                )
            begin = list(self.beginning)
            return [ids if ids[:1] == begin else begin + ids for ids in self._plain(prompts)]
        rendered = [self._rendered(self._messages(prompt), add_generation_prompt=True) for prompt in prompts]
        return self._plain(rendered)

    def answers(self, answers: Sequence[str], ended: Sequence[bool]) -> list[list[int]]:
        """Tokens of each answer, the end behind those that ``ended``."""
        return [ids + [self.end] * end for ids, end in zip(self._plain(answers), ended, strict=True)]

    def decoded(self, ids: Tensor) -> str:
        """The text of tokens ``[L]``, negative numbers and special tokens left out, without space around it."""
        kept = ids[ids >= 0].tolist()
        return str(self.tokenizer.decode(kept, skip_special_tokens=True)).strip()

    def _plain(self, texts: Sequence[Any]) -> list[list[int]]:
        if not len(texts):
            return []
        return [list(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def _messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        system, *turns = (self.system, prompt) if isinstance(prompt, str) else prompt
        roles = ("user", "assistant")
        told = [{"role": "system", "content": system}] if system else []
        return [*told, *({"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns))]

    def _rendered(self, messages: list[dict[str, Any]], **options: Any) -> str:
        return self._by(self.tokenizer, messages, **options)

    def _by(self, renders: Any, messages: list[dict[str, Any]], **options: Any) -> str:
        """The conversation in the chat template of a tokenizer or processor."""
        try:
            return str(renders.apply_chat_template(messages, tokenize=False, **options))
        except Exception as error:  # a template raises what its author likes
            reason = first_line(error)
            raise ConfigError(
                f"The tokenizer's chat template cannot put such a conversation ({reason}); leave out the system's "
                "word, or set chat to false."
            ) from error

    def _end_of_turn(self) -> int | None:
        asked = self._messages("question")
        head = self._rendered(asked, add_generation_prompt=True) + "answer"
        whole = self._rendered([*asked, {"role": "assistant", "content": "answer"}])
        if not whole.startswith(head):
            return None
        special = set(self.tokenizer.all_special_ids)
        return next((ids for ids in self._plain([whole[len(head) :]])[0] if ids in special), None)


@dataclass(frozen=True)
class PromptRows:
    """Rows of prompts and answers.

    Args:
        ids: ``[N, L]``, prompt and answer, padded on the right.    mask: ``[N, L]`` int64, 1 where a token stands.
        labels: ``[N, L]``, the answer's tokens where they stand, -100 elsewhere.
        cut_prompts, cut_answers: how many were too long.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor
    cut_prompts: int
    cut_answers: int


def position_ids(mask: Tensor) -> Tensor:
    """``[n, L]`` the place of each token among those that the mask ``[n, L]`` shows, from 0; 0 before the first."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


def prompt_rows(
    wording: Wording,
    prompts: Sequence[Prompt],
    answers: Sequence[str | None],
    ended: Sequence[bool],
    *,
    max_length: int,
    max_answer: int,
    keys: Sequence[Any],
) -> PromptRows:
    """Prompts and answers as tokens, masks from their lengths alone: a token that also pads is learned like any other.

    Args:
        answers: None = unknown.    ended: whether an answer came to its end.
        max_length: of prompt and answer together.    max_answer: of an answer, its end included; a longer one is cut
            and has no end, and of a prompt that then does not fit the last tokens stay.
    Raises: DataError naming a row of no tokens; ConfigError for lengths that leave no room.
    """
    begin = len(wording.beginning) * (not wording.chat)
    if max_length - max_answer <= begin:
        raise ConfigError(
            f"max_length {max_length} leaves no room for a prompt beside an answer of {max_answer} tokens "
            f"(max_new_tokens); take at least {max_answer + begin + 1}."
        )
    there = [i for i, answer in enumerate(answers) if answer is not None]
    coded = wording.answers([str(answers[i]) for i in there], [bool(ended[i]) for i in there])
    found = dict(zip(there, coded))
    rows, cut_prompts, cut_answers = [], 0, 0
    for i, prompt in enumerate(wording.prompts(prompts)):
        answer = found.get(i, [])
        if not prompt or (i in found and not answer):
            what = "prompt" if not prompt else "answer"
            raise DataError(f"Row {keys[i]!r} has a {what} of no tokens; fill it in or leave the row out.")
        cut_answers += len(answer) > max_answer
        answer = answer[:max_answer]
        room = max_length - (len(answer) or max_answer)
        cut_prompts += len(prompt) > room
        rows.append((_shortened(prompt, room, begin), answer))
    return PromptRows(*padded_rows(rows, wording.tokenizer.pad_token_id), cut_prompts, cut_answers)


def _shortened(prompt: list[int], room: int, begin: int) -> list[int]:
    """The beginning-of-text token and the last others."""
    return prompt if len(prompt) <= room else prompt[:begin] + prompt[len(prompt) - room + begin :]


def padded_rows(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and labels of prompts and answers, padded on the right, as in :class:`PromptRows`."""
    longest = max((len(prompt) + len(answer) for prompt, answer in rows), default=0)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, UNLABELLED)
    for row, (prompt, answer) in enumerate(rows):
        n = len(prompt) + len(answer)
        ids[row, :n] = torch.tensor(prompt + answer)
        mask[row, :n] = 1
        labels[row, len(prompt) : n] = torch.tensor(answer, dtype=torch.long)
    return ids, mask, labels


def prompts_of(ids: Tensor, mask: Tensor, labels: Tensor) -> list[Tensor]:
    """The prompt of each row ``[l_i]``: what stands before its answer."""
    before = mask.bool() & (labels == UNLABELLED)
    return [row[shown] for row, shown in zip(ids, before)]
