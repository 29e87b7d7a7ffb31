"""What a language model makes of its head's products, as its config has it and its logits show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.functional.response.vocabulary_head import LogitForm

CAPS = ("final_logit_softcapping", "logits_soft_cap")  # Gemma; RecurrentGemma
# Cohere; Granite, which divides by it, and HyperCLOVA X, which multiplies; Falcon-H1
SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
ROUNDINGS = 16  # of the type in which they come, by which logits of the right form may differ


def logit_form(model: nn.Module, products: Tensor, logits: Tensor) -> LogitForm | None:
    """The form that makes ``logits [..., V]`` of the head's ``products [..., V]``; None where none of those that the
    config names does, whatever it is called there: what is named is tried, and believed only where it is seen."""
    if products.shape != logits.shape or not products.numel():
        return None
    if products.data_ptr() == logits.data_ptr():  # perhaps changed in place, and so lost
        return LogitForm() if logits.is_inference() or logits._version == 0 else None
    if products.dtype == logits.dtype and torch.equal(products, logits):
        return LogitForm()
    bound = _bound(products, logits)
    off = {form: gap for form in _named(model) if (gap := _gap(form, products, logits)) <= bound}
    if not off:
        return None
    # a scale and its inverse may both be near, in half precision; a cap that shows only in larger logits goes first
    closest = min(off, key=lambda form: off[form])
    return next(form for form in off if form.scale == closest.scale)


def _named(model: nn.Module) -> Iterator[LogitForm]:
    """The forms that numbers of the config may mean."""
    config: Any = getattr(model, "config", None)
    told = config.get_text_config() if hasattr(config, "get_text_config") else config
    caps, scales = (
        [v for name in names if (v := _positive(told, name)) is not None] for names in (CAPS, SCALES)
    )
    for scale in (*scales, *(1 / scale for scale in scales), 1.0):
        for cap in (*caps, None):
            if scale != 1 or cap is not None:
                yield LogitForm(scale, cap)


def _positive(config: Any, name: str) -> float | None:
    value = getattr(config, name, None)
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


@torch.no_grad()
def _gap(form: LogitForm, products: Tensor, logits: Tensor) -> float:
    """The largest difference of the logits from what the form makes."""
    widest = torch.float32 if products.device.type == "mps" else torch.float64
    return float((form.of(products.to(widest)) - logits.to(widest)).abs().max())


def _bound(products: Tensor, logits: Tensor) -> float:
    roughest = max(torch.finfo(x.dtype).eps for x in (products, logits))
    return ROUNDINGS * roughest * float(logits.detach().abs().max())
