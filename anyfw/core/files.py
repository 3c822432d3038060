"""Files of numbers and settings: JSON, named tensors, models. All are written whole or not at all.

Tensors lie in a safetensors file, which any other program can read. Its metadata (text by text) holds our JSON
values, the format version, and a sha256 of every tensor and every value, so that a flipped bit is found.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from anyfw.core.atomic import StrPath, open_to_read, remove_stale, write_atomic
from anyfw.core.config import Config
from anyfw.core.errors import AnyfwError, ConfigError, FileFormatError

__all__ = [
    "FORMAT",
    "read_json",
    "read_model",
    "read_tensors",
    "remove_stale",
    "save_model",
    "write_atomic",
    "write_json",
    "write_tensors",
]

Tensors = dict[str, NDArray[Any]]

FORMAT = 1
DTYPES = {"F64": "float64", "F32": "float32", "I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool"}

_AGAIN = "Copy or save it again."
_VERSION, _CHECKSUMS = "anyfw_format", "anyfw_sha256"
_MAX_HEADER = 100_000_000  # bytes; safetensors' own limit
_MAX_DEPTH, _MAX_LAYERS, _MAX_TEXT = 200, 100_000, 10_000  # of a layer tree as JSON; real ones are far below
_FIRST_BYTES = (
    (b"PK\x03\x04", "a zip archive, as .npz and PyTorch's .pt files are"),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "gzipped"),
    (b"\x80\x02", "a pickle, which anyfw never opens, since it can run code"),
    (b"\x80\x04", "a pickle, which anyfw never opens, since it can run code"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch it with 'git lfs pull'"),
)


def write_json(path: StrPath, value: object) -> None:
    """Write a value as indented JSON, atomically. JSON has no NaN and no infinity: they are written as null.

    Raises:
        ConfigError: a value that JSON cannot express.
        OutputError: as `write_atomic`.
    """
    write_atomic(path, (json.dumps(_plain(value, "value", finite=True), indent=2) + "\n").encode())


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


def write_tensors(path: StrPath, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
    """Write named arrays and JSON-able values as one safetensors file, atomically.

    The same content gives the same bytes. Tuples come back as lists; NaN and infinities come back as they are.

    Args:
        path: the file to write; its folder must exist.
        tensors: NumPy arrays of any strides and byte order; dtype one of `DTYPES`.
        metadata: JSON-able values by name.

    Raises:
        ConfigError: a dtype that the file cannot hold, or a value that JSON cannot express.
        OutputError: as `write_atomic`.
    """
    write_atomic(path, _encode(tensors, metadata))


def read_tensors(path: StrPath) -> tuple[Tensors, dict[str, Any]]:
    """The arrays and the metadata that `write_tensors` wrote; every checksum is verified, no code is ever run.

    The file is read before it is parsed: one that is cut short while mapped into memory would kill the process.

    Raises:
        MissingFileError: there is no such file, or it cannot be opened.
        FileFormatError: no safetensors file, one of another program, truncated, corrupt, or of a newer format.
    """
    with open_to_read(path) as file:
        texts = _header(path, file).get("__metadata__")
        file.seek(0)
        raw = file.read()
    if not isinstance(texts, dict) or _VERSION not in texts:
        raise FileFormatError(
            f"{path}: a safetensors file without anyfw's metadata, so its layers are not known. Build the net "
            "yourself, then net.load_state_dict(safetensors.numpy.load_file(path))."
        )
    _check_version(path, texts[_VERSION])
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = {name: np.array(values) for name, values in sorted(load(raw).items())}
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise _corrupt(path, str(error)) from error
    return tensors, _verified(path, tensors, texts)


def save_model(path: StrPath, config: Config, state: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
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


def _encode(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> bytes:
    from safetensors.numpy import save

    copies: Tensors = {}
    for name, values in tensors.items():
        if not isinstance(values, np.ndarray | np.generic) or values.dtype.name not in DTYPES.values():
            kind = getattr(values, "dtype", type(values).__name__)
            raise ConfigError(f"'{name}': expected a NumPy array of {', '.join(DTYPES.values())}, got {kind}. Cast it.")
        # safetensors writes the memory of a strided view as if it were contiguous, without an error.
        copies[name] = np.array(values, dtype=values.dtype.newbyteorder("="), order="C")
    reserved = ({_VERSION, _CHECKSUMS} & set(metadata)) | ({"__metadata__"} & set(copies))
    if reserved:
        raise ConfigError(f"The name '{reserved.pop()}' is reserved. Use another one.")
    texts = {name: json.dumps(_plain(value, name)) for name, value in metadata.items()}
    checksums = {
        "tensors": {name: _tensor_sha256(values) for name, values in copies.items()},
        "metadata": {name: _sha256(text.encode()) for name, text in texts.items()},
    }
    texts = {_VERSION: str(FORMAT), _CHECKSUMS: json.dumps(checksums, sort_keys=True), **texts}
    raw = save(copies, texts)
    # The library's order of the metadata is random; one content shall be one sequence of bytes.
    length = int.from_bytes(raw[:8], "little")
    header = json.dumps({**json.loads(raw[8 : 8 + length]), "__metadata__": texts}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > _MAX_HEADER:
        raise ConfigError(f"metadata: expected at most {_MAX_HEADER} bytes as JSON, got {len(header)}.")
    return len(header).to_bytes(8, "little") + header + raw[8 + length :]


def _plain(value: Any, where: str, *, finite: bool = False) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) or not finite else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{where}: expected text as keys, got {key!r}. JSON has no others: use str(key).")
        return {key: _plain(item, f"{where}.{key}", finite=finite) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]", finite=finite) for i, item in enumerate(value)]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufU":
        return _plain(value.tolist(), where, finite=finite)
    raise ConfigError(f"{where}: expected text, numbers, lists or dicts, got {type(value).__name__} {value!r:.80}.")


def _header(path: StrPath, file: BinaryIO) -> dict[str, Any]:
    # Bounded by the size of the file before anything is read or allocated.
    size = os.fstat(file.fileno()).st_size
    first = file.read(32)
    for magic, kind in _FIRST_BYTES:
        if first.startswith(magic):
            raise FileFormatError(f"{path}: no safetensors file, but {kind}.")
    if size < 10:
        raise FileFormatError(f"{path}: {size} bytes are too few for a safetensors file. Was it cut short?")
    length = int.from_bytes(first[:8], "little")
    if length > _MAX_HEADER or first[8:9] != b"{":
        raise FileFormatError(f"{path}: no safetensors file: it does not begin with a header.")
    if length > size - 8:
        raise FileFormatError(f"{path}: truncated: expected a header of {length} bytes, got {size - 8}. {_AGAIN}")
    file.seek(8)
    try:
        header = json.loads(file.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for name, entry in tensors.items():
            if entry["dtype"] not in DTYPES:
                raise _corrupt(path, f"tensor '{name:.80}' has dtype {entry['dtype']!r:.80}, not one of {[*DTYPES]}")
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except AnyfwError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise _corrupt(path, f"its header cannot be read: {error!s:.200}") from error
    if end != size:
        raise FileFormatError(
            f"{path}: {'truncated' if size < end else 'corrupt'}: expected {end} bytes, got {size}. {_AGAIN}"
        )
    return dict(header)


def _corrupt(path: StrPath, what: str) -> FileFormatError:
    return FileFormatError(f"{path}: corrupt: {what}. {_AGAIN}")


def _check_version(path: StrPath, text: object) -> None:
    version = int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 10 else 0
    if version > FORMAT:
        raise FileFormatError(
            f"{path}: expected format {FORMAT} or older, got {version}. A newer anyfw wrote it: pip install -U anyfw."
        )
    if version < 1:
        raise _corrupt(path, f"its format version is {text!r:.80}")


def _verified(path: StrPath, tensors: Tensors, texts: Mapping[str, str]) -> dict[str, Any]:
    own = {name: text for name, text in texts.items() if name not in (_VERSION, _CHECKSUMS)}
    found = {
        "tensors": {name: _tensor_sha256(values) for name, values in tensors.items()},
        "metadata": {name: _sha256(text.encode(errors="surrogatepass")) for name, text in own.items()},
    }
    try:
        expected = json.loads(texts[_CHECKSUMS])
        for kind, sums in found.items():
            for name in sorted(sums.keys() | expected[kind].keys()):
                if sums.get(name) != expected[kind].get(name):
                    raise _corrupt(path, f"the checksum of {name!r:.80} ({kind}) does not match")
        return {name: json.loads(text) for name, text in own.items()}
    except AnyfwError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _corrupt(path, f"its metadata cannot be read: {error!s:.200}") from error


def _tensor_sha256(values: NDArray[Any]) -> str:
    # Dtype and shape count: a matrix with its axes swapped has the same bytes.
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return _sha256(f"{values.dtype.name} {list(values.shape)}\n".encode() + little.tobytes())


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
