"""Compiled variants of ops, loaded over `kernels.VARIANTS` where numba is installed (the extra `fast`)."""

from collections.abc import Callable
from typing import Any

from anyfw.backends.numpy.compiled import dropout, elementwise, linear, normalize, rows, update

VARIANTS: dict[Any, Callable[..., Any]] = {
    op: variant
    for family in (linear, elementwise, rows, normalize, dropout, update)
    for op, variant in family.VARIANTS.items()
}
