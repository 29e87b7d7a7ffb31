"""Weak and strong views of grids (spectrograms, images), series and vectors, drawn row by row from keyed
generators.

A row's view depends on its own generator alone, so a view is the same however the batch is cut over
micro-batches and ranks. Only the draws run row by row; the arithmetic runs over the whole batch.

Axis legend: n rows, c channels, h grid rows (frequency bands), w grid columns (time frames).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data.base import Inputs, View
from limbeck.errors import DataError

_N_UNIFORM = 6  # row shift, column shift, and width and start of the row mask and of the column mask


@dataclass(frozen=True)
class GridView:
    """Shifts a grid, masks one run of rows and one of columns, and adds noise.

    Args:
        shift: largest shift in (rows, columns), both ways; what is shifted in repeats the edge.
        mask: largest width of the mask over (rows, columns); masked cells become ``mask_value``.
        noise: standard deviation of the Gaussian noise added last, in units of the input.
        mask_value: 0 is the mean of a standardised input.

    Call: ``view(inputs, generators)``, every tensor ``[n, c, h, w]``, one generator a row; returns tensors of
    the same shape and leaves the given ones as they are.

    Raises: DataError if the number of generators is not n or an input is no grid.
    """

    shift: tuple[int, int] = (0, 0)
    mask: tuple[int, int] = (0, 0)
    noise: float = 0.0
    mask_value: float = 0.0

    def __call__(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Inputs:
        return {name: self._grid(name, x, generators) for name, x in inputs.items()}

    def _grid(self, name: str, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        _check_rows(name, x, generators, dims=4)
        uniform, noise = _draws(x, generators, self.noise > 0)
        x = _shifted(x, _symmetric(uniform[:, 0], self.shift[0]), _symmetric(uniform[:, 1], self.shift[1]))
        n, _, h, w = x.shape
        if self.mask[0]:
            rows = _run(uniform[:, 2], uniform[:, 3], self.mask[0], h).to(x.device)
            x.masked_fill_(rows.view(n, 1, h, 1), self.mask_value)
        if self.mask[1]:
            columns = _run(uniform[:, 4], uniform[:, 5], self.mask[1], w).to(x.device)
            x.masked_fill_(columns.view(n, 1, 1, w), self.mask_value)
        return x if noise is None else x.add_(noise, alpha=self.noise)


@dataclass(frozen=True)
class CropFlipView:
    """Cuts a part out of a picture, scales it to the whole size, and turns it left to right half of the time.

    Args:
        area: least and largest share of the area that is kept.    ratio: narrowest and widest change of its form.
        flip: how often it is turned.    noise: standard deviation of the Gaussian noise added last.

    Call: as :class:`GridView`. A part that would not fit is cut at the edge.
    Source: random resized crop, Szegedy et al., CVPR 2015, with the values that are usual for ImageNet.
    """

    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    noise: float = 0.0

    def __call__(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Inputs:
        return {name: self._grid(name, x, generators) for name, x in inputs.items()}

    def _grid(self, name: str, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        _check_rows(name, x, generators, dims=4)
        uniform, noise = _draws(x, generators, self.noise > 0, n_uniform=5)
        area = self.area[0] + (self.area[1] - self.area[0]) * uniform[:, 0]
        low, high = (math.log(end) for end in self.ratio)
        form = torch.exp((low + (high - low) * uniform[:, 1]) / 2)
        width, height = ((area.sqrt() * f).clamp(max=1) for f in (form, 1 / form))
        turned = torch.where(uniform[:, 4] < self.flip, -1.0, 1.0)
        # Of an axis of -1 to 1: how much of it is kept, and where its middle lies.
        theta = torch.zeros(len(x), 2, 3)
        theta[:, 0, 0], theta[:, 0, 2] = width * turned, (1 - width) * (2 * uniform[:, 2] - 1)
        theta[:, 1, 1], theta[:, 1, 2] = height, (1 - height) * (2 * uniform[:, 3] - 1)
        grid = torch.nn.functional.affine_grid(theta.to(x), list(x.shape), align_corners=False)
        x = torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
        return x if noise is None else x.add_(noise, alpha=self.noise)


@dataclass(frozen=True)
class VectorView:
    """Drops entries of a vector and adds noise: the views of a table or of stored embeddings.

    Args:
        drop: share of the entries set to 0 (the mean of a standardised column), 0 to 1.
        noise: standard deviation of the Gaussian noise added last.

    Call: as :class:`GridView`, with tensors ``[n, d]``.
    """

    drop: float = 0.0
    noise: float = 0.0

    def __call__(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Inputs:
        return {name: self._vector(name, x, generators) for name, x in inputs.items()}

    def _vector(self, name: str, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        _check_rows(name, x, generators, dims=2)
        uniform, noise = _draws(x, generators, self.noise > 0, n_uniform=x.shape[1])
        x = x.masked_fill(uniform.to(x.device) < self.drop, 0.0)
        return x if noise is None else x.add_(noise, alpha=self.noise)


@dataclass(frozen=True)
class SeriesView:
    """Shifts a series in time, masks one run of steps of all channels, and adds noise.

    Args:
        shift, mask: largest shift (both ways; the edge is repeated) and largest mask, as shares of the length.
        noise: standard deviation of the Gaussian noise added last.

    Call: as :class:`GridView`, with tensors ``[n, c, L]``.
    """

    shift: float = 0.0
    mask: float = 0.0
    noise: float = 0.0

    def __call__(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Inputs:
        found = {}
        for name, x in inputs.items():
            _check_rows(name, x, generators, dims=3)
            steps = (round(self.shift * x.shape[2]), round(self.mask * x.shape[2]))
            grid = GridView(shift=(0, steps[0]), mask=(0, steps[1]), noise=self.noise)
            found[name] = grid({name: x.unsqueeze(2)}, generators)[name].squeeze(2)
        return found


def audio_views() -> dict[str, View]:
    """The benchmark's views of a standardised log-mel ``[n, 1, 32, 32]`` (bands, frames)."""
    return {
        "weak": GridView(shift=(1, 3), mask=(3, 3), noise=0.1),
        "strong": GridView(shift=(2, 4), mask=(7, 7), noise=0.3),
    }


