"""CUDA kernels for ops, on contiguous float32 and float64; what they do not cover is the references'.

One file here for each family of ops says how its kernels, in the file of that name in `source/`, are launched. What
runs a launch is given from outside: `launch.py` on a GPU, and in the tests a stand-in that plays one on the CPU.

A training step launches, besides the matrix products, which are cuBLAS's (one for each Linear forward, one for its
weight's gradient, one for its input's but in the first layer): a gather for x and y together, the bias and its gradient
for each Linear, each activation and its gradient, two for the loss, one for the update of each run of parameters, and
CuPy's own copy of the loss into the epoch's. For three layers and two activations that is 14 kernels, 8 products and
a copy.

No kernel has run on a GPU yet: NVRTC compiles them, and their arithmetic is run on the CPU, in the tests.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from anyfw.backends.cupy.kernels import dropout, elementwise, gather, joined, linear, normalize, rows, update
from anyfw.backends.cupy.kernels.run import Launch, Run, Uncovered
from anyfw.backends.cupy.products import Products

_FAMILIES = (elementwise, rows, linear, joined, gather, normalize, dropout, update)


def variants(launch: Launch, products: Products | None = None) -> Mapping[Any, Callable[..., Any]]:
    """The variants of all ops that have a kernel, by op; without `products` they are the array library's own."""
    run = Run(launch, products)
    return {op: _guarded(op, function, run) for family in _FAMILIES for op, function in family.VARIANTS.items()}


def _guarded(op: Any, function: Callable[..., Any], run: Run) -> Callable[..., Any]:
    reference = op.dispatch(object)

    @functools.wraps(reference)
    def variant(*arguments: Any, **options: Any) -> Any:
        try:
            return function(run, *arguments, **options)
        except Uncovered:
            return reference(*arguments, **options)

    variant.__doc__ = function.__doc__
    return variant
