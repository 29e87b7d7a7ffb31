"""Overhaul of feature distillation: responses before the ReLU, of which only what passes it is to be learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.functional import partial_squares
from limbeck.layers import MapNorm, gather_with_grad
from limbeck.methods.base import (
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.features.maps import channels_of, on_one_grid
from limbeck.methods.layer_pairs import OverLayerPairs


@dataclass
class OFDConfig(Settings):
    layers: list[str] = setting(
        ["layer:50%=layer:50%"],
        "pairs of layers before an activation, STUDENT=TEACHER: a module path, layer:4, layer:-1 or layer:50%",
    )
    weight_supervised: Weight = weight(1.0)
    weight_match: Weight = weight(
        0.001, "of the squares, a sum over channels and positions; over layers, each half of the next"
    )


class OFD(OverLayerPairs):
    r"""Reproduce the teacher's maps before their activation, except how far below 0 they lie.

    .. math:: L = w_s L_{CE} + w_m \sum_l 2^{l - |P|} \frac1p \sum_{i\,\text{paired}}
        d_p\big(r_l(h_s^l(i)), \max(h_t^l(i), m_l)\big)

    with d the partial squares (see :func:`limbeck.functional.partial_squares`), r a convolution of 1 x 1 with batch
    normalisation, which is not exported, and the margin m the mean of the teacher's responses below 0 in each
    channel, as far as the run has seen them. The deepest layer comes last. Grids of two sizes are pooled to the
    smaller.

    Paper: Heo et al., ICCV 2019, arXiv 1904.01866, equations 1 to 4. Deviation: margins from responses, which a bank
    shows, and not from the statistics of a batch normalisation, which it does not.
    """

    units = {"supervised": "labelled", "match": "pair"}
    Config = OFDConfig

    def __init__(self, config: OFDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        channels = channels_of(self.pairs, shapes)
        self.connect = nn.ModuleList(
            nn.Sequential(nn.Conv2d(s, t, 1, bias=False), MapNorm(t)) for s, t in channels
        )
        for i, (_, t) in enumerate(channels):
            self.register_buffer(f"below_{i}", torch.zeros(2, t))  # sum and number of responses below 0

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        total = b.student.logits.new_zeros((), dtype=torch.float32)
        for i, (s, t) in enumerate(self.pairs):
            ours, theirs = on_one_grid(b.student.hidden_states[s][rows], said["hidden_states"][t].detach())
            margin = self._margin(i, theirs)
            gap = partial_squares(self.connect[i](ours), theirs, margin, reduction="sum")
            total = total + 2.0 ** (i + 1 - len(self.pairs)) * gap
        return {"supervised": b.label_loss(), "match": total}

    @torch.no_grad()
    def _margin(self, layer: int, theirs: Tensor) -> Tensor:
        """Mean of the responses below 0 in each channel, over all that was seen; 0 where there was none."""
        seen: Tensor = getattr(self, f"below_{layer}")
        low = theirs.float().clamp(max=0).transpose(0, 1).flatten(1)
        new = torch.stack([low.sum(1), (low < 0).sum(1).to(low.dtype)])
        seen += gather_with_grad(new[None]).sum(0)
        return seen[0] / seen[1].clamp(min=1)
