"""How far a student's predictions of answer tokens are from those of a teacher, whose rows have the answers' lengths.

Axis legend: n rows, L positions, T answer tokens of all rows, d and D widths, V tokens of the vocabulary, k kept.
"""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional.response.divergence import divergence
from limbeck.functional.response.sparse import sparse_divergence
from limbeck.functional.response.top_k import binned
from limbeck.functional.response.vocabulary import Divergence as Fused
from limbeck.functional.response.vocabulary import fused_linear_divergence
from limbeck.functional.response.vocabulary_head import LogitForm
from limbeck.problems.base import Comparison, Shown
from limbeck.problems.token_scores import head_logits, logits_at, plain_head
from limbeck.signals.output import TeacherOutput
from limbeck.signals.ragged import Ragged
from limbeck.signals.top_k import TopK


def token_divergence(
    out: Shown, where: Tensor, said: TeacherOutput, counts: Tensor, vocabulary: int, how: Comparison
) -> Tensor:
    """The sum over the positions ``where [n, L]`` of the student.

    Args:
        said: hidden states of one layer with the head, or the likeliest ``tokens``: of each of its p rows one a token.
        counts: ``[p]`` how many positions of the student each of its rows has.
    Raises: DataError where the teacher speaks of fewer tokens than the student has, or of another vocabulary;
        ConfigError for a comparison that the likeliest tokens do not give.
    """
    if said.tokens is not None:
        kept = _answer_tokens(said.tokens, counts)
        return _of_likeliest(logits_at(out, where, vocabulary), kept, how)
    states = _answer_tokens(next(iter(said["hidden_states"].values())), counts)
    weight, bias = said["head"]
    n = vocabulary or len(weight)
    if len(weight) < n:
        raise DataError(f"The teacher's head knows {len(weight)} tokens, the student's tokenizer has {n}.")
    weight, bias = weight[:n].to(states.device), None if bias is None else bias[:n].to(states.device)
    form = said.form or LogitForm()
    plain = plain_head(out, vocabulary)
    if plain is None or how.change is not None or how.kind not in get_args(Fused):
        return how.of(logits_at(out, where, vocabulary), head_logits(states, weight, bias, form))
    entered, (own, own_bias), own_form = plain
    found = fused_linear_divergence(
        entered[where],
        own,
        states,
        weight,
        kind=how.kind,  # type: ignore[arg-type]  # looked at above
        beta=how.beta,
        temperature=how.temperature,
        bias_s=own_bias,
        bias_t=bias,
        scale_s=own_form.scale,
        scale_t=form.scale,
        softcap_s=own_form.softcap,
        softcap_t=form.softcap,
        reduction="sum",
    )
    return found * how.temperature**2


def _answer_tokens(signal: Any, counts: Tensor) -> Any:
    """The first ``counts [p]`` elements of each row, one after the other: a tensor ``[T, ...]`` or a TopK of T.

    An answer that the student had to cut is longer to the teacher; what stands behind the cut changes nothing before.
    """
    if not isinstance(signal, Ragged):
        raise DataError(
            "A teacher of answers gives rows of the answers' lengths (Ragged), and this one gives "
            f"{list(getattr(signal, 'shape', []))}; make the bank with an AnswerTeacher."
        )
    if torch.equal(signal.lengths, counts.to(signal.lengths.device)):
        return signal.values
    lacking = signal.lengths < counts.to(signal.lengths.device)
    if bool(lacking.any()):
        row = int(torch.nonzero(lacking)[0])
        raise DataError(
            f"The teacher speaks of {int(signal.lengths[row])} tokens of an answer of which the student learns "
            f"{int(counts[row])}; ask it about the same answers, with max_new_tokens of at least the student's."
        )
    within = torch.cat([torch.arange(int(n)) for n in signal.lengths.tolist()])
    kept = within < counts.cpu().repeat_interleave(signal.lengths.cpu())
    kept = kept.to(signal.lengths.device)
    return signal.values.rows(kept) if isinstance(signal.values, TopK) else signal.values[kept]


def _of_likeliest(ours: Tensor, said: TopK, how: Comparison) -> Tensor:
    if said.n_classes != ours.shape[-1]:
        raise DataError(
            f"The teacher's tokens are of {said.n_classes:,}, the student knows {ours.shape[-1]:,}; cut the teacher's "
            "logits to the tokenizer's before its likeliest tokens are kept, as an AnswerTeacher does."
        )
    if how.change is not None or how.kind == "mse":
        raise ConfigError(
            "The likeliest tokens of a teacher are not its logits: standardise, teacher_share below 1 and mse need its "
            "hidden states; leave out top_k of the teacher, or take another divergence."
        )
    if how.rest == "renormalised":
        if how.kind != "forward_kl":
            raise ConfigError(
                f"The divergence {how.kind!r} of a teacher's likeliest tokens without the rest has no minimum worth "
                "having: the student would shrink all that it holds likely; set rest: one_bin, or take forward_kl."
            )
        return sparse_divergence(
            ours,
            said.ids,
            said.log_probs,
            rest="renormalised",
            temperature=how.temperature,
            reduction="sum",
        )
    return divergence(
        binned(ours, said.ids),
        said.binned(),
        kind=how.kind,
        beta=how.beta,
        temperature=how.temperature,
        reduction="sum",
    )
