"""Parameters that lie side by side in a pack, so that one pass over flat arrays serves them all."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from anyfw.core.arrays import Array, dtype_name, is_floating, namespace
from anyfw.core.backend import Backend, backend_of
from anyfw.core.errors import ConfigError, PlacementError, ShapeError, UnknownNameError
from anyfw.core.parameter import Pack, Parameter, aligned, moved, pack, to_host

Kind = Callable[[Parameter], Hashable]


class Span:
    """Neighbours in one pack, with the padding between them.

    Attributes:
        members: the parameters, in the order of the pack.
        kind: what they have in common.
        step: how many updates they have had.
        state: flat arrays like `data`, by name.
        settings, options, penalties: an optimizer's: a group's settings, and what it has made of them.
    """

    def __init__(self, members: Sequence[Parameter], kind: Any) -> None:
        owner = members[0].pack
        assert owner is not None
        self.pack: Pack = owner
        self.members = tuple(members)
        self.kind = kind
        self.start = members[0].start
        self.stop = members[-1].start + aligned(members[-1].size)
        self.step = 0
        self.state: dict[str, Array] = {}
        self.settings: Mapping[str, Any] | None = None
        self.options: dict[str, Any] = {}
        self.penalties: tuple[float, float] | None = None

    @cached_property
    def data(self) -> Array:
        """The values, shape (stop - start,)."""
        return self.pack.data[self.start : self.stop]

    @cached_property
    def grad(self) -> Array:
        """The gradients, zero in the padding; made with the first use, so that an average does not cost them."""
        return self.pack.grad[self.start : self.stop]

    def part(self, vector: Array, parameter: Parameter) -> Array:
        """The parameter's part of a vector like `data`; it stays right when the parameter has moved elsewhere."""
        start = self.pack.starts[id(parameter)] - self.start
        return vector[start : start + parameter.size]


def find_spans(parameters: Iterable[Parameter], kind: Kind) -> list[Span]:
    """Merge packed parameters into the longest spans of one kind; those of kind None are left out."""
    packs: dict[Pack, list[tuple[Parameter, Hashable]]] = {}
    for parameter in parameters:
        own = kind(parameter)
        if own is not None and parameter.pack is not None:
            packs.setdefault(parameter.pack, []).append((parameter, own))
    spans: list[Span] = []
    for members in packs.values():
        run: list[Parameter] = []
        stop, common = -1, None
        for parameter, own in sorted(members, key=lambda member: member[0].start):
            if run and (parameter.start != stop or own != common):
                spans.append(Span(run, common))
                run = []
            run.append(parameter)
            stop, common = parameter.start + aligned(parameter.size), own
        spans.append(Span(run, common))
    return spans


def gather(parameters: Sequence[Parameter]) -> None:
    """Pack loose parameters together: those in no pack, or alone in one.

    Raises:
        UndrawnError: one has no values yet.
        PlacementError: one holds no floating-point numbers.
    """
    loose: dict[tuple[Backend | None, str], list[Parameter]] = {}
    for i, parameter in enumerate(parameters):
        if not is_floating(parameter.data):
            raise PlacementError(
                f"Parameter {i} holds {dtype_name(parameter.data)}, which cannot be learnt. Assign floats."
            )
        if parameter.pack is None or len(parameter.pack.members) == 1:
            loose.setdefault((backend_of(parameter.data), dtype_name(parameter.data)), []).append(parameter)
    for (backend, dtype), members in loose.items():
        pack(members, backend, dtype)


def flat_gradients(parameters: Iterable[Parameter]) -> list[Array]:
    """The gradients of the trainable parameters as few flat views; what was not written is zero.

    Raises:
        ConfigError: no parameters.
        PlacementError: they are on several backends or of several dtypes.
    """
    members = list(dict.fromkeys(parameters))
    if not members:
        raise ConfigError("Expected parameters to clip, got none. Pass net.parameters().")
    gather(members)
    settle(members)
    if len({(p.pack.backend, p.pack.dtype) for p in members if p.pack is not None}) > 1:
        raise PlacementError("One norm cannot be taken over several backends or dtypes. Move the nets together first.")
    return [span.grad for span in find_spans(members, lambda p: p.trainable or None)]


def settle(parameters: Iterable[Parameter]) -> None:
    """Make the gradient of each trainable parameter that no backward has written zero."""
    for parameter in parameters:
        if not parameter._written and parameter.trainable:
            parameter.grad  # noqa: B018 - reading it makes it zero


