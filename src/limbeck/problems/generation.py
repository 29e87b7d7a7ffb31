"""An answer to a prompt, written token by token.

Axis legend: n rows, L tokens of a row, T answer tokens of a batch, V tokens of the vocabulary, K options, W tokens
written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.functional.response.predictions import distillation_kl
from limbeck.problems.base import Comparison, Encoded, Problem, Reading, Run, Shown, Targets
from limbeck.problems.metric import EXACT_MATCH, NLL, OPTION_ACCURACY, OPTION_MEAN_ACCURACY, ROUGE_L, Metric
from limbeck.problems.options import option_tokens, scored_options
from limbeck.problems.prompts import PromptRows, Wording, position_ids, prompt_rows, prompts_of
from limbeck.problems.text_scores import check_rouge, exact_match, rouge_l
from limbeck.problems.token_divergence import token_divergence
from limbeck.problems.token_scores import summed_by_row, token_cross_entropy, token_log_likelihoods
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.output import TeacherOutput

_WRITTEN = {EXACT_MATCH.name: exact_match, ROUGE_L.name: rouge_l}
_OPTIONS = {OPTION_ACCURACY.name: "by_sum", OPTION_MEAN_ACCURACY.name: "by_mean"}
_FURTHER = {metric.name: metric for metric in (EXACT_MATCH, ROUGE_L, OPTION_ACCURACY, OPTION_MEAN_ACCURACY)}


@dataclass(frozen=True)
class Generation(Problem):
    """Targets are tokens ``[N, L]`` where they stand, -100 outside the answers; logits at a position are of the next.

    The loss is the cross-entropy of each answer token, its end included, given prompt and answer so far: a sum
    over tokens.

    Args:
        names: what an answer is called.
        label_smoothing: in [0, 1), of the loss.
        chat: prompts go through the tokenizer's chat template.    system: what the template is told before.
        max_new_tokens: of an answer, its end included: longer ones are cut where they are learned, and no longer ones
            are written.
        temperature: at which answers are written where they are scored; 0 = the likeliest token each time.
        also: further metrics: ``exact_match`` and ``rouge_l`` of written answers (writing takes a forward pass a
            token); ``option_accuracy`` and ``option_mean_accuracy`` by the likelihood of the options that rows offer,
            of all tokens together or of their mean.
        vocabulary: tokens of the tokenizer; logits beyond it, by which models are padded, are cut off. 0 = all.
    """

    label_smoothing: float = 0.0
    chat: bool = False
    system: str = ""
    max_new_tokens: int = 64
    temperature: float = 0.0
    also: tuple[str, ...] = ()
    vocabulary: int = 0

    kind: ClassVar[str] = "generation"
    measures: ClassVar[tuple[Metric, ...]] = (NLL,)
    reading: ClassVar[Reading] = "positions"
    auto_model: ClassVar[str | None] = "CausalLM"
    title: ClassVar[str] = "A language model that writes answers to prompts."
    names_outputs: ClassVar[bool] = False
    writes: ClassVar[bool] = True
    predictions_in: ClassVar[tuple[frozenset[str], ...]] = (
        frozenset({"hidden_states", "head"}),
        frozenset({"tokens"}),
    )
    kept_columns: ClassVar[tuple[str, ...]] = ("completion", "ended")

    wording: ClassVar[Wording | None] = None  # of a problem for_tokenizer; no setting, so never written down

    def __post_init__(self) -> None:
        object.__setattr__(self, "also", tuple(self.also))  # a list where it was read from a file
        for name in self.also:
            if name not in _FURTHER:
                raise UnknownNameError(f"A {self.kind} has no metric {name!r}; {nearest(name, _FURTHER)}")
        if ROUGE_L.name in self.also:
            check_rouge()
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 <= self.label_smoothing < 1:
            raise ConfigError(
                "A generation needs max_new_tokens of at least 1, a temperature of at least 0 and label_smoothing in "
                f"[0, 1); they are {self.max_new_tokens}, {self.temperature} and {self.label_smoothing}."
            )
        super().__post_init__()

    @property
    def scored_by(self) -> tuple[Metric, ...]:
        return (*self.measures, *(_FURTHER[name] for name in self.also))

    def n_outputs(self) -> None:
        return None

    def check(self, targets: Targets, source: str) -> None:
        if not bool(targets.known.any()):
            raise DataError(f"{source} holds no answers; say what is to be written for a prompt.")

    # ---- tokens -------------------------------------------------------------------------------------------------

    def for_tokenizer(self, tokenizer: Any) -> Generation:
        return replace(self, vocabulary=len(tokenizer))._with(Wording(tokenizer, self.chat, self.system))

    def _with(self, wording: Wording | None) -> Generation:
        if wording is not None:
            object.__setattr__(self, "wording", wording)
        return self

    @property
    def worded(self) -> Wording:
        """How prompts are put; ConfigError before the tokenizer is known."""
        if self.wording is None:
            raise ConfigError("Texts are written by a tokenizer; take problem.for_tokenizer(tokenizer).")
        return self.wording

    def encoded(
        self, inputs: Mapping[str, Any], targets: Targets, max_length: int, keys: Sequence[Any]
    ) -> Encoded:
        """``prompt`` and, where it is known, ``completion`` as tokens; ``ended [N]`` says of each whether it came to
        its end, and ``options`` are scored at the end."""
        n = len(inputs["prompt"])
        ended = inputs.get("ended", torch.ones(n, dtype=torch.bool))
        given = inputs.get("completion", [None] * n)
        answers = [text if known else None for text, known in zip(given, targets.known.tolist(), strict=True)]
        rows = prompt_rows(
            self.worded,
            list(inputs["prompt"]),
            answers,
            ended.tolist(),
            max_length=max_length,
            max_answer=self.max_new_tokens,
            keys=keys,
        )
        besides = dict(targets.besides)
        if "options" in inputs:
            besides |= option_tokens(self.worded, inputs["options"], given, targets.known)
        found = replace(targets, values=rows.labels, besides=besides)
        return Encoded(model_inputs(rows.ids, rows.mask), found, self._told(rows, max_length))

    def _told(self, rows: PromptRows, max_length: int) -> tuple[str, ...]:
        told = []
        if rows.cut_answers:
            told.append(
                f"{rows.cut_answers} answers were longer than {self.max_new_tokens} tokens and were cut, so that they "
                "end without an end; raise max_new_tokens to keep them whole."
            )
        if rows.cut_prompts:
            told.append(
                f"{rows.cut_prompts} prompts did not fit into {max_length} tokens beside their answers and lost their "
                "beginnings; raise student.max_length to keep them whole."
            )
        return tuple(told)

    def next_tokens(self, targets: Targets) -> Tensor:
        """``[n, L]`` the answer token that each position is to predict, -100 where the next is none."""
        known = torch.where(targets.known[:, None], targets.values, UNLABELLED)
        return torch.cat([known[:, 1:], torch.full_like(known[:, :1], UNLABELLED)], dim=1)

    # ---- loss and scores ----------------------------------------------------------------------------------------

    def count(self, targets: Targets) -> int:
        return int((self.next_tokens(targets) != UNLABELLED).sum())

    def positions(self, targets: Targets) -> int:
        return targets.values.numel()

    def loss(self, out: Shown, targets: Targets) -> Tensor:
        wanted = self.next_tokens(targets)
        where = wanted != UNLABELLED
        return token_cross_entropy(out, where, wanted[where], self.vocabulary, self.label_smoothing)

    def match(
        self, logits_s: Tensor, logits_t: Tensor, *, temperature: float = 1.0, trains_teacher: bool = False
    ) -> Tensor:
        ours, theirs = (logits[..., : self.vocabulary or None] for logits in (logits_s, logits_t))
        return distillation_kl(
            ours, theirs, temperature=temperature, reduction="sum", trains_teacher=trains_teacher
        )

    def divergence(
        self, out: Shown, said: TeacherOutput, targets: Targets, rows: Tensor, how: Comparison
    ) -> Tensor:
        wanted = self.next_tokens(targets)
        counts = (wanted[rows] != UNLABELLED).sum(-1)
        where = torch.zeros_like(wanted, dtype=torch.bool)
        where[rows] = wanted[rows] != UNLABELLED
        ordered = bool((rows[1:] > rows[:-1]).all())
        assert ordered, "paired rows come in the order of the student's"
        return token_divergence(out, where, said, counts, self.vocabulary, how)

    def matched(self, targets: Targets) -> Tensor:
        return (self.next_tokens(targets) != UNLABELLED).sum(-1)

    def check_teacher(self, name: str, told: Mapping[str, Any]) -> tuple[str, ...]:
        own = self.worded.facts
        if told.get("vocabulary", own["vocabulary"]) != own["vocabulary"]:
            raise ConfigError(
                f"The teacher {name!r} has another vocabulary than the student, so their predictions are of other "
                "tokens; take a student with the teacher's tokenizer, a method for several vocabularies (uld), or let "
                "the teacher write answers and learn these (supervised)."
            )
        if told.get("end", own["end"]) != own["end"]:
            return (
                f"The teacher {name!r} ends its answers with {told['end']!r}, the student with {own['end']!r}: behind "
                "an answer it teaches its own end; give both one chat template to avoid that.",
            )
        return ()

    def statistics(self, out: Shown, targets: Targets) -> dict[str, Tensor]:
        """Of each row its answer tokens and the sum of their negative log-likelihoods in nats."""
        wanted = self.next_tokens(targets)
        where = wanted != UNLABELLED
        found = token_log_likelihoods(out, where, wanted[where], self.vocabulary)
        return {"nll": -summed_by_row(found, where), "tokens": where.sum(-1)}

    def evaluated(
        self, run: Run, inputs: dict[str, Tensor], targets: Targets
    ) -> tuple[Tensor, dict[str, Tensor]]:
        found = self.statistics(run(inputs), targets)
        if set(self.also) & set(_WRITTEN):
            found |= self._written(run, inputs, targets)
        if set(self.also) & set(_OPTIONS):
            found |= scored_options(run, inputs, targets, self.vocabulary)
        return found["nll"].sum(), found

    def _written(self, run: Run, inputs: dict[str, Tensor], targets: Targets) -> dict[str, Tensor]:
        """How near what the student writes is to each known answer, ``[n]``; NaN where none is known."""
        written = self.write(run, inputs, targets)
        true = torch.where(targets.known[:, None], targets.values, UNLABELLED)
        pairs = [(self.worded.decoded(w), self.worded.decoded(t)) for w, t in zip(written, true)]
        known = targets.known.tolist()
        return {
            name: torch.tensor(
                [_WRITTEN[name](*pair) if is_known else float("nan") for pair, is_known in zip(pairs, known)]
            ).to(targets.values.device)
            for name in _WRITTEN
            if name in self.also
        }

    def write(self, student: Any, inputs: Mapping[str, Tensor], targets: Targets | None = None) -> Tensor:
        """``[n, W]`` tokens that a student writes to the prompts of some rows, -1 behind the end of each.

        Args:
            student: what has ``write`` (:class:`limbeck.students.Student`).
            targets: whose answers are taken away from the rows first.
        """
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        labels = torch.full_like(ids, UNLABELLED) if targets is None else targets.values
        return student.write(
            prompts_of(ids, mask, labels),
            max_new_tokens=self.max_new_tokens,
            ends=self.worded.ends,
            vocabulary=self.vocabulary,
            temperature=self.temperature,
        )

    def scores(self, statistics: Mapping[str, Tensor]) -> dict[str, float]:
        tokens = statistics["tokens"].double().sum()
        found = {NLL.name: float(statistics["nll"].double().sum() / tokens) if tokens else float("nan")}
        for name in self.also:
            values = self.item_values(statistics, name)
            found[name] = float(values.mean()) if values is not None and len(values) else float("nan")
        return found

    def item_values(self, statistics: Mapping[str, Tensor], metric: str) -> Tensor | None:
        values = statistics.get(_OPTIONS.get(metric, metric)) if metric in self.also else None
        return None if values is None else values[~values.isnan()].double()

    def answers(self, outputs: Tensor, mask: Tensor | None = None) -> list[dict[str, Any]]:
        """The text of written tokens ``[n, W]``."""
        return [{self.names[0]: self.worded.decoded(row)} for row in outputs]

    def told(self, answer: Mapping[str, Any]) -> str:
        return str(answer[self.names[0]])

    def writing(self) -> dict[str, Any]:
        """JSON-able: how plain transformers writes such answers, as a generation config has it."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "eos_token_id": list(self.worded.ends),
            "pad_token_id": self.worded.tokenizer.pad_token_id,
            "bos_token_id": self.worded.tokenizer.bos_token_id,
        }

    @classmethod
    def label(cls, cell: Any) -> Any:
        return cell

    @classmethod
    def names_in(cls, labels: Sequence[Any], column: str) -> tuple[str, ...]:
        return (column,)

    @classmethod
    def targets_of(cls, labels: Sequence[Any], names: Sequence[str]) -> Targets:
        """Which rows have an answer; its tokens are found when the tokenizer is known."""
        known = torch.tensor([label is not None for label in labels], dtype=torch.bool)
        return Targets(torch.full((len(labels), 1), UNLABELLED), known)


def model_inputs(ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What a language model is given; places come from the mask, so that padding moves nothing."""
    return {"input_ids": ids, "attention_mask": mask, "position_ids": position_ids(mask)}
