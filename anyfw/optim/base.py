"""`Optimizer`: what all of them share, so that one of your own is two methods."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import ConfigError, FileFormatError, UnknownNameError
from anyfw.core.parameter import Parameter
from anyfw.ops import update as ops
from anyfw.optim.curves import Constant
from anyfw.optim.schedule import Schedule, build, number
from anyfw.optim.spans import Span, Store

Group = Mapping[str, Any]

_PENALTIES = ("weight_decay", "l1", "l2")
_NO_PENALTY = dict.fromkeys(_PENALTIES, 0.0)


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
        groups: the settings of each group; a change takes effect at the next step.
        steps: the number of steps done.

    Raises:
        ConfigError: no parameters, one twice, or a hyperparameter out of range or unknown.
    """

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
        self._grouped, groups = _as_groups(self._who, parameters)
        self.groups = [self._complete(group) for group in groups]
        members = [parameter for group in self.groups for parameter in group["params"]]
        _check_members(self._who, members)
        self._store = Store(members)
        self._group_of = {parameter: i for i, group in enumerate(self.groups) for parameter in group["params"]}
        self.steps = 0

    @abstractmethod
    def init_state(self, data: Array, /, **options: Any) -> dict[str, Array]:
        """The state arrays, by name, for a flat vector of parameters that has had no update yet."""

    @abstractmethod
    def update(
        self, data: Array, grad: Array, state: dict[str, Array], /, *, lr: float, step: int, **options: Any
    ) -> None:
        """Change data and state in place, and leave grad as it is.

        Args:
            data, grad: flat, of one shape.
            state: as `init_state` gave it, each array in place.
            lr: the learning rate of this step.
            step: 1 at the first update of these parameters.
            options: weight_decay (0 for parameters without decay) and the optimizer's own hyperparameters.
        """

    def check(self, options: dict[str, Any]) -> None:
        """Refuse hyperparameters out of range, and make them Python numbers; a subclass adds its own.

        Raises:
            ConfigError: one is.
        """
        options["lr"] = _as_schedule(self._who, options["lr"])
        for name in _PENALTIES:
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
        self._respan()
        spans, steps = self._store.spans, self.steps
        rates = [schedule(steps) for schedule in self._by_group()]
        for span in spans:
            for parameter in span.members:
                if not parameter._written:
                    parameter.grad  # noqa: B018 - reading it makes it zero
        for span in spans:
            i, decay = span.kind
            group, grad = self.groups[i], span.grad
            if span.settings != group:  # the first step, or somebody has changed them
                self._adopt(span, group, decay)
            if span.penalties is not None:
                grad = ops.penalised(grad, span.data, *span.penalties)
            span.step += 1
            self.update(span.data, grad, span.state, lr=rates[i], step=span.step, **span.options)
        self.steps += 1

    def _adopt(self, span: Span, group: Group, decay: bool) -> None:
        if span.settings is not None:
            # Momentum that is switched on later asks for arrays that are not there yet.
            fresh = self._new_state(span.members[0], span.data)
            span.state = {name: span.state.get(name, array) for name, array in fresh.items()}
        span.settings, span.options, span.penalties = dict(group), *_options(group, decay)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._store.parameters:
            parameter.zero_grad()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, group after group."""
        return self._store.parameters

    def _complete(self, group: Group) -> dict[str, Any]:
        own = _settings(group)
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
        options = _settings(self.groups[self._group_of[parameter]])
        return self.init_state(
            data, **{name: value for name, value in options.items() if name not in ("lr", *_PENALTIES)}
        )

    # The learning rate

    @property
    def lr(self) -> float:
        """The rate of the next step, of the first group. Assigning a number or a schedule sets it for all groups."""
        return float(self._by_group()[0](self.steps))

    @lr.setter
    def lr(self, value: float | Schedule) -> None:
        schedule = _as_schedule(self._who, value)
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
                lr = group["lr"] = _as_schedule(self._who, lr)
            found.append(lr)
        return found

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
        return {
            "step": self.steps,
            "steps": self._store.steps(),
            # By group: one that two groups share here is two where `from_config` rebuilt it.
            "schedule": {str(i): schedule.state_dict() for i, schedule in enumerate(self._by_group())},
            "state": self._store.state_dict(),
        }

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

    def _names(self, parameter: Parameter) -> dict[str, Array]:
        return self._new_state(parameter, namespace(parameter.data).reshape(parameter.data, (-1,))[:0])

    def config(self) -> dict[str, Any]:
        """The JSON-able description for `from_config`: class and hyperparameters; groups by parameter indices."""
        self._by_group()
        # What was set in the only group since is what a rebuilt one shall have.
        settings = self.defaults if self._grouped else _settings(self.groups[0])
        found = {"optimizer": type(self).__name__, **_plain(settings)}
        if self._grouped:
            index = {parameter: i for i, parameter in enumerate(self.parameters)}
            found["groups"] = [
                {"params": [index[p] for p in group["params"]], **_plain(_settings(group))} for group in self.groups
            ]
        return found

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in _plain(self.defaults).items())
        return f"{type(self).__name__}({len(self.parameters)} parameters, {arguments})"

    @property
    def _who(self) -> str:
        return type(self).__name__


def from_config(
    config: Mapping[str, Any],
    parameters: Iterable[Parameter],
    optimizers: Mapping[str, type[Optimizer]],
    schedules: Mapping[str, type[Schedule]],
) -> Optimizer:
    """Rebuild an optimizer, without its state, from the classes that may be built."""
    if not isinstance(config, Mapping) or "optimizer" not in config:
        raise FileFormatError(f"This describes no optimizer: {str(config)[:80]}")
    name = config["optimizer"]
    if not isinstance(name, str) or name not in optimizers:
        raise UnknownNameError("optimizer", name, optimizers)
    members: Any = list(parameters)
    options = _unplain({key: value for key, value in config.items() if key not in ("optimizer", "groups")}, schedules)
    try:
        if "groups" in config:
            members = [
                {**_unplain(_settings(group), schedules), "params": [members[i] for i in group["params"]]}
                for group in config["groups"]
            ]
        return optimizers[name](members, **options)
    except (TypeError, KeyError, IndexError) as error:
        raise FileFormatError(
            f"{name} cannot be rebuilt from this description and these parameters: {error}"
        ) from error


def _as_schedule(who: str, lr: object) -> Schedule:
    return lr if isinstance(lr, Schedule) else Constant(number(who, "lr", lr))


def _as_groups(who: str, parameters: Iterable[Parameter] | Iterable[Group]) -> tuple[bool, list[Group]]:
    if not isinstance(parameters, Iterable):
        raise ConfigError(f"{who}: expected parameters, got {type(parameters).__name__}. Pass net.parameters().")
    items: list[Any] = list(parameters)
    if not any(isinstance(item, Mapping) for item in items):
        return False, [{"params": items}]
    for item in items:
        if not isinstance(item, Mapping) or not isinstance(item.get("params"), Iterable):
            raise ConfigError(f"{who}: expected every group as {{'params': [...], ...}}, got {item!r}.")
    return True, [{**item, "params": list(item["params"])} for item in items]


def _check_members(who: str, members: list[Any]) -> None:
    if not members:
        raise ConfigError(f"{who}: expected parameters, got none. Is the iterator used up, or the net without any?")
    for i, parameter in enumerate(members):
        if not isinstance(parameter, Parameter):
            raise ConfigError(f"{who}: expected parameters, got {type(parameter).__name__}. Pass net.parameters().")
        if parameter in members[:i]:
            raise ConfigError(
                f"{who}: parameter {i} is the same as parameter {members.index(parameter)}. Give each one once."
            )


def _settings(group: Group) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _options(group: Group, decay: bool) -> tuple[dict[str, Any], tuple[float, float] | None]:
    # What `update` takes by name, and (l1, l2) where one of them acts.
    options = {name: value for name, value in group.items() if name not in ("params", "lr")}
    if not decay:
        options.update(_NO_PENALTY)
    l1, l2 = options.pop("l1"), options.pop("l2")
    return options, (l1, l2) if l1 or l2 else None


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in options.items()
    }
    lr = options["lr"]
    return {**found, "lr": lr.lr if type(lr) is Constant else lr.config()}


def _unplain(options: Mapping[str, Any], schedules: Mapping[str, type[Schedule]]) -> dict[str, Any]:
    lr = options.get("lr")
    return {**options, "lr": build(lr, schedules)} if isinstance(lr, Mapping) else dict(options)
