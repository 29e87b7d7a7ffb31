"""What a sentence-transformers model does with its states, and with a text before that: pooling, layers, prompts."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.layers.pooling import pool
from limbeck.signals.fingerprint import module_fingerprint, settings_fingerprint
from limbeck.teachers.hf.settings import Loading

MODULES_FILE = "modules.json"
# Names of poolings in its configurations, in the order in which several are joined, to ours.
_POOLINGS = {
    "cls": "cls", "max": "max", "mean": "mean", "mean_sqrt_len_tokens": "mean_sqrt", "weightedmean": "weighted_mean",
    "lasttoken": "last",
}  # fmt: skip
_OLD_SWITCHES = {
    "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}  # fmt: skip
_TRANSFORMER_FILES = [
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
_PROMPTS_FILE = "config_sentence_transformers.json"
_WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class OwnRecipe:
    """From the states of a text to its vector, as the model's makers do it.

    Args:
        poolings: names for :func:`~limbeck.layers.pooling.pool`, whose results are joined.
        after: further layers: dense ones, layer norms, unit length.
        counts_prompt: the tokens of the prompt are pooled too.
        max_length: most tokens of a text; ``None`` = as many as tokenizer and model take.
        lower_case: texts are read in small letters.
        prompt: what every text begins with.
        says: each step in words, for a bank's notes.
    """

    poolings: tuple[str, ...]
    after: nn.Sequential
    counts_prompt: bool = True
    max_length: int | None = None
    lower_case: bool = False
    prompt: str = ""
    says: tuple[str, ...] = field(default=())

    def vectors(self, states: Tensor, mask: Tensor | None, prompt_tokens: int = 0) -> Tensor:
        """``[m, E]`` float32 of states ``[m, T, D]``.

        Args:
            mask: ``[m, T]``, the positions that count.    prompt_tokens: the first of them that are the prompt.
        """
        skip = 0 if self.counts_prompt else prompt_tokens
        pooled = torch.cat([pool(states.float(), name, mask, skip=skip) for name in self.poolings], dim=1)
        return self.after.to(pooled.device)(pooled)

    def fingerprint(self) -> str:
        """Hash of all that it does to states; texts are another matter."""
        return settings_fingerprint(
            [self.poolings, self.counts_prompt, self.says, module_fingerprint(self.after)]
        )


def recipe_read(source: str, loading: Loading, prompt: str | None, wanted: bool) -> OwnRecipe | None:
    """The model's own recipe where it is ``wanted``: no layer or pooling is named.

    Raises: ConfigError for a prompt that belongs to no recipe.
    """
    if wanted:
        recipe = own_recipe(source, loading, prompt)
        if recipe is not None or prompt is None:
            return recipe
    if prompt is not None:
        raise ConfigError(
            f"A prompt belongs to the recipe of a sentence-transformers model, which is not read here; put "
            f"{prompt!r} before the texts yourself."
        )
    return None


def own_recipe(source: str, loading: Loading, prompt: str | None = None) -> OwnRecipe | None:
    """The recipe beside a model's weights; ``None`` where there is none.

    Args:
        prompt: name of one of the model's prompts; ``None`` = its default one.

    Raises: DataError: a recipe that cannot be read.    UnknownNameError: no such prompt.
    Warns where it has a module that is not known here: then its states are read without it.
    """
    modules = _json(source, MODULES_FILE, loading)
    if not isinstance(modules, list):
        return None
    entries = [entry if isinstance(entry, Mapping) else {} for entry in modules]
    steps = [(str(entry.get("type")).rpartition(".")[2], str(entry.get("path", ""))) for entry in entries]
    kinds = [kind for kind, _ in steps]
    unknown = [kind for kind in kinds[1:] if kind not in ("Pooling", *_AFTER)]
    if kinds[:1] != ["Transformer"] or kinds[1:2] != ["Pooling"] or unknown:
        not_done = unknown or kinds
        warnings.warn(
            f"{source} has a recipe of its own whose {', '.join(not_done)} is not known here, so that its pooling and "
            "prompts are not its own; name a pooling, or embed with sentence-transformers and bring the vectors.",
            stacklevel=4,
        )
        return None
    home = steps[0][1]
    pooling = _config(source, steps[1][1], loading)
    after = [_AFTER[kind](source, path, loading) for kind, path in steps[2:]]
    transformer = _transformer_config(source, home, loading)
    poolings = _poolings(pooling, source)
    text = _prompt(source, _json(source, _PROMPTS_FILE, loading) or {}, prompt)
    return OwnRecipe(
        tuple(_POOLINGS[name] for name in poolings),
        nn.Sequential(*after).eval(),
        counts_prompt=bool(pooling.get("include_prompt", True)),
        max_length=transformer.get("max_seq_length"),
        lower_case=bool(transformer.get("do_lower_case", False)),
        prompt=text,
        says=(f"Pooling {' + '.join(poolings)}", *kinds[2:], *([f"prompt {text!r}"] if text else [])),
    )


def home_of(source: str, loading: Loading) -> str:
    """Where the transformers model lies: a sub-folder, as older models have it, or the source itself."""
    if not Path(source).is_dir() or (Path(source) / "config.json").is_file():
        return source
    modules = _json(source, MODULES_FILE, loading)
    first = modules[0] if isinstance(modules, list) and modules and isinstance(modules[0], Mapping) else {}
    path = str(first.get("path", ""))
    return str(Path(source) / path) if path and (Path(source) / path / "config.json").is_file() else source


def _poolings(config: Mapping[str, Any], source: str) -> list[str]:
    named = config.get("pooling_mode") or [
        name for switch, name in _OLD_SWITCHES.items() if config.get(switch)
    ]
    names = [named] if isinstance(named, str) else list(named) or ["mean"]
    for name in names:
        if name not in _POOLINGS:
            raise DataError(
                f"{source} pools by {name!r}, which is not known; {nearest(str(name), _POOLINGS)}"
            )
    return names


def _prompt(source: str, config: Mapping[str, Any], name: str | None) -> str:
    prompts = {str(k): str(v or "") for k, v in (config.get("prompts") or {}).items()}
    if name is None:
        return prompts.get(str(config.get("default_prompt_name")), "")
    if name not in prompts:
        known = nearest(name, prompts) if prompts else "it has none."
        raise UnknownNameError(f"{source} has no prompt {name!r}; {known}")
    return prompts[name]


# ---- layers after the pooling ------------------------------------------------------------------------------------


class _Unit(nn.Module):
    """Vectors of length 1."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=-1)


