"""The settings of a transformers teacher, in the groups in which they are used: loading, reading, preparing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.teachers.hf.pooling import POOLINGS, Pooling
from limbeck.teachers.hf.towers import TOWERS, Tower


@dataclass(frozen=True)
class Loading:
    """How a model comes into memory; see :class:`~limbeck.teachers.hf.teacher.HFTeacher`."""

    dtype: str = "float32"
    device: str | None = None
    device_map: Any = None
    compile: bool | str = False
    revision: str | None = None
    trust_remote_code: bool = False

    @property
    def hub(self) -> dict[str, Any]:
        """What every ``from_pretrained`` is told."""
        return {"revision": self.revision, "trust_remote_code": self.trust_remote_code}


@dataclass(frozen=True)
class Preparing:
    """How texts and sounds become tensors."""

    prompt: str | None = None
    too_long: Literal["truncate", "refuse"] = "truncate"
    empty: Literal["refuse", "keep"] = "refuse"
    sampling_rate: int | None = None
    resample: bool = False

    def __post_init__(self) -> None:
        if self.too_long not in ("truncate", "refuse"):
            raise ConfigError(f"too_long is 'truncate' or 'refuse'; it is {self.too_long!r}.")
        if self.empty not in ("keep", "refuse"):
            raise ConfigError(f"empty is 'refuse' or 'keep'; it is {self.empty!r}.")


@dataclass(frozen=True)
class WhatIsRead:
    """Which part of a model, which layer of it, pooled how."""

    tower: Tower | None = None
    layer: int | str = -1
    pooling: Pooling = "auto"
    hidden_layers: Sequence[int | str] = ()

    def __post_init__(self) -> None:
        if self.tower is not None and self.tower not in TOWERS:
            raise UnknownNameError(f"There is no tower {self.tower!r}; {nearest(str(self.tower), TOWERS)}")
        if self.pooling not in POOLINGS:
            raise UnknownNameError(
                f"There is no pooling {self.pooling!r}; {nearest(str(self.pooling), POOLINGS)}"
            )

    @property
    def is_default(self) -> bool:
        """Nothing is asked for, so that the model's own recipe counts."""
        return self.layer == -1 and self.pooling == "auto"


class Settings(TypedDict, total=False):
    """All of them by name, as :class:`~limbeck.teachers.hf.teacher.HFTeacher` takes them."""

    dtype: str
    device: str | None
    device_map: Any
    compile: bool | str
    revision: str | None
    trust_remote_code: bool
    prompt: str | None
    too_long: Literal["truncate", "refuse"]
    empty: Literal["refuse", "keep"]
    sampling_rate: int | None
    resample: bool
    tower: Tower | None
    layer: int | str
    pooling: Pooling
    hidden_layers: Sequence[int | str]


def grouped(settings: Mapping[str, Any], others: Collection[str]) -> tuple[Loading, WhatIsRead, Preparing]:
    """The settings in their groups.

    Args:
        others: names that belong to no group, for messages.

    Raises: UnknownNameError for a name or value that does not exist.    ConfigError for a value out of range.
    """
    groups = (Loading, WhatIsRead, Preparing)
    known = {group: {field.name for field in fields(group)} for group in groups}
    for name in settings:
        if not any(name in names for names in known.values()):
            options = {*others, *(name for names in known.values() for name in names)}
            raise UnknownNameError(f"HFTeacher has no setting {name!r}; {nearest(name, options)}")
    loading, read, preparing = (
        group(**{name: value for name, value in settings.items() if name in known[group]}) for group in groups
    )
    return loading, read, preparing  # type: ignore[return-value]
