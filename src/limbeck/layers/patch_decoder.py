"""Pictures from the tokens of some of their patches, as a masked autoencoder makes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchDecoder(nn.Module):
    """A small transformer that guesses every patch of a picture from the tokens of those that were seen.

    The tokens go through a linear map, a mask token stands where a patch was hidden, fixed sines and cosines of row and
    column are added, and a linear map makes pixels of each token.

    Args:
        width: of the tokens.    patch: numbers in a patch (its pixels times channels).
        grid: rows and columns of patches.
        first: tokens before the patches (a class token), which have no place.
        inner, layers, heads: of the transformer; ``inner`` is divisible by 4 and by ``heads``.

    Source: He et al. (MAE), CVPR 2022, arXiv 2111.06377.
    """

    def __init__(
        self,
        width: int,
        patch: int,
        grid: tuple[int, int],
        *,
        first: int = 1,
        inner: int = 512,
        layers: int = 8,
        heads: int = 16,
    ) -> None:
        super().__init__()
        self.first = first
        self.embed = nn.Linear(width, inner)
        self.hidden = nn.Parameter(0.02 * torch.randn(1, 1, inner))
        self.places: Tensor
        self.register_buffer("places", grid_places(grid, inner), persistent=False)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                inner, heads, 4 * inner, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm, self.to_pixels = nn.LayerNorm(inner), nn.Linear(inner, patch)

    def forward(self, tokens: Tensor, index: Tensor) -> Tensor:
        """Every patch ``[n, L, patch]``, from tokens ``[n, first + k, width]`` of the patches ``index [n, k]``."""
        x = self.embed(tokens)
        n, length = len(x), len(self.places)
        where = index[:, :, None].expand(-1, -1, x.shape[2])
        whole = self.hidden.to(x.dtype).expand(n, length, -1).scatter(1, where, x[:, self.first :])
        x = torch.cat([x[:, : self.first], whole + self.places.to(x.dtype)], 1)
        for block in self.blocks:
            x = block(x)
        return self.to_pixels(self.norm(x))[:, self.first :]


def grid_places(grid: tuple[int, int], width: int) -> Tensor:
    """``[rows * columns, width]``: sines and cosines of the row in one half, of the column in the other."""
    quarter = width // 4
    rates = 10000.0 ** -(torch.arange(quarter) / quarter)
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in grid), indexing="ij")
    angles = [place.reshape(-1, 1) * rates for place in (rows, columns)]
    return torch.cat([part for a in angles for part in (a.sin(), a.cos())], 1)
