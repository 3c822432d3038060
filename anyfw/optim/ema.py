"""An exponential moving average of the weights."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from anyfw.core.arrays import Array
from anyfw.core.errors import ConfigError
from anyfw.core.parameter import Parameter, moved
from anyfw.ops import update as ops
from anyfw.optim.schedule import number
from anyfw.optim.spans import Store


class EMA:
    """average = decay * average + (1 - decay) * weights; the first update takes the weights as they are.

    Buffers, such as running means, are not averaged.

    Args:
        parameters: those to average; frozen ones too.
        decay: how much of the average stays at each update, in [0, 1).

    Raises:
        ConfigError: no parameters, or decay out of range.

    Source: Polyak and Juditsky, SIAM J. Control Optim. 30(4), 1992.
    """

    def __init__(self, parameters: Iterable[Parameter], decay: float = 0.999) -> None:
        self.decay = number("EMA", "decay", decay, below=1.0)
        self.updates = 0
        members = list(dict.fromkeys(parameters))
        if not members:
            raise ConfigError("EMA: expected parameters, got none. Pass net.parameters().")
        self._store = Store(members)

    def update(self) -> None:
        """Take the present weights into the average; call it after each step of the optimizer."""
        self._respan()
        for span in self._store.spans:
            average = span.state["average"]
            if self.updates:
                ops.average_(average, span.data, decay=self.decay)
            else:
                average[...] = span.data
            span.step += 1
        self.updates += 1

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within the block the parameters hold their averages; then, to the bit, their own values again."""
        self._respan()
        kept: list[tuple[Parameter, Array]] = []
        for span in self._store.spans:
            own = span.data + 0.0
            kept += [(parameter, span.part(own, parameter)) for parameter in span.members]
            if self.updates:
                span.data[...] = span.state["average"]
        try:
            yield
        finally:
            for parameter, values in kept:
                # Looked up now: the block may have moved the net.
                owner = parameter.pack
                assert owner is not None
                place = owner.data[parameter.start : parameter.start + parameter.size]
                place[...] = moved(values, owner.backend, owner.dtype)

    def state_dict(self) -> dict[str, Any]:
        """ "updates" is JSON-able; "state" holds the averages as host arrays, named "<index>.average"."""
        return {"updates": self.updates, "state": self._store.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; nothing is changed where it does not fit.

        Raises:
            ConfigError: it is of other parameters.
            ShapeError: an average of another shape.
        """
        if not {"updates", "state"} <= state.keys():
            raise ConfigError(f"EMA: this is no state of an average; it has {sorted(state)}.")
        updates = int(state["updates"])
        steps = [updates] * len(self._store.parameters)
        self._store.load_state_dict(state["state"], steps, lambda _: ("average",))
        self.updates = updates

    def _respan(self) -> None:
        if not self._store.current():
            self._store.respan(lambda _: True, lambda span: {"average": span.data + 0.0})
