"""What is read of one forward of a tower: which layers, pooled how."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.layers.pooling import pool
from limbeck.signals.output import TeacherOutput
from limbeck.signals.ragged import Signal
from limbeck.teachers.hf.loading import check_weights
from limbeck.teachers.hf.own_recipe import OwnRecipe
from limbeck.teachers.hf.pooling import all_states, mask_at_rate
from limbeck.teachers.hf.towers import States, read_tower, states_at, towers_of, watched


@dataclass(frozen=True)
class Reading:
    """The layer of the features, the pooling, and the layers kept as hidden states, of the model ``source``; or what
    the model's own ``recipe`` makes of the last states of a text."""

    source: str
    layer: int | str
    pooling: str
    hidden_layers: tuple[int | str, ...]
    recipe: OwnRecipe | None = None

    def check(self, model: Any, is_classifier: bool) -> None:
        """Raise UnknownNameError for a layer that does not exist, ConfigError for a contradiction."""
        layers = (self.layer, *self.hidden_layers)
        if is_classifier and (layers != (-1,) or self.pooling != "auto"):
            raise ConfigError(
                "A classifier's features are the input of its head; pass classifier=False to read layers or pool."
            )
        if self.pooling == "pooler" and self.layer != -1:
            raise ConfigError(
                "The pooler reads the last layer alone; leave out layer=, or pass another pooling."
            )
        paths = dict(model.named_modules())
        for layer in layers:
            if isinstance(layer, str) and layer not in paths:
                raise UnknownNameError(f"{self.source} has no layer {layer!r}; {nearest(layer, paths)}")
        counts = _layer_counts(model.config)
        wrong = [k for k in layers if isinstance(k, int) and counts and not -1 <= k <= max(counts)]
        if wrong:
            raise self._no_layer(wrong[0], max(counts))

    def read(
        self,
        model: Any,
        tower: str,
        inputs: Mapping[str, Tensor],
        mask: Tensor | None,
        unloaded: Collection[str],
        prompt_tokens: int = 0,
    ) -> TeacherOutput:
        """Run the tower without gradient and pool what is asked for.

        Args:
            mask: ``[m, T]``, the positions of the inputs that count.
            prompt_tokens: the first of them that are the prompt.
            unloaded: paths of modules without weights of the checkpoint, see :func:`check_weights`.
        """
        towers = towers_of(model)
        paths = {layer for layer in (self.layer, *self.hidden_layers) if isinstance(layer, str)}
        with torch.no_grad(), watched(model, paths | set(unloaded)) as seen:
            states = read_tower(model, tower, inputs, two_towers=len(towers) > 1)
        joint = len(towers) > 1 or towers == ("fused",)
        reads_summary = self.pooling == "pooler" or (joint and self.pooling == "auto" and self.layer == -1)
        check_weights(self.source, set(seen) & set(unloaded), reads_summary)
        if states.mask is not None:
            mask = states.mask
            if self.pooling == "last":
                raise ConfigError(
                    f"{self.source} reads patches in no order, so it has no last state; pass pooling='cls' or 'mean'."
                )

        def pooled(layer: int | str) -> Signal:
            found = (
                states_at(self.source, tower, layer, seen)
                if isinstance(layer, str)
                else self._at(states, layer)
            )
            if self.pooling == "none":
                return all_states(found.float(), mask_at_rate(model, mask, found, self.pooling))
            pooling = "mean" if self.pooling in ("auto", "pooler") else self.pooling
            return pool(found.float(), pooling, mask_at_rate(model, mask, found, pooling))

        summary = self._summary(states) if self.layer == -1 else None
        if self.recipe is not None:
            with torch.no_grad():
                summary = self.recipe.vectors(states.last, mask, prompt_tokens)
        return TeacherOutput(
            features=pooled(self.layer) if summary is None else summary.float(),
            hidden_states={
                layer if isinstance(layer, str) else f"layer_{layer}": pooled(layer)
                for layer in self.hidden_layers
            },
        )

    def _summary(self, states: States) -> Tensor | None:
        """The embedding or pooler, where that is what is asked for and there is one."""
        if self.pooling == "pooler" and states.pooler is None:
            raise ConfigError(f"{self.source} has no pooler; pass pooling='mean' or 'cls'.")
        return {"auto": states.embedding, "pooler": states.pooler}.get(self.pooling)

    def _at(self, states: States, layer: int) -> Tensor:
        if layer == -1:
            return states.last
        if layer < len(states.hidden):
            return states.hidden[layer]
        raise self._no_layer(layer, len(states.hidden) - 1)

    def _no_layer(self, layer: int, last: int) -> UnknownNameError:
        return UnknownNameError(
            f"{self.source} has no hidden layer {layer}; it has hidden layers 0 to {last} (the nearest is "
            f"{min(max(layer, 0), last)}), and -1, the last."
        )


def _layer_counts(config: Any) -> list[int]:
    """Numbers of hidden layers of the towers, as far as the configuration says."""
    parts = [config, *(getattr(config, f"{kind}_config", None) for kind in ("text", "vision", "audio"))]
    found = [getattr(part, "num_hidden_layers", None) for part in parts if part is not None]
    return [count for count in found if isinstance(count, int)]
