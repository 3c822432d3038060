"""CUDA kernels for ops, on contiguous float32 and float64; what they do not cover is the references'.

One file here for each family of ops says how its kernels, in the file of that name in `source/`, are launched. What
runs a launch is given from outside: `launch.py` on a GPU, and in the tests a stand-in that plays one on the CPU.

A training step of three Linear layers and two activations launches 8 products, cuBLASLt's: one for each layer forward,
with the bias in it, one for each weight's gradient, with the bias's in it, and one for each input's but the first's.
Besides, 8 kernels: one gathers inputs and targets, two are the loss, one is the update, and each activation has one and
its gradient another. Where these two are joined to the products, see `anyfw/nn/joined.py`, 4 kernels are left. CuPy
copies the loss into the epoch's; a recorded step writes it by a kernel, and gathers its rates by another.

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
