"""Values that JSON can express."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from anyfw.core.errors import ConfigError


def plain(value: Any, where: str, *, finite: bool = False) -> Any:
    """The value as JSON has it: tuples become lists, NumPy's numbers Python's.

    Args:
        value: text, numbers, arrays of these, lists or dicts.
        where: its name, for messages.
        finite: whether NaN and infinities become None.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) or not finite else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{where}: expected text as keys, got {key!r}. JSON has no others: use str(key).")
        return {key: plain(item, f"{where}.{key}", finite=finite) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]", finite=finite) for i, item in enumerate(value)]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufU":
        return plain(value.tolist(), where, finite=finite)
    raise ConfigError(f"{where}: expected text, numbers, lists or dicts, got {type(value).__name__} {value!r:.80}.")
