"""`Optimizer`: what all of them share, so that one of your own is two methods."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from numbers import Real
from operator import is_not
from typing import Any

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import ConfigError, UnknownNameError
from anyfw.core.parameter import Parameter, to_host
from anyfw.ops import update as ops
from anyfw.optim.curves import Constant
from anyfw.optim.groups import (
    PENALTIES,
    Group,
    as_groups,
    as_schedule,
    check_members,
    options_of,
    plain,
    settings_of,
)
from anyfw.optim.schedule import Schedule, number
from anyfw.optim.spans import Span, Store, settle

# Settings that no state depends on, and that may change at each step.
_STATELESS = {"lr", *PENALTIES}


class Optimizer(ABC):
    """Changes parameters by their gradients.

    An optimizer of your own hands its hyperparameters to this constructor by keyword and writes `init_state` and
    `update`; both get flat arrays, made of as many parameters as lie side by side, and all hyperparameters by name.

    Args:
        parameters: those to learn, or groups `{"params": [...], "lr": ..., ...}` with settings of their own; frozen
            ones are skipped while they are frozen.
        lr: the learning rate, a number or a `Schedule`.
        weight_decay, l1, l2: act on parameters with `decay` only. The gradient gets l1 * sign(w) + l2 * w; what
            weight decay does is each optimizer's own.
        options: its other hyperparameters.

    Attributes:
        groups: the settings of each group; a change takes effect at the next step. State that no setting asks for any
            longer, as the buffer where momentum is set to 0, is forgotten.
        steps: the number of steps done.
        recordable: of one of your own, as a layer's: whether `update` does the same work at each step but for what
            `rates` gives.

    Raises:
        ConfigError: no parameters, one twice, or a hyperparameter out of range or unknown.
    """

    recordable = False

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[Group],
        lr: float | Schedule,
        *,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
        **options: Any,
    ) -> None:
        self.defaults = {"lr": lr, "weight_decay": weight_decay, "l1": l1, "l2": l2, **options}
        self.check(self.defaults)
        self._grouped, groups = as_groups(self._who, parameters)
        self.groups = [self._complete(group) for group in groups]
        members = [parameter for group in self.groups for parameter in group["params"]]
        check_members(self._who, members)
        self._store = Store(members)
        self._group_of = {parameter: i for i, group in enumerate(self.groups) for parameter in group["params"]}
        self.steps = 0

    @abstractmethod
    def init_state(self, data: Array, /, **options: Any) -> dict[str, Array]:
        """The state arrays, by name, for a flat vector of parameters that has had no update yet."""

    @abstractmethod
    def update(self, data: Array, grad: Array, state: dict[str, Array], /, **options: Any) -> None:
        """Change data and state in place, and leave grad as it is.

        Args:
            data, grad: flat, of one shape.
            state: as `init_state` gave it, each array in place.
            options: what `rates` gave; weight_decay (0 for parameters without decay) and the optimizer's own
                hyperparameters.
        """

    def rates(self, *, lr: float, step: int, **options: Any) -> dict[str, float]:  # noqa: ARG002 - a subclass's
        """What `update` gets by name and changes from step to step; by default the learning rate and the step.

        `update` gets these numbers as they are or, in a recorded step, each as a 0-d array on the device: arithmetic
        must do for both, so what needs more than that, as a power of the step's number, is computed here.

        Args:
            lr: the learning rate of this step.
            step: 1 at the first update of these parameters.
            options: as for `update`.
        """
        return {"lr": lr, "step": step}

    def check(self, options: dict[str, Any]) -> None:
        """Refuse hyperparameters out of range, and make them Python numbers; a subclass adds its own.

        Raises:
            ConfigError: one is.
        """
        options["lr"] = as_schedule(self._who, options["lr"])
        for name in PENALTIES:
            self.number(options, name)

    def number(self, options: dict[str, Any], name: str, below: float = float("inf")) -> None:
        """Make one hyperparameter a float in [0, below).

        Raises:
            ConfigError: it is not one.
        """
        options[name] = number(self._who, name, options[name], below=below)

    # A step

    def step(self) -> None:
        """Update every trainable parameter by its gradient; one that was not written counts as zero."""
        spans, lrs = self._ready(), self._learning_rates(self.steps)
        settle(self.parameters)
        for span in spans:
            span.step += 1
            options, grad = span.options, span.grad
            if span.penalties is not None:
                grad = ops.penalised(grad, span.data, *span.penalties)
            rates = self.rates(lr=lrs[span.kind[0]], step=span.step, **options)
            self.update(span.data, grad, span.state, **rates, **options)
        self.steps += 1

    # A step in a recording

    def ahead(self, steps: int) -> list[list[float]]:
        """The rates of that many coming steps, a row for each, as schedules know them now.

        Raises:
            ConfigError: `rates` gave something else than numbers, or not the same ones for each step.
        """
        spans, rows = self._ready(), list[list[float]]()
        for i in range(steps):
            lrs, row = self._learning_rates(self.steps + i), list[float]()
            for span in spans:
                row += self.rates(lr=lrs[span.kind[0]], step=span.step + 1 + i, **span.options).values()
            if len(row) != len((rows or [row])[0]) or not all(isinstance(value, Real) for value in row):
                raise ConfigError(f"{self._who}.rates: expected the same numbers for each step, got {row}.")
            rows.append(row)
        return rows

    def apply(self, rates: Array) -> None:
        """As `step` by a row of `ahead` that lies on the device, in the parameters' dtype; no step is counted."""
        spans, place = self._ready(), 0
        settle(self.parameters)
        for span in spans:
            named = {}
            for name in self.rates(lr=0.0, step=1, **span.options):
                named[name] = namespace(rates).reshape(rates[place : place + 1], ())
                place += 1
            grad = span.grad
            if span.penalties is not None:
                grad = ops.penalised(grad, span.data, *span.penalties)
            self.update(span.data, grad, span.state, **named, **span.options)
        assert place == rates.shape[0]

    def advance(self) -> None:
        """Count a step."""
        for span in self._store.spans:
            span.step += 1
        self.steps += 1

    def prepare(self) -> None:
        """Make the state that the first step would make."""
        self._ready()

    def go_back(self, steps: int) -> None:
        """Uncount that many steps; state and parameters are the caller's to restore."""
        self._store.go_back(steps)
        self.steps -= steps

    def _ready(self) -> list[Span]:
        self._respan()
        for span in self._store.spans:
            group = self.groups[span.kind[0]]
            # By identity: equal settings in other objects are adopted anew, which changes nothing.
            if span.settings is None or any(map(is_not, group.values(), span.settings.values())):
                self._adopt(span, group)
        return self._store.spans

    def _adopt(self, span: Span, group: Group) -> None:
        checked = dict(group)
        self.check(checked)
        if span.settings is None or any(group[name] is not span.settings[name] for name in group.keys() - _STATELESS):
            span.state = self._fitting(span.state, span.members[0], span.data)
        span.options, span.penalties = options_of(checked, decay=span.kind[1])
        span.settings = dict(group)

    def _fitting(self, state: dict[str, Array], parameter: Parameter, data: Array) -> dict[str, Array]:
        # What was switched on since, as momentum, asks for arrays that are not there yet, what was switched off for
        # none: the state has what a new optimizer of these settings would have.
        if state.keys() == self._names(parameter):
            return state
        return {name: state.get(name, array) for name, array in self._new_state(parameter, data).items()}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._store.parameters:
            parameter.zero_grad()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, group after group."""
        return self._store.parameters

    def _complete(self, group: Group) -> dict[str, Any]:
        own = settings_of(group)
        for name in own:
            if name not in self.defaults:
                raise UnknownNameError(f"setting of a group of {self._who}", name, ("params", *self.defaults))
        complete = {**self.defaults, **own}
        self.check(complete)
        return {"params": tuple(group["params"]), **complete}

    def _respan(self) -> None:
        if not self._store.current():
            self._store.respan(self._kind, lambda span: self._new_state(span.members[0], span.data))

    def _kind(self, parameter: Parameter) -> tuple[int, bool] | None:
        return (self._group_of[parameter], parameter.decay) if parameter.trainable else None

    def _new_state(self, parameter: Parameter, data: Array) -> dict[str, Array]:
        own = settings_of(self.groups[self._group_of[parameter]])
        return self.init_state(data, **{name: value for name, value in own.items() if name not in ("lr", *PENALTIES)})

    # The learning rate

    @property
    def lr(self) -> float:
        """The rate of the next step, of the first group. Assigning a number or a schedule sets it for all groups."""
        return float(self._by_group()[0](self.steps))

    @lr.setter
    def lr(self, value: float | Schedule) -> None:
        schedule = as_schedule(self._who, value)
        self.defaults["lr"] = schedule
        for group in self.groups:
            group["lr"] = schedule

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules of all groups, each once."""
        return tuple({id(schedule): schedule for schedule in self._by_group()}.values())

    def _by_group(self) -> list[Schedule]:
        found: list[Schedule] = []
        for group in self.groups:
            lr = group["lr"]
            # Who assigns to a group gives a number, as anywhere else.
            if type(lr) is not Constant:
                lr = group["lr"] = as_schedule(self._who, lr)
            found.append(lr)
        return found

    def _learning_rates(self, step: int) -> list[float]:
        return [schedule(step) for schedule in self._by_group()]

    def bind(self, *, total_steps: int, epoch_steps: int, start: int | None = None) -> None:
        """Tell all schedules how long the coming fit is; `start` is the steps done before it, by default `steps`."""
        for schedule in self.schedules:
            schedule.bind(
                total_steps=total_steps, epoch_steps=epoch_steps, start=self.steps if start is None else start
            )

    def report(self, value: float) -> None:
        """Tell all schedules the monitored value of the epoch that ended."""
        for schedule in self.schedules:
            schedule.report(value)

    # State and description

    def state_dict(self) -> dict[str, Any]:
        """The whole state: "step", "steps" per parameter and "schedule" are JSON-able; "state" holds host arrays.

        The arrays are named "<index of the parameter>.<name>" and have its shape, so that they fit another backend.
        """
        self._store.refit(self._fitting)
        return {
            "step": self.steps,
            "steps": self._store.steps(),
            # By group: one that two groups share here is two where `from_config` rebuilt it.
            "schedule": {str(i): schedule.state_dict() for i, schedule in enumerate(self._by_group())},
            "state": self._store.state_dict(),
        }

    def state_arrays(self) -> list[Array]:
        """The state's arrays themselves, flat, where they are."""
        return [values for own in self._store.arrays().values() for values in own.values()]

    def state_vectors(self) -> list[Array]:
        """The vectors that these are parts of: each is of all parameters that lie side by side."""
        return self._store.vectors()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; nothing is changed where it does not fit.

        Raises:
            ConfigError: it is of other parameters, another optimizer or other schedules.
            ShapeError: an array of another shape.
        """
        if not {"step", "schedule", "state"} <= state.keys():
            raise ConfigError(f"{self._who}: this is no state of an optimizer; it has {sorted(state)}.")
        saved, own = state["schedule"], self._by_group()
        if saved.keys() != {str(i) for i in range(len(own))}:
            raise ConfigError(f"{self._who}: this state is of {len(saved)} groups, expected {len(own)}.")
        before = [schedule.state_dict() for schedule in own]
        try:
            for i, schedule in enumerate(own):
                schedule.load_state_dict(saved[str(i)])
            steps = state.get("steps", [state["step"]] * len(self.parameters))
            self._store.load_state_dict(state["state"], steps, self._names)
        except Exception:
            for schedule, old in zip(own, before, strict=True):
                schedule.load_state_dict(old)
            raise
        self.steps = int(state["step"])

    def _names(self, parameter: Parameter) -> Collection[str]:
        # One that has no values yet will have as many arrays.
        data = parameter.data if parameter.drawn else to_host(())
        return self._new_state(parameter, namespace(data).reshape(data, (-1,))[:0]).keys()

    def config(self) -> dict[str, Any]:
        """The JSON-able description for `from_config`: class and hyperparameters; groups by parameter indices."""
        self._by_group()
        # What was set in the only group since is what a rebuilt one shall have.
        settings = self.defaults if self._grouped else settings_of(self.groups[0])
        found = {"optimizer": type(self).__name__, **plain(settings)}
        if self._grouped:
            index = {parameter: i for i, parameter in enumerate(self.parameters)}
            found["groups"] = [
                {"params": [index[p] for p in group["params"]], **plain(settings_of(group))} for group in self.groups
            ]
        return found

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in plain(self.defaults).items())
        return f"{type(self).__name__}({len(self.parameters)} parameters, {arguments})"

    @property
    def _who(self) -> str:
        return type(self).__name__
