"""A language model as it is shipped: what plain transformers needs to write as it was taught to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from limbeck.problems.base import Problem


def write_as_told(model: PreTrainedModel, problem: Problem) -> None:
    """Set the model's generation config to what its problem says: the same end, the same length, and no token beyond
    the tokenizer's, of which a padded vocabulary has some."""
    from transformers import GenerationConfig

    width, known = int(model.config.get_text_config().vocab_size), int(getattr(problem, "vocabulary", 0))
    beyond = list(range(known, width)) if 0 < known < width else None
    model.config.use_cache = True
    model.generation_config = GenerationConfig(
        **problem.writing(), do_sample=False, use_cache=True, suppress_tokens=beyond
    )
