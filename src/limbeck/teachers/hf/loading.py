"""Configuration and weights of a transformers model, from a folder or by hub id."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest, some
from limbeck.signals.fingerprint import module_fingerprint, state_fingerprint
from limbeck.students.foreign import PLAIN_WEIGHTS, loading, no_code
from limbeck.teachers.hf.settings import Loading

DTYPES = ("float32", "bfloat16", "float16")
CLASSIFIERS = {
    "ForImageClassification": "AutoModelForImageClassification",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForAudioClassification": "AutoModelForAudioClassification",
}
# Checkpoints whose parts AutoModel does not find.
_OWN_CLASS = ("BlipForImageTextRetrieval",)


def load_config(source: str, how: Loading) -> Any:
    """Its configuration; DataError, with the nearest models at hand, where there is none."""
    from transformers import AutoConfig

    try:
        with no_code(source, trusted=how.trust_remote_code):
            return AutoConfig.from_pretrained(source, **how.hub)
    except DataError:
        raise
    except Exception as error:  # transformers raises what the kind of model makes of its settings
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else "unknown kind"
        if not Path(source).exists() and (Path(source).is_absolute() or source.startswith(".")):
            reason = "there is no such folder"
        raise DataError(
            f"No transformers model can be loaded from {source!r} ({reason}); {_nearest_models(source)}give a "
            "folder with config.json and weights, or a hub id while online."
        ) from error


def load_model(source: str, config: Any, how: Loading, *, classifier: bool) -> tuple[Any, frozenset[str]]:
    """The model in evaluation mode, and the paths of modules for which the checkpoint holds no weights.

    An encoder-decoder is its encoder alone, unless it classifies.
    """
    import transformers

    if how.dtype not in DTYPES:
        raise UnknownNameError(
            f"There is no dtype {how.dtype!r} for a teacher; {nearest(str(how.dtype), DTYPES)}"
        )
    check_device(how.device, how.device_map)
    architecture = (config.architectures or ("",))[0]
    # the encoder of T5 alone is no kind of AutoModel either, which would add a decoder drawn at random
    own = architecture in _OWN_CLASS or (
        architecture.endswith("EncoderModel") and hasattr(transformers, architecture)
    )
    name = CLASSIFIERS[str(classifier_suffix(config))] if classifier else architecture if own else "AutoModel"
    with loading(source, trusted=how.trust_remote_code):
        model, info = getattr(transformers, name).from_pretrained(
            source,
            revision=how.revision,
            dtype=getattr(torch, how.dtype),
            device_map=how.device_map,
            output_loading_info=True,
            **({"trust_remote_code": True} if how.trust_remote_code and not own else PLAIN_WEIGHTS),
        )
    missing = set(info["missing_keys"])
    if config.is_encoder_decoder and not classifier:
        encoder = model.get_encoder()
        path = next(path for path, module in model.named_modules() if module is encoder)
        missing = {key.removeprefix(f"{path}.") for key in missing if key.startswith(f"{path}.")}
        model = encoder
    if getattr(model.config, "max_image_length", -1) != -1:
        model.config.max_image_length = -1  # ViLT would read that many patches, drawn at random
    if how.device_map is None:
        model = model.to(how.device or "cpu")
    # what the model itself owns (mask tokens, logit scales) plays no part in features
    return model.eval(), frozenset(key.rpartition(".")[0] for key in missing if "." in key)


def check_device(device: str | None, device_map: Any = None) -> None:
    """Raises ConfigError for a device that is not there, or beside a device map."""
    if device is not None and device_map is not None:
        raise ConfigError("Pass device= or device_map=, not both; a device map says where every part goes.")
    try:
        kind = torch.device(device or "cpu").type
    except RuntimeError as error:
        raise ConfigError(f"There is no device {device!r}; name 'cpu', 'cuda' or 'cuda:0'.") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"There is no GPU for device={device!r}; pass device='cpu'.")


def check_weights(source: str, ran: Collection[str], pooled: bool) -> None:
    """DataError if modules that ``ran`` have no weights in the checkpoint: their numbers are drawn at random.

    Args:
        pooled: the model's pooler is read; otherwise it may run without its weights.
    """
    summaries = {"pooler", "head"}
    needed = sorted(path for path in ran if pooled or not summaries & set(path.split(".")))
    if needed:
        raise DataError(
            f"The checkpoint {source} holds no weights for {some(needed, 3)}, which this reading runs; take "
            "another layer, pooling or tower, or another checkpoint."
        )


def architecture_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without where it came from and the dtype of its weights."""
    drop = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
    return {
        name: architecture_of(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in drop
    }


def weights_fingerprint(model: nn.Module) -> str:
    """Hash of the weights, also of those that a device map left on the disk."""
    if not any(value.is_meta for value in model.state_dict().values()):
        return module_fingerprint(model)
    from accelerate.utils.modeling import get_state_dict_offloaded_model

    return state_fingerprint(get_state_dict_offloaded_model(model))


def classifier_suffix(config: Any) -> str | None:
    """Which kind of classifier the checkpoint is, if it is one."""
    for architecture in config.architectures or ():
        for suffix in CLASSIFIERS:
            if architecture.endswith(suffix):
                return suffix
    return None


def class_names_of(config: Any) -> list[str] | None:
    """Class names of the config, unless they are the placeholders LABEL_0, LABEL_1, ..."""
    names = [config.id2label[i] for i in sorted(config.id2label or {})]
    placeholders = [f"LABEL_{i}" for i in range(len(names))]
    return None if not names or names == placeholders else names


def max_tokens(model: nn.Module, config: Any) -> int | None:
    """Most tokens that the text part reads, ``None`` if it does not say."""
    text = getattr(config, "text_config", None) or config
    limit = getattr(text, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit <= 0:  # -1 of XLNet: as many as one likes
        return None
    for path, module in model.named_modules():
        # RoBERTa's positions start after its padding position, so that it reads 512 of 514
        is_offset = path.endswith("position_embeddings") and isinstance(module, nn.Embedding)
        if is_offset and module.num_embeddings == limit and module.padding_idx is not None:
            return limit - int(module.padding_idx) - 1
    return limit


def _nearest_models(source: str) -> str:
    """A clause with the models at hand whose names are near: folders beside a path, and the local hub cache."""
    path = Path(source)
    beside = path.parent if path.parent.is_dir() else None
    found: dict[str, str] = {}
    if beside is not None:
        folders = [folder for folder in beside.iterdir() if (folder / "config.json").is_file()]
        found |= {folder.name: str(path.parent / folder.name) for folder in folders}
    close = [found[name] for name in difflib.get_close_matches(path.name, found, n=3, cutoff=0.5)]
    close += difflib.get_close_matches(source, _cached_models(), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, close))}? Otherwise " if close else ""


def _cached_models() -> list[str]:
    """Ids of the models in the local hub cache."""
    from huggingface_hub import constants

    folders = Path(constants.HF_HUB_CACHE).glob("models--*")
    return sorted(folder.name.removeprefix("models--").replace("--", "/") for folder in folders)
