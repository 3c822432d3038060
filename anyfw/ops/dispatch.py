"""`op`: a function that may have a faster variant for some type of array."""

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Op(Protocol[P, R_co]):
    """What `op` makes of a reference."""

    __name__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the variant for the type of the first argument, or the reference."""

    def register(self, kind: type, variant: Callable[..., Any], /) -> None:
        """Let arrays of this type, and of its subclasses, be served by a variant with the reference's signature."""

    def dispatch(self, kind: type, /) -> Callable[..., R_co]:
        """What serves arrays of this type; the reference is that of `object`."""


def op(reference: Callable[P, R_co]) -> Op[P, R_co]:
    """Dispatch on the type of the first argument, as `functools.singledispatch`, which is too slow to be called often.

    A net of tiny layers spends its time on calls: singledispatch takes 0.4 microseconds of each, this 0.1. It finds the
    variant of a type by singledispatch once, and then by one look-up, from a function made with the reference's own
    signature: passing on `*args, **kwargs` would cost as much as all the rest.
    """
    slow = functools.singledispatch(reference)
    found = _Found(slow.dispatch)
    forward: Any = _forwarder(reference, found)

    def register(kind: type, variant: Callable[..., Any], /) -> None:
        with found.lock:
            slow.register(kind, variant)
            found.clear()

    forward.register, forward.dispatch = register, slow.dispatch
    return forward  # type: ignore[no-any-return]


class _Found(dict[type, Callable[..., Any]]):
    def __init__(self, find: Callable[[type], Callable[..., Any]]) -> None:
        super().__init__()
        self.find = find
        # A thread that has found the reference must not keep it here after another has registered a variant.
        self.lock = threading.Lock()

    def __missing__(self, kind: type) -> Callable[..., Any]:
        with self.lock:
            return self.setdefault(kind, self.find(kind))


def _forwarder(reference: Callable[..., Any], found: _Found) -> Callable[..., Any]:
    # As `dataclasses` does it: the text of a function, here `lambda x, /, weight: found[type(x)](x, weight)`.
    parameters = inspect.signature(reference).parameters.values()
    bare = [p.replace(annotation=p.empty, default=p.empty) for p in parameters]
    passed = ", ".join(f"{p.name}={p.name}" if p.kind is p.KEYWORD_ONLY else p.name for p in bare)
    text = f"lambda {str(inspect.Signature(bare))[1:-1]}: found[type({bare[0].name})]({passed})"
    forward: Any = eval(text, {"found": found})
    forward.__defaults__, forward.__kwdefaults__ = reference.__defaults__, reference.__kwdefaults__
    return functools.update_wrapper(forward, reference)
