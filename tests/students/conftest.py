"""Tiny text models with their tokenizer, made offline: one folder for each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}
WORDS = (
    "a",
    "the",
    "cat",
    "dog",
    "bird",
    "sees",
    "big",
    "red",
    "blue",
    "river",
    "tree",
    "sky",
    "near",
    "far",
)


def tokenizer(*, special: tuple[str, ...] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]"), pairs: bool = True):
    """A tokenizer of whole words; the first special token pads, with ``pairs`` as BERT's."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*special, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    roles = {"[PAD]": "pad_token", "[UNK]": "unk_token", "[CLS]": "cls_token", "[SEP]": "sep_token"}
    roles["</s>"] = "eos_token"
    if pairs:
        words.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, **{roles[token]: token for token in special if token in roles}
    )


def bert():
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=40, intermediate_size=32, pad_token_id=0, **SIZES)
    return BertModel(config), tokenizer()


def deberta():
    from transformers import DebertaV2Config, DebertaV2Model

    config = DebertaV2Config(
        vocab_size=40,
        intermediate_size=32,
        pad_token_id=0,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        **SIZES,
    )
    return DebertaV2Model(config), tokenizer()


def opt():
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(vocab_size=40, ffn_dim=32, word_embed_proj_dim=16, pad_token_id=0, **SIZES)
    return OPTForCausalLM(config), tokenizer()


def llama():
    """As LLaMA is shipped: neither model nor tokenizer has a padding token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=40, intermediate_size=32, pad_token_id=None, bos_token_id=0, eos_token_id=1, **SIZES
    )
    return LlamaForCausalLM(config), tokenizer(special=("[UNK]", "</s>"), pairs=False)


KINDS: dict[str, Callable] = {"bert": bert, "deberta": deberta, "opt": opt, "llama": llama}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Callable[[str], Path]:
    """Kind to a folder with model and tokenizer."""
    pytest.importorskip("transformers")
    import torch

    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            torch.manual_seed(0)
            model, words = KINDS[kind]()
            made[kind] = tmp_path_factory.mktemp(kind)
            model.save_pretrained(made[kind])
            words.save_pretrained(made[kind])
        return made[kind]

    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def make_tokenizer() -> Callable:
    """:func:`tokenizer`, as tests cannot import a conftest."""
    return tokenizer
