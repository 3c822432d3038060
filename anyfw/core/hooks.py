"""Watching layers at work: an instance's method is replaced for a while, its class is never touched."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from anyfw.core.layer import Layer

Method = Callable[..., Any]

# Two threads that watch the same layers would otherwise put each other's wrappers back.
_one_at_a_time = threading.RLock()


@contextmanager
def watched(layers: Sequence[Layer], wrap: Mapping[str, Callable[[Layer, Method], Method]]) -> Iterator[None]:
    """Within the block, each layer's methods named in `wrap` are replaced by `wrap[name](layer, method)`.

    Only the thread that entered the block meets the replacements, so that others may use the net meanwhile.
    """
    thread = threading.get_ident()
    unique = list({id(layer): layer for layer in layers}.values())
    with _one_at_a_time:
        before = [(layer, name, vars(layer).get(name)) for layer in unique for name in wrap]
        try:
            for layer, name, _ in before:
                method = getattr(layer, name)
                vars(layer)[name] = _only_in(thread, method, wrap[name](layer, method))
            yield
        finally:
            for layer, name, own in before:
                if own is None:
                    vars(layer).pop(name, None)
                else:
                    vars(layer)[name] = own


def _only_in(thread: int, method: Method, watching: Method) -> Method:
    def call(*args: Any, **kwargs: Any) -> Any:
        return (watching if threading.get_ident() == thread else method)(*args, **kwargs)

    return call
