"""Reference encoders take their sizes from the data: channels of pictures, sounds and series, columns of a table."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.students.names import check_elsewhere
from limbeck.students.specs import ENCODERS

if TYPE_CHECKING:
    from limbeck.data.base import Examples

# Setting of an encoder to the axes of the inputs that it is for, and what these are.
_SIZES = {
    "n_columns": (2, "rows of numbers", "columns"),
    "in_channels": (4, "pictures or sounds", "channels"),
}
_AXES = {"series_encoder": (3, "series", "channels"), "video_encoder": (5, "videos", "channels")}
JOINED = "joined_encoder"
_ONE_INPUT = (
    "small_conv_net",
    "image_encoder",
    "audio_encoder",
    "table_encoder",
    "series_encoder",
    "video_encoder",
)
_ALSO = {
    2: "table_encoder",
    3: "series_encoder",
    5: "video_encoder",
    4: "small_conv_net, image_encoder or audio_encoder",
}


def sized_config(model: str, config: Mapping[str, Any], rows: Examples) -> dict[str, Any]:
    """The settings of a model, with the sizes that a reference encoder has by its data.

    Args:
        model: as in a recipe; only a reference encoder has such sizes.    rows: what it is to read.

    Raises: ConfigError, one sentence, for an encoder that does not read such rows, for a size that is not theirs, and
        for a setting that is said elsewhere.
    """
    check_elsewhere(model, config)
    if model not in ENCODERS or not len(rows):
        return dict(config)
    inputs = [value for value in rows.rows([0]).values() if isinstance(value, Tensor)]
    if model == JOINED:
        return _joined(config, rows)
    if len(rows.columns) > 1 and model in _ONE_INPUT:
        raise ConfigError(
            f"The model {model!r} reads one input, and the rows have {', '.join(rows.columns)}; take {JOINED}."
        )
    known = [name for name in inspect.signature(ENCODERS[model]).parameters if name in _SIZES]
    if len(inputs) != 1 or not known:
        return dict(config)
    setting, (x,) = known[0], inputs
    axes, reads, what = _AXES.get(model, _SIZES[setting])
    if x.dim() != axes:
        other = _ALSO.get(x.dim())
        raise ConfigError(
            f"The model {model!r} reads {reads}, and the rows have the shape {list(x.shape[1:])}"
            + (f"; take {other}." if other else "; take another model.")
        )
    size = x.shape[1]
    if config.get(setting, size) != size:
        raise ConfigError(
            f"The model {model!r} was given {setting}={config[setting]}, and the rows have {size} {what}; leave "
            f"{setting} out, or change the data."
        )
    found = {**config, setting: size}
    if "size" in inspect.signature(ENCODERS[model]).parameters:  # of a network that reads one size alone
        own = list(x.shape[2:])
        if list(config.get("size", own)) != own:
            raise ConfigError(
                f"The model {model!r} was given size={list(config['size'])}, and the rows are of {own}; leave size "
                "out, or change the data."
            )
        found["size"] = own
    return found


def _joined(config: Mapping[str, Any], rows: Examples) -> dict[str, Any]:
    """The settings of a student of several inputs, with their shapes; whole numbers are words."""
    inputs = {
        name: list(value.shape[1:]) if value.is_floating_point() else "words"
        for name, value in rows.rows([0]).items()
    }
    if config.get("inputs", inputs) != inputs:
        raise ConfigError(
            f"The model {JOINED!r} was given inputs={config['inputs']}, and the rows have {inputs}; leave inputs out."
        )
    return {**config, "inputs": inputs}
