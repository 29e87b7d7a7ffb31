"""An exported student as a model of lm-evaluation-harness.

Axis legend: n rows, L tokens, V tokens of the vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from torch import Tensor

from limbeck.progress import progress
from limbeck.students.export.exported import ExportedStudent


class _Counted:
    """Counts the answers that lm-eval would keep in a cache."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance

    def add_partial(self, *_: Any) -> None:
        self._advance(1)


def harness_model(
    student: ExportedStudent, tokenizer: Any, device: str, batch_size: int, *, told_to: TextIO
) -> Any:
    """``student`` behind lm-eval's interface: its own tokenizer, logits ``[n, L, V]`` cut to that before the softmax,
    and answers no longer than it writes unless the task says a length.

    Args:
        told_to: where the progress is shown, whatever standard error is by then.
    """
    from lm_eval.models.huggingface import HFLM

    vocabulary, longest = len(tokenizer), student.problem.writing()["max_new_tokens"]

    class Harnessed(HFLM):
        @property
        def max_gen_toks(self) -> int:
            return longest

        def _model_call(self, *args: Any, **options: Any) -> Tensor:
            return super()._model_call(*args, **options)[..., :vocabulary]

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            with self._counting("Scoring answers", len(requests)):
                return super().loglikelihood(requests, disable_tqdm=True)

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
            with self._counting("Scoring texts", len(requests)):
                return super().loglikelihood_rolling(requests, disable_tqdm=True)

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
            with self._counting("Writing answers", len(requests)):
                return super().generate_until(requests, disable_tqdm=True)

        @contextlib.contextmanager
        def _counting(self, what: str, n: int) -> Iterator[None]:
            with contextlib.redirect_stderr(told_to), progress(what, n, "requests") as advance:
                self.set_cache_hook(_Counted(advance))
                yield

    model: Any = student.model.to(device)
    model.generation_config.max_new_tokens = None  # a task may ask for more
    return Harnessed(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
