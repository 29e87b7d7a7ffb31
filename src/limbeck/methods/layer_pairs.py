"""What methods over pairs of layers share: the pairs themselves, and that both sides show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limbeck.methods.base import Declared, Layers, Method, Shapes
from limbeck.methods.declared import pairs_of


class OverLayerPairs(Method):
    """A method whose setting ``layers`` names pairs STUDENT=TEACHER; ``self.pairs`` has them in their order.

    Raises: ConfigError for an entry that names nothing.
    """

    needs = {"hidden_states"}
    links = {"paired", "partly_paired"}

    @staticmethod
    def named(config: Any) -> Sequence[str]:
        """The pairs as the settings have them."""
        return config.layers

    @classmethod
    def declared(cls, config: Any) -> Declared:
        return super().declared(config).with_(layers=Layers.pairs(cls.named(config)))

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.pairs = pairs_of(self.named(config))


class OverLayerPair(OverLayerPairs):
    """One whose setting ``layer`` names a single pair, ``self.ours`` and ``self.theirs``."""

    @staticmethod
    def named(config: Any) -> Sequence[str]:
        return [config.layer]

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        ((self.ours, self.theirs),) = self.pairs
