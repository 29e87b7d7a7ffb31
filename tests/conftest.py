"""Shared fixtures: where the real data sets are, and one thread so that numbers repeat."""

from __future__ import annotations

import gc
import os
import random
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from limbeck.banks.bank import Bank

# Timings never decide a test.
# The same examples in every run; `--hypothesis-profile random` hunts for new ones.
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.register_profile("limbeck", deadline=None, derandomize=True)
hypothesis.settings.load_profile("limbeck")


def pytest_collection_finish() -> None:
    """Each run of the trainer collects garbage and walks all modules and tests for it. They stay: leave them out."""
    gc.collect()
    gc.freeze()


def data_folder() -> Path | None:
    """``LIMBECK_DATA``, else ``../shared/data`` beside the checkout, else None."""
    named = os.environ.get("LIMBECK_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets (``mnist``, ``fsdd``, ...)."""
    folder = data_folder()
    if folder is None:
        pytest.skip("the real data sets are not here; set LIMBECK_DATA to their folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Every test starts from the same random numbers, in whatever order and process it runs."""
    import torch

    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def word_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with a tokenizer of whole words: animals and colours that see each other."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    known = (*special, "cat", "dog", "bird", "red", "blue", "big", "the", "sees", "a")
    words = {word: i for i, word in enumerate(known)}
    tokens = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", words["[CLS]"]), ("[SEP]", words["[SEP]"])],
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=16, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    folder = tmp_path_factory.mktemp("bert")
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokens, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The toy task."""
    import toy

    return toy


@pytest.fixture(scope="session")
def bank(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """The bank of its teacher."""
    return toy.bank(tmp_path_factory.mktemp("bank") / "bank")
