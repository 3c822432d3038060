"""Where a net is: its first use names its layers, draws and packs its parameters, and then each input is checked.

These functions are the inside of `Layer`; a net is any layer that is entered from outside.
"""

import threading
from typing import TYPE_CHECKING

from anyfw.core.arrays import Array, dtype_name, is_floating
from anyfw.core.backend import Backend, backend_of, get_backend
from anyfw.core.errors import PlacementError
from anyfw.core.parameter import Buffer, pack
from anyfw.core.shared import Shared

if TYPE_CHECKING:
    from anyfw.core.layer import Layer

# Held while a net is named or placed: two threads may use it first at one time.
lock = threading.RLock()


def bind(net: "Layer") -> Shared:
    """Name every layer by its path and make them share one record, with this net as the outermost."""
    shared = net._shared if net._shared and not net._inner else Shared()
    for path, layer in net.named_layers():
        # `_shared` last: a thread that sees it must find the rest in place.
        layer._inner, layer._path, layer._shared = layer is not net, join("net", path), shared
    return shared


def place(net: "Layer", backend: Backend | None, dtype: str | None) -> None:
    """Draw what has no values, and pack all in one vector; None is where and what the net is, or the default."""
    shared = net._shared
    assert shared is not None
    placed = next((p for p in net.parameters() if p.pack is not None), None)
    if placed is not None and placed.pack is not None:
        backend, dtype = backend or placed.pack.backend, dtype or placed.pack.dtype
    backend, dtype = backend or shared.backend or get_backend(), dtype or shared.dtype or "float32"
    backend.dtype(dtype)
    for path, stored in net.named_stored():
        if not stored.drawn:
            stored.draw(shared.seed, "init", path)
    pack(net.parameters(), backend, dtype)
    for _, stored in net.named_stored():
        if isinstance(stored, Buffer):
            stored.place(backend, dtype)
    shared.rewind(shared.forwards)
    shared.joins = backend.joins
    # The backend last: a thread that sees it takes the net for placed.
    shared.dtype = dtype
    shared.backend = backend


def enter(net: "Layer", x: Array, train: bool) -> None:
    """Check the input of a forward pass, and count the pass if it is one in training; the first use places the net.

    Raises:
        PlacementError: x is elsewhere than the net, or of another dtype.
    """
    shared = net._shared
    # Without a backend another thread is just placing the net: wait for it.
    if shared is None or shared.backend is None:
        shared = _first_shared(net, x)
    backend, dtype = shared.backend, shared.dtype
    # The batches of a net are alike: what was checked once is recognised.
    try:
        kind = backend, dtype, type(x), x.dtype, x.device
    except AttributeError:
        kind = None
    if kind is None or kind != shared.accepted:
        assert backend is not None
        assert dtype is not None
        _check(net, x, backend, dtype)
        shared.accepted = kind
    if train:
        shared.advance()


def join(path: str, name: str) -> str:
    """The path of what has this name in what has that path."""
    return f"{path}.{name}" if path and name else path or name


def _first_shared(net: "Layer", x: Array) -> Shared:
    with lock:
        # Bound and not placed: drawn only, or its first placement failed.
        if net._shared is None or net._shared.backend is None:
            bind(net)
            # A net that nobody placed computes in the dtype of its first input, on the default backend;
            # one without parameters follows its input.
            backend = None if any(True for _ in net.named_stored()) else backend_of(x)
            dtype = dtype_name(x) if hasattr(x, "dtype") else None
            place(net, backend, dtype if dtype in ("float32", "float64") else None)
    assert net._shared is not None
    return net._shared


def _check(net: "Layer", x: Array, backend: Backend, dtype: str) -> None:
    if not backend.owns(x):
        there = backend_of(x)
        raise PlacementError(
            f"{net.who}: expected an array of {backend.spec}, got {type(x).__module__}.{type(x).__name__}"
            f"{f' on {there.spec}' if there else ''}. Use net.backend.asarray(x) or net.to(...)."
        )
    if is_floating(x) and dtype_name(x) != dtype:
        raise PlacementError(f"{net.who}: expected {dtype}, got {dtype_name(x)}. Cast the input, or net.to(dtype=...).")