class _Dense(nn.Module):
    """A linear layer and what follows it; with the input, or its projection, added where the model does so."""

    def __init__(self, linear: nn.Linear, activation: nn.Module, residual: nn.Module | None) -> None:
        super().__init__()
        self.linear, self.activation, self.residual = linear, activation, residual

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.linear(x))
        return out if self.residual is None else out + self.residual(x)


def _dense(source: str, path: str, loading: Loading) -> nn.Module:
    config = _config(source, path, loading)
    weights = _weights(source, path, loading)
    n_in, n_out = _size(config, "in_features", source), _size(config, "out_features", source)
    linear = nn.Linear(n_in, n_out, bias=bool(config.get("bias", True)))
    residual: nn.Module | None = None
    if config.get("use_residual"):
        residual = nn.Identity() if n_in == n_out else nn.Linear(n_in, n_out, bias=False)
    dense = _Dense(linear, _activation(config.get("activation_function", "torch.nn.Tanh"), source), residual)
    _fill(dense, weights, source, path)
    return dense


def _size(config: Mapping[str, Any], name: str, source: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or not 0 < value < 1_000_000:
        raise DataError(f"A layer in the recipe of {source} has no {name} that could be one ({value!r}).")
    return value


def _activation(path: str, source: str) -> nn.Module:
    """A layer of torch by its path; no other code is run."""
    found = getattr(nn, path.rpartition(".")[2], None) if path.startswith("torch.nn.") else None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise DataError(
            f"{source} has a dense layer with {path!r}, which is no layer of torch; read the model without its own "
            "recipe: pooling='mean'."
        )
    return found()


def _layer_norm(source: str, path: str, loading: Loading) -> nn.Module:
    weights = {name.removeprefix("norm."): value for name, value in _weights(source, path, loading).items()}
    norm = nn.LayerNorm(_size(_config(source, path, loading), "dimension", source))
    _fill(norm, weights, source, path)
    return norm


_AFTER = {
    "Dense": _dense, "LayerNorm": _layer_norm, "Normalize": lambda *_: _Unit(), "Dropout": lambda *_: nn.Identity(),
}  # fmt: skip


def _fill(module: nn.Module, weights: Mapping[str, Tensor], source: str, path: str) -> None:
    try:
        module.load_state_dict({name: value.float() for name, value in weights.items()})
    except RuntimeError as error:
        raise DataError(
            f"The weights of {path} of {source} do not fit its configuration ({error})."
        ) from error


# ---- files -------------------------------------------------------------------------------------------------------


def _file(source: str, name: str, loading: Loading) -> Path | None:
    """A file beside the model, in a folder or on the hub; ``None`` where there is none."""
    if Path(source).is_dir():
        path = Path(source) / name
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    found = cached_file(
        source,
        name,
        revision=loading.revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)


def _json(source: str, name: str, loading: Loading) -> Any:
    path = _file(source, name, loading)
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(
            f"The file {path} cannot be read ({error}); it tells how {source} pools its states."
        ) from error


def _config(source: str, path: str, loading: Loading) -> dict[str, Any]:
    found = _json(source, f"{path}/config.json" if path else "config.json", loading)
    return found if isinstance(found, dict) else {}


def _transformer_config(source: str, home: str, loading: Loading) -> dict[str, Any]:
    for name in _TRANSFORMER_FILES:
        found = _json(source, f"{home}/{name}" if home else name, loading)
        if isinstance(found, dict):
            return found
    return {}


def _weights(source: str, path: str, loading: Loading) -> dict[str, Tensor]:
    for name in _WEIGHTS_FILES:
        file = _file(source, f"{path}/{name}", loading)
        if file is None:
            continue
        try:
            if name.endswith(".safetensors"):
                from safetensors.torch import load_file

                return load_file(file)
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a broken file makes a reader raise
            raise DataError(f"The file {file} cannot be read ({str(error).splitlines()[0]}).") from error
    raise DataError(f"{source} has no weights for {path}; bring {path}/{_WEIGHTS_FILES[0]}.")
