"""Every kind of model: the right tower, alone or with others the same, and against the library's own reading."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from levels import some_of
from teachers.tiny_models import RATE

from limbeck.errors import ConfigError, DataError
from limbeck.teachers import HFTeacher

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
TEXTS = ["a red dog runs", "the cat", "sound of rain on the big house and grass", "a bird and a tree"]
IMAGES = [
    Image.fromarray(RNG.integers(0, 255, (h, w, 3), dtype=np.uint8)) for h, w in ((8, 8), (16, 12), (12, 16), (9, 12))
]  # fmt: skip


def sounds(rate: int = RATE) -> list[dict[str, object]]:
    rng = np.random.default_rng(1)
    lengths = (2000, 3100, 2000, 4400)
    return [{"array": rng.normal(size=n).astype(np.float32), "sampling_rate": rate} for n in lengths]


def inputs(kinds: str, rate: int = RATE) -> dict[str, list]:
    columns = {"text": TEXTS, "image": IMAGES, "audio": sounds(rate)}
    return {kind: columns[kind] for kind in kinds.split("+")}


SHOWN = [
    ("clip", "text"), ("clip", "image"), ("siglip", "text"), ("siglip", "image"), ("blip", "text"), ("blip", "image"),
    ("blip", "text+image"), ("blip_matcher", "text"), ("blip_matcher", "image"), ("blip_matcher", "text+image"),
    ("clap", "text"), ("clap", "audio"), ("vilt", "text+image"), ("wav2vec2", "audio"), ("wav2vec2_group", "audio"),
    ("whisper", "audio"), ("ast", "audio"), ("vit", "image"), ("bert", "text"), ("roberta_classifier", "text"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kinds"), SHOWN)
def test_a_row_does_not_depend_on_the_rows_beside_it(tiny, name, kinds):
    columns = inputs(kinds, 16000 if name == "ast" else RATE)
    options = {} if name == "roberta_classifier" else {"hidden_layers": (0, 1)}
    teacher = HFTeacher(tiny[name], **options)
    out = teacher(columns)
    assert len(out.features) == 4
    assert out.features.dtype == torch.float32
    assert (out.features[0] - out.features[1]).abs().max() > 1e-4  # and it does depend on its own input
    for i in range(4):
        alone = teacher({kind: rows[i : i + 1] for kind, rows in columns.items()})
        torch.testing.assert_close(alone.features[0], out.features[i], rtol=1e-4, atol=2e-6)
        for layer, states in out.hidden_states.items():
            torch.testing.assert_close(alone.hidden_states[layer][0], states[i], rtol=1e-4, atol=2e-6)
    in_pairs = HFTeacher(tiny[name], batch_size=2, **options)(columns)
    torch.testing.assert_close(in_pairs.features, out.features, rtol=1e-4, atol=2e-6)
    assert set(in_pairs.hidden_states) == ({"layer_0", "layer_1"} if options else set())


@pytest.mark.parametrize(("name", "kinds"), SHOWN[:-1])  # a classifier is read at its head
@pytest.mark.parametrize("pooling", some_of(["mean", "max", "cls", "last", "pooler"], "mean", "last"))
def test_every_pooling_leaves_padding_out(tiny, name, kinds, pooling):
    teacher = HFTeacher(tiny[name], pooling=pooling)
    columns = inputs(kinds, 16000 if name == "ast" else RATE)
    refused = (pooling == "pooler" and name.startswith(("wav2vec2", "whisper"))) or (
        name == "vilt" and pooling == "last"
    )
    if refused:
        with pytest.raises(ConfigError, match=r"has no (pooler|last state); pass pooling="):
            teacher(columns)
        return
    together = teacher(columns).features
    assert together.shape == (4, 16)
    alone = torch.cat(
        [teacher({k: rows[i : i + 1] for k, rows in columns.items()}).features for i in range(4)]
    )
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=2e-6)


@torch.no_grad()
def test_two_towers_give_the_librarys_embedding(tiny):
    from transformers import AutoTokenizer

    for name in ("clip", "blip", "clap"):
        teacher = HFTeacher(tiny[name])
        tokens = AutoTokenizer.from_pretrained(tiny[name])(TEXTS, padding=True, return_tensors="pt")
        named = {key: tokens[key] for key in ("input_ids", "attention_mask")}
        wanted = teacher.model.get_text_features(**named).pooler_output
        torch.testing.assert_close(teacher({"text": TEXTS}).features, wanted)
        own = teacher.model.text_model(**named).pooler_output
        torch.testing.assert_close(HFTeacher(tiny[name], pooling="pooler")({"text": TEXTS}).features, own)


@torch.no_grad()
def test_siglip_reads_full_length_texts_without_a_mask(tiny):
    from transformers import AutoTokenizer

    teacher = HFTeacher(tiny["siglip"])
    tokenizer = AutoTokenizer.from_pretrained(tiny["siglip"])
    ids = tokenizer(TEXTS, padding="max_length", max_length=12, return_tensors="pt")["input_ids"]
    torch.testing.assert_close(
        teacher({"text": TEXTS}).features, teacher.model.get_text_features(ids).pooler_output
    )


@torch.no_grad()
def test_fused_blip_is_the_librarys_multimodal_embedding(tiny):
    teacher = HFTeacher(tiny["blip"])
    ids = torch.tensor([[2, 6, 7, 3], [2, 9, 3, 0]])
    named = {"input_ids": ids, "attention_mask": (ids > 0).long(), "pixel_values": torch.randn(2, 3, 8, 8)}
    torch.testing.assert_close(teacher(named).features, teacher.model.get_multimodal_features(**named))


@torch.no_grad()
def test_a_blip_that_matches_gives_what_its_scores_are_made_of(tiny):
    teacher = HFTeacher(tiny["blip_matcher"])
    ids = torch.tensor([[2, 6, 7, 3], [2, 9, 8, 3]])
    named = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(2, 3, 8, 8),
    }
    model = teacher.model
    torch.testing.assert_close(model.itm_head(teacher(named).features), model(**named).itm_score)
    text = teacher({name: named[name] for name in ("input_ids", "attention_mask")}).features
    image = teacher({"pixel_values": named["pixel_values"]}).features
    torch.testing.assert_close(image @ text.T, model(**named, use_itm_head=False).itm_score)


@torch.no_grad()
def test_fused_vilt_is_its_pooler_and_masks_both_parts(tiny):
    from transformers import AutoTokenizer

    pixels = torch.randn(2, 3, 8, 8)
    columns = {"text": TEXTS[:2], "photo": pixels}
    teacher = HFTeacher(tiny["vilt"])
    tokens = AutoTokenizer.from_pretrained(tiny["vilt"])(TEXTS[:2], padding=True, return_tensors="pt")
    output = teacher.model(**tokens, pixel_values=pixels)
    torch.testing.assert_close(teacher(columns).features, output.pooler_output)
    kept = torch.cat([tokens["attention_mask"], torch.ones(2, 5)], dim=1).unsqueeze(-1)
    mean = (output.last_hidden_state * kept).sum(1) / kept.sum(1)
    torch.testing.assert_close(HFTeacher(tiny["vilt"], pooling="mean")(columns).features, mean)


def test_whisper_is_its_encoder_alone(tiny):
    teacher = HFTeacher(tiny["whisper"])
    assert type(teacher.model).__name__ == "WhisperEncoder"
    assert not any("decoder" in name for name, _ in teacher.model.named_modules())
    wave = {"array": np.ones(800, np.float32), "sampling_rate": RATE}  # 0.1 of 1 second: 10 of 100 frames
    seen = []
    teacher.model.register_forward_hook(lambda _m, _i, out: seen.append(out.last_hidden_state))
    torch.testing.assert_close(teacher({"audio": [wave]}).features, seen[0][:, :5].mean(1))


def test_layers_by_number_and_by_path(tiny):
    path = "vision_model.encoder.layers.1"
    teacher = HFTeacher(tiny["clip"], layer=2, hidden_layers=[path, 2], pooling="mean")
    out = teacher({"image": IMAGES})
    assert set(out.hidden_states) == {path, "layer_2"}
    torch.testing.assert_close(out.hidden_states[path], out.features)
    torch.testing.assert_close(out.hidden_states["layer_2"], out.features)
    with pytest.raises(ConfigError, match="does not run for the text tower"):
        teacher({"text": TEXTS})
    # the image tower has three layers, the text tower two
    with pytest.raises(ValueError, match="hidden layers 0 to 2"):
        HFTeacher(tiny["clip"], layer=3)({"text": TEXTS})


def test_a_named_tower_leaves_the_other_columns_alone(tiny):
    columns = {"text": TEXTS, "image": IMAGES}
    for kind in ("text", "image"):
        named = HFTeacher(tiny["clip"], tower=kind)
        torch.testing.assert_close(named(columns).features, named({kind: columns[kind]}).features)
    with pytest.raises(
        DataError, match=r"reads text or image, and the columns show image and text; pass tower="
    ):
        HFTeacher(tiny["clip"])(columns)
    with pytest.raises(DataError, match="None of the columns 'text' holds what the image tower reads"):
        HFTeacher(tiny["clip"], tower="image")({"text": TEXTS})
    with pytest.raises(ConfigError, match="has no fused tower; it has text and image"):
        HFTeacher(tiny["clip"], tower="fused")
    with pytest.raises(DataError, match="reads text and image together, and the columns show text"):
        HFTeacher(tiny["vilt"])({"text": TEXTS})


def test_tensors_of_both_towers(tiny):
    ids = torch.tensor([[2, 6, 24]])
    named = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(1, 3, 8, 8),
    }
    image = HFTeacher(tiny["clip"], tower="image")
    torch.testing.assert_close(image(named).features, image({"pixel_values": named["pixel_values"]}).features)
    assert HFTeacher(tiny["clap"])({"mel": torch.randn(2, 1, 51, 8)}).features.shape == (2, 12)


@pytest.mark.parametrize("name", ["clip", "wav2vec2", "bert", "vit"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_weights(tiny, name, dtype):
    kinds = {"clip": "image", "vit": "image", "bert": "text", "wav2vec2": "audio"}[name]
    full, half = (HFTeacher(tiny[name], dtype=d) for d in ("float32", dtype))
    assert half.model.dtype == getattr(torch, dtype)
    found = half(inputs(kinds)).features
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, full(inputs(kinds)).features, rtol=0.1, atol=0.1)
    assert half.fingerprint()["weights"] != full.fingerprint()["weights"]


def test_clap_with_fusion_is_the_same_each_time(tmp_path):
    from teachers.tiny_models import clap

    torch.manual_seed(0)
    teacher = HFTeacher(clap(tmp_path, fusion=True))
    rng = np.random.default_rng(2)
    waves = [{"array": rng.normal(size=n).astype(np.float32), "sampling_rate": RATE} for n in (4000, 12000)]
    np.random.seed(5)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = teacher({"audio": waves}).features
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    np.random.seed(6)  # noqa: NPY002
    torch.testing.assert_close(teacher({"audio": waves[::-1]}).features.flip(0), first)
