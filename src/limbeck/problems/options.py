"""Which of a row's options a language model holds likeliest, by all its tokens together or by their mean.

Axis legend: n rows, K options (the most of any row), L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from limbeck.problems.base import Run, Targets
from limbeck.problems.prompts import Wording, position_ids, prompts_of
from limbeck.problems.token_scores import summed_by_row, token_log_likelihoods
from limbeck.signals.classes import UNLABELLED

OPTIONS, RIGHT = "options", "right_option"  # names among what targets hold besides


def option_tokens(
    wording: Wording, options: Sequence[Sequence[str]], answers: Sequence[Any], known: Tensor
) -> dict[str, Tensor]:
    """Tokens of each row's options, ``[N, K, L]`` without an end, -100 behind them and of a row's missing ones; and
    the number of the right one, ``[N]``, -1 where the row's answer is unknown or none of them."""
    coded = [wording.answers(list(row), [False] * len(row)) for row in options]
    k = max((len(row) for row in coded), default=0)
    longest = max((len(ids) for row in coded for ids in row), default=0)
    tokens = torch.full((len(coded), k, longest), UNLABELLED)
    for i, row in enumerate(coded):
        for j, ids in enumerate(row):
            tokens[i, j, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    right = [
        list(row).index(answer) if is_known and answer in row else -1
        for row, answer, is_known in zip(options, answers, known.tolist(), strict=True)
    ]
    return {OPTIONS: tokens, RIGHT: torch.tensor(right)}


@torch.no_grad()
def scored_options(
    run: Run, inputs: Mapping[str, Tensor], targets: Targets, vocabulary: int
) -> dict[str, Tensor]:
    """Whether the likeliest option of each row is the right one, ``[n]`` 0 or 1, NaN where there is none: ``by_sum`` of
    its tokens' log-probabilities, ``by_mean`` of them."""
    if OPTIONS not in targets.besides:
        missing = torch.full((len(targets),), float("nan"), device=targets.known.device)
        return {"by_sum": missing, "by_mean": missing.clone()}
    options, right = targets.besides[OPTIONS], targets.besides[RIGHT]
    prompts = prompts_of(inputs["input_ids"], inputs["attention_mask"], targets.values)
    totals, lengths = [], (options != UNLABELLED).sum(-1)
    for k in range(options.shape[1]):
        labels = pad_sequence(
            [
                torch.cat([torch.full_like(prompt, UNLABELLED), row[row != UNLABELLED]])
                for prompt, row in zip(prompts, options[:, k])
            ],
            batch_first=True,
            padding_value=UNLABELLED,
        )
        totals.append(_likelihoods(run, prompts, labels, vocabulary, tuple(inputs)))
    total = torch.stack(totals, dim=1).masked_fill(lengths == 0, -torch.inf)
    values = {"by_sum": total, "by_mean": total / lengths.clamp(min=1)}
    hits = {name: (value.argmax(1) == right).float() for name, value in values.items()}
    return {name: torch.where(right >= 0, hit, float("nan")) for name, hit in hits.items()}


def _likelihoods(
    run: Run, prompts: Sequence[Tensor], labels: Tensor, vocabulary: int, names: Sequence[str]
) -> Tensor:
    """``[n]`` log-probability of what stands behind each prompt in ``labels [n, L]``; ``names`` of the inputs that the
    student takes."""
    ids = labels.clamp(min=0)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    ends = torch.tensor([len(prompt) for prompt in prompts], device=ids.device) + (labels != UNLABELLED).sum(
        -1
    )
    mask = (torch.arange(ids.shape[1], device=ids.device) < ends[:, None]).long()
    where = labels[:, 1:] != UNLABELLED
    where = torch.cat([where, torch.zeros_like(where[:, :1])], dim=1)
    given = {"input_ids": ids, "attention_mask": mask, "position_ids": position_ids(mask)}
    out = run({name: given[name] for name in names})
    found = token_log_likelihoods(out, where, labels[labels != UNLABELLED], vocabulary)
    return summed_by_row(found, where)