class Store:
    """Flat arrays beside spans of parameters; they follow their parameters to new spans, packs and backends.

    Attributes:
        parameters: in the order of definition, by which saved arrays are named.
        spans: those of now.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.spans: list[Span] = []
        self._waiting: dict[Parameter, dict[str, Array]] = {}
        self._steps: dict[Parameter, int] = {}
        self._seen: list[tuple[Pack, int]] = []

    def current(self) -> bool:
        """Whether every parameter still lies where the spans say, with the flags it had."""
        for owner, changes in self._seen:
            if owner.changes != changes:
                return False
        return bool(self._seen)

    def respan(self, kind: Kind, init: Callable[[Span], dict[str, Array]]) -> None:
        """Find the spans anew; each parameter keeps its arrays and its number of steps, frozen ones meanwhile too."""
        self._release()
        gather(self.parameters)
        for span in find_spans(self.parameters, self._with_step(kind)):
            span.kind, span.step = span.kind
            span.state = init(span)
            for parameter in span.members:
                carried = self._waiting.get(parameter, {})
                for name in carried.keys() & span.state.keys():
                    part = span.part(span.state[name], parameter)
                    part[...] = moved(carried[name], span.pack.backend, span.pack.dtype)
            self.spans.append(span)
        for span in self.spans:
            for parameter in span.members:
                self._waiting.pop(parameter, None)
        # What waits must not be a view that keeps the whole vector it was part of.
        self._waiting = {p: {name: x + 0 for name, x in arrays.items()} for p, arrays in self._waiting.items()}
        self._seen = [(owner, owner.changes) for owner in {p.pack for p in self.parameters} if owner is not None]

    def refit(self, fitting: Callable[[dict[str, Array], Parameter, Array], dict[str, Array]]) -> None:
        """Change the arrays to what `fitting` makes of them, a parameter that has them, and its data, flat."""
        for span in self.spans:
            span.state = fitting(span.state, span.members[0], span.data)
        for parameter, arrays in self._waiting.items():
            if parameter.drawn:
                flat = namespace(parameter.data).reshape(parameter.data, (-1,))
                self._waiting[parameter] = fitting(arrays, parameter, flat)

    def arrays(self) -> dict[Parameter, dict[str, Array]]:
        """Each parameter's arrays by name, flat; views where it is in a span."""
        found = dict(self._waiting)
        for span in self.spans:
            for parameter in span.members:
                found[parameter] = {name: span.part(vector, parameter) for name, vector in span.state.items()}
        return found

    def go_back(self, steps: int) -> None:
        """Uncount that many updates of the parameters that are in spans."""
        for span in self.spans:
            span.step -= steps

    def vectors(self) -> list[Array]:
        """The arrays themselves, each for a whole span; those that wait, of one parameter."""
        return [values for own in (*self._waiting.values(), *(s.state for s in self.spans)) for values in own.values()]

    def steps(self) -> list[int]:
        """How many updates each parameter has had."""
        now = {parameter: span.step for span in self.spans for parameter in span.members}
        return [now.get(parameter, self.step_of(parameter)) for parameter in self.parameters]

    def step_of(self, parameter: Parameter) -> int:
        """How many updates the parameter had had when the spans were found."""
        return self._steps.get(parameter, 0)

    def state_dict(self) -> dict[str, Array]:
        """Host copies, in the parameters' shapes, named "<index>.<name>"."""
        arrays = self.arrays()
        return {
            f"{i}.{name}": to_host(values).reshape(parameter.shape).copy()
            for i, parameter in enumerate(self.parameters)
            for name, values in arrays.get(parameter, {}).items()
        }

    def load_state_dict(
        self, state: Mapping[str, Any], steps: Sequence[int], names: Callable[[Parameter], Collection[str]]
    ) -> None:
        """Take over saved arrays; they are moved at the next step. Nothing is changed where one does not fit.

        Args:
            state: as `state_dict` gave it.
            steps: the updates each parameter has had.
            names: which arrays a parameter must have, once it has had an update.

        Raises:
            ConfigError: names that do not belong here, or a parameter with some of its arrays only.
            ShapeError: values of another shape.
        """
        if len(steps) != len(self.parameters):
            raise ConfigError(f"This state is of {len(steps)} parameters, here are {len(self.parameters)}.")
        waiting: dict[Parameter, dict[str, Array]] = {}
        for key, value in state.items():
            index, _, name = key.partition(".")
            if not index.isdecimal() or int(index) >= len(self.parameters):
                raise UnknownNameError("optimizer state", key, map(str, range(len(self.parameters))))
            parameter = self.parameters[int(index)]
            host = to_host(value)
            if host.shape != parameter.shape:
                raise ShapeError(f"'{key}': expected shape {parameter.shape}, got {host.shape}.")
            waiting.setdefault(parameter, {})[name] = host.reshape(-1).copy()
        for parameter, step in zip(self.parameters, steps, strict=True):
            if step or parameter in waiting:
                _check_names(waiting.get(parameter, {}), names(parameter))
        self.spans, self._seen, self._waiting = [], [], waiting
        self._steps = dict(zip(self.parameters, map(int, steps), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        # A copy stands alone, as a copied Parameter does: it finds its spans anew.
        arrays = {p: {name: x + 0 for name, x in found.items()} for p, found in self.arrays().items()}
        steps = dict(zip(self.parameters, self.steps(), strict=True))
        return {"parameters": self.parameters, "spans": [], "_waiting": arrays, "_steps": steps, "_seen": []}

    def _release(self) -> None:
        self._waiting = self.arrays()
        self._steps = dict(zip(self.parameters, self.steps(), strict=True))
        self.spans, self._seen = [], []

    def _with_step(self, kind: Kind) -> Kind:
        def both(parameter: Parameter) -> Hashable:
            own = kind(parameter)
            return None if own is None else (own, self.step_of(parameter))

        return both


def _check_names(found: Mapping[str, Array], expected: Collection[str]) -> None:
    if found.keys() != set(expected):
        raise ConfigError(
            f"This state has {sorted(found) or 'no arrays'} for a parameter, expected {sorted(expected) or 'none'}. "
            "Is it another optimizer's, or were its options others?"
        )
