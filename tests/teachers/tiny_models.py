"""Tiny checkpoints with random weights, tokenizers and processors, made and saved offline.

Each function writes a whole model folder and returns it; ``TINY`` names them all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

PART: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
PART |= {"initializer_range": 0.2}  # BLIP's own default makes all images alike
WORDS = [
    "a", "the", "red", "blue", "small", "big", "dog", "cat", "bird", "house", "tree", "sound", "of", "rain", "music",
    "on", "grass", "runs", "sleeps", "and",
]  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = SPECIAL + WORDS
MAX_TOKENS = 12
RATE = 8000
PIXELS = 8


def save_tokenizer(folder: Path, *, eos_is_last: bool = False, **options: Any) -> None:
    """Words to numbers, with a first and a last token around each text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = VOCABULARY
    if eos_is_last:  # CLIP pools where the largest number is
        names = [*SPECIAL[:3], *SPECIAL[4:], *WORDS, "[SEP]"]
    numbers = {name: i for i, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        **options,
    ).save_pretrained(folder)


def save_images(folder: Path, kind: str, **options: Any) -> None:
    """The image processor of a kind of model, in its PIL form."""
    import importlib

    name = {"clip": "CLIP", "siglip": "Siglip", "blip": "Blip", "vilt": "Vilt", "vit": "ViT"}[kind]
    module = importlib.import_module(f"transformers.models.{kind}.image_processing_pil_{kind}")
    size = {"shortest_edge": PIXELS} if kind in ("clip", "vilt") else {"height": PIXELS, "width": PIXELS}
    settings = {"size": size, **options}
    if kind == "clip":
        settings["crop_size"] = {"height": PIXELS, "width": PIXELS}
    getattr(module, f"{name}ImageProcessorPil")(**settings).save_pretrained(folder)


def clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPModel

    last = len(VOCABULARY) - 1
    text = {
        **PART,
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": MAX_TOKENS,
        "eos_token_id": last,
    }
    config = CLIPConfig(
        text_config={**text, "bos_token_id": 2, "pad_token_id": 0},
        vision_config={**PART, "num_hidden_layers": 3, "image_size": PIXELS, "patch_size": 4},
        projection_dim=12,
    )
    CLIPModel(config).save_pretrained(folder)
    save_tokenizer(folder, eos_is_last=True)
    save_images(folder, "clip")
    return folder


def siglip(folder: Path) -> Path:
    from transformers import SiglipConfig, SiglipModel

    text = {
        **PART,
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": MAX_TOKENS,
        "projection_size": 16,
    }
    vision = {**PART, "image_size": PIXELS, "patch_size": 4}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    save_tokenizer(folder)
    save_images(folder, "siglip")
    return folder


def _blip_config() -> Any:
    from transformers import BlipConfig

    text = {**PART, "vocab_size": len(VOCABULARY), "max_position_embeddings": MAX_TOKENS}
    text |= {
        "encoder_hidden_size": 16,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    vision = {**PART, "image_size": PIXELS, "patch_size": 4}
    return BlipConfig(text_config=text, vision_config=vision, projection_dim=12, image_text_hidden_size=10)


def blip(folder: Path) -> Path:
    from transformers import BlipModel

    BlipModel(_blip_config()).save_pretrained(folder)
    save_tokenizer(folder)
    save_images(folder, "blip")
    return folder


def blip_matcher(folder: Path) -> Path:
    from transformers import BlipForImageTextRetrieval

    BlipForImageTextRetrieval(_blip_config()).save_pretrained(folder)
    save_tokenizer(folder)
    save_images(folder, "blip")
    return folder


def clap(folder: Path, *, fusion: bool = False) -> Path:
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    text = {
        **PART,
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": MAX_TOKENS + 1,
        "pad_token_id": 0,
    }
    mels = 64 if fusion else 8  # the number is written into the extractor's fusion
    audio = {
        "spec_size": 4 * mels, "num_mel_bins": mels, "patch_size": 4, "patch_stride": [4, 4], "window_size": 2,
        "patch_embeds_hidden_size": 8, "hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2],
        "num_hidden_layers": 2, "enable_fusion": fusion,
    }  # fmt: skip
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=12)).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=mels, sampling_rate=RATE, hop_length=160, max_length_s=1, fft_window_size=512,
        frequency_max=4000, truncation="fusion" if fusion else "rand_trunc", padding="repeatpad",
    ).save_pretrained(folder)  # fmt: skip
    save_tokenizer(folder)
    return folder


def vilt(folder: Path) -> Path:
    from transformers import ViltConfig, ViltModel

    config = ViltConfig(
        **PART,
        vocab_size=len(VOCABULARY),
        max_position_embeddings=MAX_TOKENS,
        image_size=PIXELS,
        patch_size=4,
    )
    ViltModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    save_images(folder, "vilt", size_divisor=4)
    return folder


def wav2vec2(folder: Path, *, norm: str = "layer") -> Path:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    config = Wav2Vec2Config(
        **PART, conv_dim=(8, 8), conv_stride=(4, 4), conv_kernel=(8, 8), num_feat_extract_layers=2,
        feat_extract_norm=norm, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, vocab_size=8,
    )  # fmt: skip
    Wav2Vec2Model(config).save_pretrained(folder)
    with_mask = norm == "layer"
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=with_mask)
    extractor.save_pretrained(folder)
    return folder


def wav2vec2_group(folder: Path) -> Path:
    return wav2vec2(folder, norm="group")


def whisper(folder: Path) -> Path:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, num_mel_bins=8, max_source_positions=50, max_target_positions=8,
        vocab_size=20, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(
        feature_size=8, sampling_rate=RATE, hop_length=80, chunk_length=1, n_fft=200
    ).save_pretrained(folder)
    return folder


def ast(folder: Path) -> Path:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    config = ASTConfig(
        **PART, patch_size=4, frequency_stride=4, time_stride=4, max_length=32, num_mel_bins=16
    )
    ASTModel(config).save_pretrained(folder)
    ASTFeatureExtractor(sampling_rate=16000, num_mel_bins=16, max_length=32).save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig(**PART, image_size=PIXELS, patch_size=4)).save_pretrained(folder)
    save_images(folder, "vit")
    return folder


def bert(folder: Path) -> Path:
    from transformers import BertConfig, BertModel

    config = BertConfig(**PART, vocab_size=len(VOCABULARY), max_position_embeddings=MAX_TOKENS)
    BertModel(config).save_pretrained(folder)
    save_tokenizer(folder, model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    return folder


def roberta_classifier(folder: Path) -> Path:
    """Two positions more than it reads, as all of its kind; classes with names."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    names = {0: "bad", 1: "fair", 2: "good"}
    config = RobertaConfig(
        **PART, vocab_size=len(VOCABULARY), max_position_embeddings=MAX_TOKENS + 1, pad_token_id=0,
        id2label=names, label2id={name: i for i, name in names.items()},
    )  # fmt: skip
    RobertaForSequenceClassification(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


TINY: dict[str, Callable[[Path], Path]] = {
    make.__name__: make
    for make in (
        clip, siglip, blip, blip_matcher, clap, vilt, wav2vec2, wav2vec2_group, whisper, ast, vit, bert,
        roberta_classifier,
    )
}  # fmt: skip


class TinyModels:
    """Model folders by name, each made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __getitem__(self, name: str) -> Path:
        folder = self.root / name
        if not folder.is_dir():
            torch.manual_seed(0)
            with torch.no_grad():
                TINY[name](folder)
        return folder
