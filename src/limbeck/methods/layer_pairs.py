"""What methods over pairs of layers share: the pairs themselves, and that both sides show them."""

from __future__ import annotations

from typing import Any

from limbeck.methods.base import Declared, Layers, Method, Shapes
from limbeck.methods.declared import pairs_of


class OverLayerPairs(Method):
    """A method whose setting ``layers`` names pairs STUDENT=TEACHER; ``self.pairs`` has them in their order.

    Raises: ConfigError for an entry that names nothing.
    """

    needs = {"hidden_states"}
    links = {"paired", "partly_paired"}

    @classmethod
    def declared(cls, config: Any) -> Declared:
        return super().declared(config).with_(layers=Layers.pairs(config.layers))

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.pairs = pairs_of(config.layers)


class OverLayerPair(Method):
    """A method whose setting ``layer`` names one pair STUDENT=TEACHER, ``self.ours`` and ``self.theirs``.

    Raises: ConfigError for an entry that names nothing.
    """

    needs = {"hidden_states"}
    links = {"paired", "partly_paired"}

    @classmethod
    def declared(cls, config: Any) -> Declared:
        return super().declared(config).with_(layers=Layers.pairs([config.layer]))

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        ((self.ours, self.theirs),) = pairs_of([config.layer])
