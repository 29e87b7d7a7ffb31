"""Texts of every kind of model: padding that nobody sees, vocabularies that fit, heads of language models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from teachers.tiny_models import PART, VOCABULARY

from limbeck.errors import ConfigError, DataError, UnknownNameError, UnreadableRowsError
from limbeck.students.text import load_tokenizer
from limbeck.teachers import HFTeacher

TEXTS = ["a red dog runs on the grass", "the cat", "a bird and a tree"]
N = len(VOCABULARY)
SMALL = {
    "vocab_size": N,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
T5 = {"vocab_size": N, "d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 24, "d_kv": 8}
SETTINGS: dict[str, dict[str, Any]] = {
    "GPT2": {"vocab_size": N, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32},
    "Llama": SMALL,
    "Mistral": {**SMALL, "num_key_value_heads": 2},
    "Mamba": {"vocab_size": N, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "Bert": {**PART, "vocab_size": N, "max_position_embeddings": 20},
    "Roberta": {**PART, "vocab_size": N, "max_position_embeddings": 20, "pad_token_id": 0},
    "FNet": {**SMALL, "max_position_embeddings": 20},
    "XLNet": {"vocab_size": N, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24},
    "T5": T5,
}


def model(
    folder: Path, kind: str, head: str = "Model", *, n: int = N, texts: dict[str, Any] | None = None
) -> Path:
    """A tiny model of a kind, with a tokenizer that adds no tokens of its own.

    Args:
        n: size of the model's vocabulary.    texts: settings of the tokenizer; default one without padding token.
    """
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    config = getattr(transformers, f"{kind}Config")(**{**SETTINGS[kind], "vocab_size": n}, num_labels=3)
    torch.manual_seed(0)
    getattr(transformers, kind + head)(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    given = {"eos_token": "[SEP]"} if texts is None else texts
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", **given
    ).save_pretrained(folder)
    return folder


def check_alone_as_together(teacher: HFTeacher) -> None:
    together = teacher({"text": TEXTS})
    for i, text in enumerate(TEXTS):
        alone = teacher({"text": [text]})
        torch.testing.assert_close(alone.features[0], together.features[i], rtol=1e-4, atol=2e-6)
        if together.logits is not None:
            torch.testing.assert_close(alone.logits[0], together.logits[i], rtol=1e-4, atol=2e-6)


PADDED = {"pad_token": "[PAD]", "eos_token": "[SEP]"}


@pytest.mark.parametrize("kind", ["GPT2", "Llama", "Mistral", "Mamba", "Bert"])
@pytest.mark.parametrize("pooling", ["mean", "last", "cls", "max"])
def test_a_tokenizer_without_a_padding_token(tmp_path, kind, pooling):
    check_alone_as_together(HFTeacher(model(tmp_path, kind), pooling=pooling))


@pytest.mark.parametrize("kind", ["GPT2", "Llama", "Bert", "Roberta", "XLNet"])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_tokenizer_that_pads_on_the_left(tmp_path, kind, pooling):
    """Positions that count from the beginning of a row would move with the rows beside it."""
    left, right = ({**PADDED, "padding_side": side} for side in ("left", "right"))
    teacher = HFTeacher(model(tmp_path / "left", kind, texts=left), pooling=pooling)
    check_alone_as_together(teacher)
    other = HFTeacher(model(tmp_path / "right", kind, texts=right), pooling=pooling)
    torch.testing.assert_close(teacher({"text": TEXTS}).features, other({"text": TEXTS}).features)


def test_a_tokenizer_that_gives_no_mask(tmp_path):
    check_alone_as_together(
        HFTeacher(model(tmp_path, "Bert", texts={**PADDED, "model_input_names": ["input_ids"]}))
    )


def test_a_model_that_takes_no_mask(tmp_path):
    check_alone_as_together(HFTeacher(model(tmp_path, "FNet", texts=PADDED)))


@pytest.mark.parametrize("kind", ["GPT2", "Llama", "Mistral"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_language_model_that_classifies(tmp_path, kind, side):
    """Its head runs over all tokens, and its checkpoint names no padding token."""
    texts = {"eos_token": "[SEP]", "padding_side": side}
    teacher = HFTeacher(model(tmp_path, kind, "ForSequenceClassification", texts=texts))
    before = teacher.fingerprint()
    check_alone_as_together(teacher)
    output = teacher({"text": TEXTS})
    assert (output.logits.shape, output.features.shape) == ((3, 3), (3, 16))
    weight, bias = teacher.head
    torch.testing.assert_close(output.features @ weight.T + (0 if bias is None else bias), output.logits)
    assert teacher.fingerprint() == before


def test_the_encoder_of_t5_alone(tmp_path):
    """What is saved without its decoder is loaded without one."""
    teacher = HFTeacher(model(tmp_path / "alone", "T5", "EncoderModel", texts=PADDED))
    check_alone_as_together(teacher)
    whole = HFTeacher(model(tmp_path / "whole", "T5", texts=PADDED))
    assert type(whole.model).__name__ == "T5Stack"
    check_alone_as_together(whole)


def test_nothing_to_pad_with(tmp_path):
    teacher = HFTeacher(model(tmp_path, "GPT2", texts={}))
    with pytest.raises(
        ConfigError, match="neither a padding nor an end-of-text token, so texts cannot be batched"
    ):
        teacher({"text": TEXTS})


@pytest.mark.parametrize("kind", ["Bert", "GPT2", "Llama"])
def test_a_tokenizer_of_another_model(tmp_path, kind):
    teacher = HFTeacher(model(tmp_path, kind, n=10))
    with pytest.raises(
        DataError, match=rf"has {N} tokens, its model 10; put the model's own tokenizer beside it"
    ):
        teacher({"text": TEXTS})


def test_a_text_of_no_tokens(tmp_path):
    teacher = HFTeacher(model(tmp_path, "GPT2"), empty="keep")
    with pytest.raises(
        UnreadableRowsError, match=r"1 text of which the tokenizer of .* makes no token"
    ) as caught:
        teacher({"text": ["a dog", ""]})
    assert caught.value.rows == (1,)


def test_both_sides_load_one_tokenizer(tmp_path):
    folder = model(tmp_path, "GPT2")
    teacher = HFTeacher(folder)
    teacher({"text": TEXTS})
    mine, other = teacher._preprocess._load("text"), load_tokenizer(folder)
    assert (
        (mine.pad_token, mine.get_vocab())
        == (other.pad_token, other.get_vocab())
        == ("[SEP]", other.get_vocab())
    )
    assert mine.model_max_length == 32


def test_a_setting_that_does_not_exist(tiny):
    with pytest.raises(UnknownNameError, match="HFTeacher has no setting 'poling'; did you mean 'pooling'"):
        HFTeacher(tiny["bert"], poling="mean")  # type: ignore[call-arg]
    with pytest.raises(UnknownNameError, match="no setting 'batchsize'; did you mean 'batch_size'"):
        HFTeacher(tiny["bert"], batchsize=3)  # type: ignore[call-arg]
