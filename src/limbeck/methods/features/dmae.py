"""DMAE: student and teacher see the same few patches; the student guesses the rest, and matches an inner layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.functional import hidden_patch_mse, normalised_gap, patches_of
from limbeck.layers.patch_decoder import PatchDecoder
from limbeck.methods.base import Declared, Layers, Settings, Shapes, StepBatch, Weight, setting, weight
from limbeck.methods.declared import pairs_of
from limbeck.methods.layer_pairs import OverLayerPair
from limbeck.students.changes.visible import Visible


@dataclass
class DMAEConfig(Settings):
    layer: str = setting("layer:75%", "STUDENT=TEACHER, whose states are matched: a module path or layer:75%")
    tokens: str = setting(
        "vit.embeddings", "STUDENT=TEACHER, the modules that put out patches with their positions"
    )
    last: str = setting("vit.layernorm", "of the student: the module whose tokens the decoder reads")
    first: int = setting(1, "tokens before the patches (a class token), which are always seen", low=0)
    visible: float = setting(0.25, "share of the patches that both sides see", above=0, below=1)
    standardise: bool = setting(True, "the pixels to be guessed are those of a patch at mean 0 and spread 1")
    decoder_width: int = setting(512, "of the decoder, divisible by 4 and by its heads", low=4)
    decoder_layers: int = setting(8, "of the decoder", low=1)
    decoder_heads: int = setting(16, "of the decoder", low=1)
    weight_supervised: Weight = weight(1.0, "of the labels; 0: the student sees the visible patches alone")
    weight_match: Weight = weight(1.0, "of the states of the layer")
    weight_reconstruction: Weight = weight(1.0, "of the pixels of the hidden patches")


class DMAE(OverLayerPair):
    r"""Guess the hidden patches of a picture, and match the teacher's states of those that are seen.

    .. math:: L = w_s L_{CE} + \frac1p \sum_{i\,\text{paired}} w_r \frac1{|H_i|} \sum_{l \in H_i}
        \frac1k \|\hat x_l - x_l\|^2 + w_m \frac1{(1 + |V_i|) D} \sum_{l \in V_i}
        \| u_s^l - u_t^l \|_1

    with V the patches that are seen (and the class token), H the others, and u_s, u_t the states of the layer at
    length 1, the student's after a map of two layers with a GELU between. The teacher is live and is run up to its
    layer alone, on the visible patches alone. Decoder and map are left behind when the student is exported. With
    ``weight_supervised: 0``, the authors' training, which is followed by a tuning on labels, the student is never shown
    a whole picture. Both sides must be vision transformers of one grid of patches that see the same thing
    (``view: same``), or pairs of pictures that show the same thing at the same place.

    Paper: Bai et al., CVPR 2023, arXiv 2208.12256, as the authors' code computes it. Deviation: labels may be learned
    in the same training.
    """

    problems = {"classification", "multilabel", "regression"}
    units = {"supervised": "labelled", "match": "pair", "reconstruction": "pair"}
    row = 78
    Config = DMAEConfig

    @classmethod
    def declared(cls, config: DMAEConfig) -> Declared:
        plain = super().declared(config).with_(teachers="asked")
        of_pair = plain.layers
        layers = Layers(tuple(dict.fromkeys((*of_pair.student, config.last))), of_pair.teachers)
        if config.weight_supervised != 0:
            return plain.with_(layers=layers)
        units = {term: unit for term, unit in cls.units.items() if term != "supervised"}
        return plain.with_(layers=layers, units=units, student="asked")

    def __init__(self, config: DMAEConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        ((self.tokens_s, self.tokens_t),) = pairs_of([config.tokens])
        ours, theirs = shapes.student.hidden[self.ours], shapes.teacher.hidden[self.theirs]
        if len(ours) != 2 or len(theirs) != 2 or ours[0] != theirs[0] or ours[0] <= config.first:
            raise ConfigError(
                f"The layer {self.ours!r} of the student gives {list(ours)} a row and {self.theirs!r} of the teacher "
                f"{list(theirs)}; both must give [{config.first} + patches, width], as many on both sides."
            )
        if config.decoder_width % 4 or config.decoder_width % config.decoder_heads:
            raise ConfigError(
                f"decoder_width={config.decoder_width} must be divisible by 4 and by decoder_heads="
                f"{config.decoder_heads}."
            )
        self.column, channels, self.side, grid = _picture(shapes, ours[0] - config.first)
        self.project = nn.Sequential(
            nn.Linear(ours[1], theirs[1]), nn.GELU(), nn.Linear(theirs[1], theirs[1])
        )
        self.decoder = PatchDecoder(
            shapes.student.hidden[config.last][-1],
            channels * self.side**2,
            grid,
            first=config.first,
            inner=config.decoder_width,
            layers=config.decoder_layers,
            heads=config.decoder_heads,
        )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        (name,) = b.teachers
        rows, said = b.teacher.paired()
        ours = {column: value[rows] for column, value in b.inputs.items()}
        index, hidden = self._masked(b, len(rows), ours[self.column].device)
        first = self.config.first
        seen = b.states("student", ours, Visible(self.tokens_s, index, first))
        taught = b.states(name, said.inputs or ours, Visible(self.tokens_t, index, first))[self.theirs]
        match = normalised_gap(
            self.project(seen[self.ours]).flatten(0, 1),
            taught.flatten(0, 1),
            variant="torchdistill",
            reduction="sum",
        )
        guess = self.decoder(seen[self.config.last], index)
        terms = {
            "match": match / max(taught.shape[1], 1),
            "reconstruction": hidden_patch_mse(
                guess,
                patches_of(ours[self.column], self.side),
                hidden,
                standardise=self.config.standardise,
                reduction="sum",
            ),
        }
        return terms | ({"supervised": b.label_loss()} if "supervised" in self.plan.units else {})

    def _masked(self, b: StepBatch, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Which patches are seen, ``[n, k]``, and which are not, ``[n, L]``."""
        length = len(self.decoder.places)
        order = torch.rand(n, length, generator=b.generator).argsort(1)
        seen = order[:, : max(1, int(length * self.config.visible))]
        hidden = torch.ones(n, length).scatter(1, seen, 0.0)
        return seen.to(device), hidden.to(device)


def _picture(shapes: Shapes, n_patches: int) -> tuple[str, int, int, tuple[int, int]]:
    """The input that is a picture, its channels, the side of a patch, and the grid.

    Raises: ConfigError where there is no picture, or where so many square patches do not fill it.
    """
    pictures = {name: shape for name, shape in shapes.student.inputs.items() if len(shape) == 3}
    if len(pictures) != 1:
        raise ConfigError(
            f"The student reads {dict(shapes.student.inputs)}, and one picture [channels, height, width] is wanted."
        )
    ((column, (channels, height, width)),) = pictures.items()
    side = math.isqrt(height * width // n_patches)
    if side * side * n_patches != height * width or height % side or width % side:
        raise ConfigError(
            f"{n_patches} square patches do not fill pictures of {height} x {width}; set first to the number of tokens "
            "before the patches, or change the size of the pictures or of the patches."
        )
    return column, channels, side, (height // side, width // side)
