"""The keys of a YAML file, as recipes, chains and arms are written: what is none is told in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError

LARGEST = 8 * 2**20  # bytes of a file
MOST_VALUES = 500_000  # of a file whose aliases are written out
_MEND = "write keys and values such as `seed: 1`"


def yaml_keys(path: str | Path) -> dict[str, Any]:
    """What stands in a YAML file.

    Raises: ConfigError naming the file, and the line where there is one: no text in UTF-8, no YAML, no keys, a key that
        is written twice (the first would be hidden), a value that holds itself, aliases that unfold to more than
        :data:`MOST_VALUES` values, a file that is larger than any recipe.
    """
    import yaml

    try:
        text = _read(Path(path))
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None:
            _check(root, path, (), {})
        values = yaml.safe_load(text)
    except ConfigError:
        raise
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


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST:,} bytes, which no recipe is; name another file.")
    return content.decode("utf-8")


def _check(node: Any, path: str | Path, above: tuple[int, ...], done: dict[int, int]) -> int:
    """How many values there are with all aliases written out; ConfigError for too many, for keys that come twice in
    one mapping, and for a node within itself.

    Args:
        done: nodes that were looked at, and the values within; an alias leads to one of them, and aliases of aliases
            would take for ever.
    """
    import yaml

    line = node.start_mark.line + 1
    if id(node) in above:
        raise ConfigError(f"Line {line} of {path} holds itself (an alias within its anchor); write it out.")
    if id(node) in done:
        return done[id(node)]
    within = (*above, id(node))
    parts = list(node.value) if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, path)
        parts = [value for _, value in node.value]
    found = 1 + sum(_check(part, path, within, done) for part in parts)
    if found > MOST_VALUES:
        raise ConfigError(
            f"Line {line} of {path} unfolds to more than {MOST_VALUES:,} values by its aliases; write out what is "
            "needed."
        )
    done[id(node)] = found
    return found


def _check_keys(node: Any, path: str | Path) -> None:
    import yaml

    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                raise ConfigError(
                    f"{path} has the key {key.value!r} twice (line {key.start_mark.line + 1}); keep one of them."
                )
            seen.add(key.value)