def image_views() -> dict[str, View]:
    """Views of standardised images ``[n, c, h, w]``: no flips, since digits and signs have a side."""
    return {
        "weak": GridView(shift=(2, 2), noise=0.1),
        "strong": GridView(shift=(3, 3), mask=(7, 7), noise=0.3),
    }


def vector_views() -> dict[str, View]:
    """Views of standardised vectors ``[n, d]``."""
    return {"weak": VectorView(noise=0.1), "strong": VectorView(drop=0.2, noise=0.3)}


def series_views() -> dict[str, View]:
    """Views of standardised series ``[n, c, L]``."""
    return {
        "weak": SeriesView(shift=0.05, noise=0.1),
        "strong": SeriesView(shift=0.1, mask=0.25, noise=0.3),
    }


@dataclass(frozen=True)
class VideoView:
    """The same shift and masks in every frame of a video, and noise.

    Args:
        grid: of one frame.

    Call: as :class:`GridView`, with tensors ``[n, c, frames, h, w]``.
    """

    grid: GridView

    def __call__(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Inputs:
        for name, x in inputs.items():
            _check_rows(name, x, generators, dims=5)
        flat = self.grid({name: x.flatten(1, 2) for name, x in inputs.items()}, generators)
        return {name: flat[name].view(x.shape) for name, x in inputs.items()}


def video_views() -> dict[str, View]:
    """Views of standardised videos ``[n, c, frames, h, w]``."""
    return {
        "weak": VideoView(GridView(shift=(2, 2), noise=0.1)),
        "strong": VideoView(GridView(shift=(3, 3), mask=(7, 7), noise=0.3)),
    }


def _check_rows(name: str, x: Tensor, generators: Sequence[torch.Generator], dims: int) -> None:
    if len(generators) != len(x):
        raise DataError(f"A view needs one generator a row: {len(x)} rows and {len(generators)} generators.")
    if x.dim() != dims:
        raise DataError(
            f"This view reads inputs of {dims} dimensions, but {name!r} has shape {tuple(x.shape)}."
        )


def _draws(
    x: Tensor, generators: Sequence[torch.Generator], has_noise: bool, n_uniform: int = _N_UNIFORM
) -> tuple[Tensor, Tensor | None]:
    """Uniform draws ``[n, n_uniform]``, and normal ones like ``x`` (None without noise)."""
    uniform = torch.empty(len(generators), n_uniform)
    for row, generator in zip(uniform.unbind(0), generators):
        row.uniform_(generator=generator)
    if not has_noise:
        return uniform, None
    noise = torch.empty(x.shape)
    for row, generator in zip(noise.unbind(0), generators):
        row.normal_(generator=generator)
    return uniform, noise.to(device=x.device, dtype=x.dtype)


def _symmetric(uniform: Tensor, largest: int) -> Tensor:
    """Whole numbers of -largest to largest, each as likely."""
    return (uniform * (2 * largest + 1)).long().clamp_(max=2 * largest) - largest


def _shifted(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A copy of ``[n, c, h, w]``, each item moved down by its ``rows`` and right by its ``columns``."""
    n, c, h, w = x.shape
    from_row = (torch.arange(h) - rows.view(n, 1)).clamp_(0, h - 1)  # [n, h]
    from_column = (torch.arange(w) - columns.view(n, 1)).clamp_(0, w - 1)  # [n, w]
    index = (from_row.view(n, h, 1) * w + from_column.view(n, 1, w)).view(n, 1, h * w)
    return x.reshape(n, c, h * w).gather(2, index.expand(n, c, h * w).to(x.device)).view(n, c, h, w)


def _run(width: Tensor, start: Tensor, largest: int, length: int) -> Tensor:
    """``[n, length]`` bool: one run of 0 to ``largest`` cells a row, anywhere within."""
    widths = (width * (min(largest, length) + 1)).long().clamp_(max=min(largest, length))
    starts = (start * (length - widths + 1)).long().minimum(length - widths)
    cells = torch.arange(length)
    return (cells >= starts.unsqueeze(1)) & (cells < (starts + widths).unsqueeze(1))
