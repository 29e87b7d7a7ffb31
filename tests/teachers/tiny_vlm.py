"""Tiny vision-language models whose tokenizer is that of :mod:`tiny_language`, and their processors, built by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_language
import torch

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{% for part in m.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}<turn>{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer(*more: str) -> Any:
    """The student's, and behind its tokens ``more`` and the one that stands for a picture."""
    made = tiny_language.tokenizer()
    made.add_tokens(list(more))
    made.add_special_tokens({"additional_special_tokens": ["<turn>", "<image>"]})
    return made


def llava(place: Path, *more: str) -> Path:
    """A folder with a LLaVA that sees pictures of 8 x 8 pixels as four tokens."""
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    words = tokenizer(*more)
    size = {"height": 8, "width": 8}
    pictures = CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False)
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "image_size": 8,
            "patch_size": 4,
            "projection_dim": 16,
            **SIZES,
        },
        text_config={"model_type": "llama", "vocab_size": 64, "initializer_range": 0.3, **SIZES},
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    torch.manual_seed(5)
    LlavaForConditionalGeneration(config).save_pretrained(place)
    processor = LlavaProcessor(
        pictures,
        words,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(place)
    return place


def idefics(place: Path) -> Path:
    """A folder with an Idefics3, which cuts larger pictures into parts, so that rows differ in tokens and parts."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
    )

    parts = [f"<row_{i}_col_{j}>" for i in (1, 2) for j in (1, 2)]
    words = tokenizer()
    words.add_tokens(
        ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *parts], special_tokens=True
    )
    config = Idefics3Config(
        vision_config={"image_size": 8, "patch_size": 4, **SIZES},
        text_config={"model_type": "llama", "vocab_size": 64, "initializer_range": 0.3, **SIZES},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    torch.manual_seed(5)
    Idefics3ForConditionalGeneration(config).save_pretrained(place)
    seen = Idefics3ImageProcessor(size={"longest_edge": 16}, max_image_size={"longest_edge": 8})
    Idefics3Processor(seen, words, image_seq_len=1, chat_template=TEMPLATE).save_pretrained(place)
    return place


def pictures(n: int) -> list[Any]:
    """Noise, another for each row, of 8 or 16 pixels a side."""
    from PIL import Image

    draw, found = torch.Generator().manual_seed(1), []
    for i in range(n):
        pixels = torch.randint(0, 255, (8 + 8 * (i % 2), 8, 3), generator=draw, dtype=torch.uint8)
        found.append(Image.fromarray(pixels.numpy()))
    return found
