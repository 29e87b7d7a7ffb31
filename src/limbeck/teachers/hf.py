"""A transformers model as a teacher, by path or hub id."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.signals.fingerprint import module_fingerprint, settings_fingerprint
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.base import first_tensor
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.preprocessing import Preprocessor, masked_max, masked_mean

Pooling = Literal["auto", "mean", "cls", "max", "pooler"]
POOLINGS = ("auto", "mean", "cls", "max", "pooler")
_CLASSIFIERS = {
    "ForImageClassification": "AutoModelForImageClassification",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForAudioClassification": "AutoModelForAudioClassification",
}


class HFTeacher:
    """An encoder or classifier of the transformers library, in evaluation mode and without gradient.

    A classification checkpoint gives logits and the input of its head as features; any other gives pooled
    hidden states, and a dual encoder (CLIP) the embedding of the modality that it is shown. Tensors go to the
    model as they are, by name; texts, PIL images and waveforms go through the preprocessor that the model
    comes with.

    Args:
        source: folder or hub id.
        classifier: read it as a classifier or as an encoder; default: what its checkpoint says.
        layer: hidden layer that an encoder's features come from; -1 = the last, 0 = the embeddings.
        pooling: over tokens: ``mean`` (of those that the attention mask keeps), ``cls`` (the first), ``max``,
            or the model's own ``pooler``; ``auto``: the embedding of a dual encoder, else ``mean``.
        hidden_layers: layers kept as hidden states ``layer_0``, ``layer_1``, ..., pooled likewise, ``[m,
            D]``.
        class_names: names of its logits; default those of its config.
        sampling_rate: in Hz, of waveforms that do not carry their own.
        dtype: of the weights.    device: where it runs.    revision: of the hub repository.
        licence: what its owner allows; kept with a bank.

    Raises: DataError: no such model.    UnknownNameError: no such pooling.    ConfigError: no such layer.

    Example:
        >>> teacher = HFTeacher("google/vit-base-patch16-224-in21k")  # doctest: +SKIP
        >>> bank = Bank.build("banks/vit", teacher, images, key="id")  # doctest: +SKIP
    """

    def __init__(
        self,
        source: str | Path,
        *,
        classifier: bool | None = None,
        layer: int = -1,
        pooling: Pooling = "auto",
        hidden_layers: Sequence[int] = (),
        class_names: Sequence[str] | None = None,
        sampling_rate: int | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        revision: str | None = None,
        licence: str = "",
    ) -> None:
        if pooling not in POOLINGS:
            raise UnknownNameError(f"There is no pooling {pooling!r}; {nearest(str(pooling), POOLINGS)}")
        self.source, self.licence = str(source), licence
        self.access: AccessLevel = "weights"
        self._layer, self._pooling, self._hidden_layers = layer, pooling, tuple(hidden_layers)
        config = _load_config(self.source, revision)
        suffix = _classifier_suffix(config)
        if classifier and suffix is None:
            raise ConfigError(f"{self.source} is no classification checkpoint; leave out classifier=True.")
        is_classifier = suffix is not None if classifier is None else classifier
        auto_class = _CLASSIFIERS[str(suffix)] if is_classifier else "AutoModel"
        self.model = _load_model(auto_class, self.source, revision, dtype).to(device).eval()
        self._classifier = ModuleTeacher(self.model) if is_classifier else None
        self._check_layers()
        names = class_names if class_names is not None else _names_of(config)
        self.class_names = tuple(names) if is_classifier and names is not None else None
        self._preprocess = Preprocessor(
            self.source,
            revision=revision,
            max_length=getattr(config, "max_position_embeddings", None),
            sampling_rate=sampling_rate,
        )

    @property
    def head(self) -> tuple[Tensor, Tensor | None] | None:
        """Weight and bias of a classifier, known after the first call."""
        return None if self._classifier is None else self._classifier.head

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        named = self._named({n: v.to(self.model.device) for n, v in self._preprocess(inputs).items()})
        if self._classifier is not None:
            return self._classifier(named)
        with torch.no_grad():
            embedding = self._embedding(named)
            if embedding is not None:
                return TeacherOutput(features=embedding)
            output = self.model(**named, output_hidden_states=True)
        features = self._pooled(output, self._layer, named)
        hidden = {f"layer_{k}": self._pooled(output, k, named) for k in self._hidden_layers}
        return TeacherOutput(features=features, hidden_states=hidden)

    def _named(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Inputs under the names of the model's arguments; a single one may have any name."""
        known = set(inspect.signature(self.model.forward).parameters)
        unknown = [name for name in inputs if name not in known]
        if unknown and len(inputs) == 1:
            value = inputs[unknown[0]]
            # the main input of a dual encoder is its text
            is_image = value.is_floating_point() and value.dim() == 4 and "pixel_values" in known
            return {"pixel_values" if is_image else self.model.main_input_name: value}
        if unknown:
            raise DataError(
                f"{self.source} has no input {unknown[0]!r}; {nearest(unknown[0], known - {'kwargs'})} "
                "Name the columns that the teacher reads with inputs=."
            )
        return inputs

    def _embedding(self, named: dict[str, Tensor]) -> Tensor | None:
        """Of a dual encoder, the embedding of the one modality that is there."""
        if self._pooling != "auto":
            return None
        for argument, reader in (("pixel_values", "get_image_features"), ("input_ids", "get_text_features")):
            if argument in named and hasattr(self.model, reader):
                return first_tensor(getattr(self.model, reader)(**named))
        return None

    def _pooled(self, output: Any, layer: int, named: dict[str, Tensor]) -> Tensor:
        if self._pooling == "pooler" and layer == -1:
            return first_tensor(output)
        states = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        if states.dim() == 4:  # feature maps [m, C, H, W] of a convolutional encoder
            states = states.flatten(2).transpose(1, 2)
        if self._pooling == "cls":
            return states[:, 0]
        mask = self._mask(states.shape[1], named.get("attention_mask"))
        return masked_max(states, mask) if self._pooling == "max" else masked_mean(states, mask)

    def _mask(self, length: int, mask: Tensor | None) -> Tensor | None:
        """The attention mask at the rate of the hidden states (audio encoders shorten their input)."""
        if mask is None or mask.shape[1] == length:
            return mask
        shorten = getattr(self.model, "_get_feature_vector_attention_mask", None)
        return None if shorten is None else shorten(length, mask)

    def _check_layers(self) -> None:
        if self._classifier is not None and (
            self._layer != -1 or self._hidden_layers or self._pooling != "auto"
        ):
            raise ConfigError(
                "A classifier's features are the input of its head; pass classifier=False to "
                "read layers or pool."
            )
        count = getattr(self.model.config, "num_hidden_layers", None)
        wrong = [k for k in (self._layer, *self._hidden_layers) if count is not None and not -1 <= k <= count]
        if wrong:
            raise ConfigError(
                f"{self.source} has hidden layers 0 to {count} (and -1, the last), not {wrong[0]}."
            )

    def fingerprint(self) -> dict[str, str]:
        """Parts: ``architecture``, ``weights``, ``reading`` (layer and pooling) and ``preprocessing``."""
        drop = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
        config = {name: value for name, value in self.model.config.to_dict().items() if name not in drop}
        reading = [self._classifier is not None, self._layer, self._pooling, self._hidden_layers]
        return {
            "architecture": settings_fingerprint(config),
            "weights": module_fingerprint(self.model),
            "reading": settings_fingerprint(reading),
            "preprocessing": self._preprocess.fingerprint(),
        }


def _load_config(source: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, revision=revision)
    except (OSError, ValueError) as error:
        raise DataError(
            f"No transformers model can be loaded from {source!r} "
            f"({str(error).splitlines()[0].rstrip('.')}); give a folder "
            "with config.json and weights, or a hub id while online."
        ) from error


def _load_model(auto_class: str, source: str, revision: str | None, dtype: str) -> Any:
    import transformers

    try:
        return getattr(transformers, auto_class).from_pretrained(
            source, revision=revision, dtype=getattr(torch, dtype)
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f"The weights of {source!r} cannot be loaded ({str(error).splitlines()[0].rstrip('.')})."
        ) from error


def _classifier_suffix(config: Any) -> str | None:
    for architecture in config.architectures or ():
        for suffix in _CLASSIFIERS:
            if architecture.endswith(suffix):
                return suffix
    return None


def _names_of(config: Any) -> list[str] | None:
    """Class names of the config, unless they are the placeholders LABEL_0, LABEL_1, ..."""
    names = [config.id2label[i] for i in sorted(config.id2label or {})]
    placeholders = [f"LABEL_{i}" for i in range(len(names))]
    return None if not names or names == placeholders else names
