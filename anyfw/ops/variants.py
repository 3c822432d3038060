"""The loader: faster implementations of ops take their places, by the type of the first array."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from anyfw.core.errors import ConfigError

Variants = Mapping[Any, Callable[..., Any]]

_CHOICES = ("0", "plain", "1")


def fused() -> str:
    """What ANYFW_FUSED chooses: "0" the references alone, "plain" no compiled kernels, "1" all that work here.

    Raises:
        ConfigError: another value.
    """
    value = os.environ.get("ANYFW_FUSED", "").strip() or "1"
    if value not in _CHOICES:
        raise ConfigError(f"ANYFW_FUSED: expected one of {', '.join(_CHOICES)}, got {value!r}.")
    return value


def register(array_type: type, variants: Variants) -> None:
    """Let each op run its variant on arrays of this type; what a variant leaves out it gives to the reference."""
    for op, variant in variants.items():
        op.register(array_type, variant)
