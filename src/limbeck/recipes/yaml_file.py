"""The keys of a YAML file, as recipes, chains and arms are written: what is none is told in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError

_MEND = "write keys and values such as `seed: 1`"


def yaml_keys(path: str | Path) -> dict[str, Any]:
    """What stands in a YAML file.

    Raises: ConfigError naming the file, and the line where there is one: no text in UTF-8, no YAML, no keys, a key that
        is written twice (the first would be hidden), a value that holds itself.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None:
            _check(root, path, (), set())
        values = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no YAML: it is no text in UTF-8; {_MEND}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path} is no YAML: {' '.join(str(error).split()).rstrip('.')}; mend it."
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply; {_MEND}.") from error
    except ValueError as error:  # a date such as 2026-13-45
        raise ConfigError(
            f"{path} holds a value that cannot be read ({error}); put it into quotes."
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({(error.strerror or str(error)).lower()}).") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values; {_MEND}.")
    return values


def _check(node: Any, path: str | Path, above: tuple[int, ...], done: set[int]) -> None:
    """Raise ConfigError for keys that come twice in one mapping, and for a node within itself.

    Args:
        done: nodes that were looked at; an alias leads to one of them, and aliases of aliases would take for ever.
    """
    import yaml

    line = node.start_mark.line + 1
    if id(node) in above:
        raise ConfigError(f"Line {line} of {path} holds itself (an alias within its anchor); write it out.")
    if id(node) in done:
        return
    done.add(id(node))
    within = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            _check(entry, path, within, done)
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                raise ConfigError(
                    f"{path} has the key {key.value!r} twice (line {key.start_mark.line + 1}); keep one of them."
                )
            seen.add(key.value)
        _check(value, path, within, done)
