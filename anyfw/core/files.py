"""Files of numbers and settings: JSON, named tensors, models. All are written whole or not at all."""

import json
from collections.abc import Mapping
from typing import Any

from anyfw.core.atomic import StrPath, open_to_read, remove_stale, write_atomic
from anyfw.core.config import Config
from anyfw.core.errors import ConfigError, FileFormatError
from anyfw.core.json_values import plain
from anyfw.core.tensors import DTYPES, FORMAT, Tensors, prove, read_tensors, write_tensors

__all__ = [
    "DTYPES",
    "FORMAT",
    "prove",
    "read_json",
    "read_model",
    "read_tensors",
    "remove_stale",
    "save_model",
    "write_atomic",
    "write_json",
    "write_tensors",
]

_MAX_DEPTH, _MAX_LAYERS, _MAX_TEXT = 200, 100_000, 10_000  # of a layer tree as JSON; real ones are far below


def write_json(path: StrPath, value: object) -> None:
    """Write a value as indented JSON, atomically. JSON has no NaN and no infinity: they are written as null.

    Raises:
        ConfigError: a value that JSON cannot express.
        OutputError: as `write_atomic`.
    """
    write_atomic(path, (json.dumps(plain(value, "value", finite=True), indent=2) + "\n").encode())


def read_json(path: StrPath) -> Any:
    """The value in a JSON file.

    Raises:
        MissingFileError: there is no such file, or it cannot be opened.
        FileFormatError: it is no JSON; the message names line and column.
    """
    with open_to_read(path) as file:
        raw = file.read()
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{path}: no JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: no JSON: {str(error)[:200]}.") from error


def save_model(path: StrPath, config: Config, state: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Write a net: its layer tree, its parameters and buffers by PyTorch's names, and the user's metadata.

    Raises:
        ConfigError: a layer tree or metadata that a file cannot hold.
        OutputError: as `write_atomic`.
    """
    problem = _problem(config)
    if problem:
        raise ConfigError(f"This net cannot be saved: {problem}.")
    write_tensors(path, state, {"config": config, "metadata": dict(metadata)})


def read_model(path: StrPath) -> tuple[Config, Tensors, dict[str, Any]]:
    """(config, state, metadata) as `save_model` got them; the layer tree is known to be of a sane size.

    Raises:
        MissingFileError, FileFormatError: as `read_tensors`; a file of anyfw that holds no model.
    """
    state, values = read_tensors(path)
    if "config" not in values:
        raise FileFormatError(f"{path}: expected a model, got a file with {sorted(values)}. Was net.save(path) called?")
    config, metadata = values["config"], values.get("metadata", {})
    problem = _problem(config)
    if problem or not isinstance(metadata, dict):
        raise FileFormatError(f"{path}: expected a layer tree: {problem or 'its metadata is no dict'}.")
    return config, state, metadata


def _problem(config: object) -> str | None:
    # A hostile tree must not hang or exhaust anything later: not by depth, and not by shared layers that double
    # the number of places at every level.
    if not isinstance(config, dict):
        return "it is no description of a layer"
    queue: list[tuple[Any, int]] = [(config, 1)]
    while queue:
        value, depth = queue.pop()
        if depth > _MAX_DEPTH:
            return f"it is nested more than {_MAX_DEPTH} levels deep"
        if isinstance(value, str) and len(value) > _MAX_TEXT:
            return f"it holds a text of {len(value)} characters, more than {_MAX_TEXT}"
        if isinstance(value, dict):
            if "layer" in value and not isinstance(value["layer"], str):
                return f"a layer's class is {value['layer']!r:.80}, which is no name"
            queue += ((item, depth + 1) for item in (*value, *value.values()))
        elif isinstance(value, list | tuple):
            queue += ((item, depth + 1) for item in value)
    places = _places(config, [])
    return f"it has {places} places for layers, more than {_MAX_LAYERS}" if places > _MAX_LAYERS else None


def _places(value: Any, finished: list[int]) -> int:
    # Counted as from_config builds: a layer is finished, and can be shared, after the layers in it.
    if isinstance(value, list | tuple):
        return sum(_places(item, finished) for item in value)
    if not isinstance(value, dict):
        return 0
    shared = value.get("shared")
    if isinstance(shared, int) and 0 <= shared < len(finished):
        return finished[shared]
    places = sum(_places(item, finished) for item in value.values())
    if "layer" in value:
        places += 1
        finished.append(places)
    return places
