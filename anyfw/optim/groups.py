"""Groups: the settings of an optimiser's parameters, as users give them and as files keep them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from anyfw.core.errors import ConfigError, FileFormatError, UnknownNameError
from anyfw.core.parameter import Parameter
from anyfw.optim.curves import Constant
from anyfw.optim.schedule import Schedule, build, number

if TYPE_CHECKING:
    from anyfw.optim.base import Optimizer

Group = Mapping[str, Any]

PENALTIES = ("weight_decay", "l1", "l2")
_NO_PENALTY = dict.fromkeys(PENALTIES, 0.0)


def as_schedule(who: str, lr: object) -> Schedule:
    """A schedule as it is, a number as a constant one."""
    return lr if isinstance(lr, Schedule) else Constant(number(who, "lr", lr))


def as_groups(who: str, parameters: Iterable[Parameter] | Iterable[Group]) -> tuple[bool, list[Group]]:
    """Whether these are groups, and the groups: parameters alone make one."""
    if not isinstance(parameters, Iterable):
        raise ConfigError(f"{who}: expected parameters, got {type(parameters).__name__}. Pass net.parameters().")
    items: list[Any] = list(parameters)
    if not any(isinstance(item, Mapping) for item in items):
        return False, [{"params": items}]
    for item in items:
        if not isinstance(item, Mapping) or not isinstance(item.get("params"), Iterable):
            raise ConfigError(f"{who}: expected every group as {{'params': [...], ...}}, got {item!r}.")
    return True, [{**item, "params": list(item["params"])} for item in items]


def check_members(who: str, members: list[Any]) -> None:
    """Refuse what are no parameters, none at all, and one that is given twice."""
    if not members:
        raise ConfigError(f"{who}: expected parameters, got none. Is the iterator used up, or the net without any?")
    for i, parameter in enumerate(members):
        if not isinstance(parameter, Parameter):
            raise ConfigError(f"{who}: expected parameters, got {type(parameter).__name__}. Pass net.parameters().")
        if parameter in members[:i]:
            raise ConfigError(
                f"{who}: parameter {i} is the same as parameter {members.index(parameter)}. Give each one once."
            )


def settings_of(group: Group) -> dict[str, Any]:
    """The group without its parameters."""
    return {name: value for name, value in group.items() if name != "params"}


def options_of(group: Group, decay: bool) -> tuple[dict[str, Any], tuple[float, float] | None]:
    """What `update` takes by name, and (l1, l2) where one of them acts."""
    found = {name: value for name, value in group.items() if name not in ("params", "lr")}
    if not decay:
        found.update(_NO_PENALTY)
    l1, l2 = found.pop("l1"), found.pop("l2")
    return found, (l1, l2) if l1 or l2 else None


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able settings."""
    found: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    lr = given["lr"]
    return {**found, "lr": lr.lr if type(lr) is Constant else lr.config()}


def unplain(given: Mapping[str, Any], schedules: Mapping[str, type[Schedule]]) -> dict[str, Any]:
    """Settings of JSON-able ones; a schedule may be of these classes."""
    lr = given.get("lr")
    return {**given, "lr": build(lr, schedules)} if isinstance(lr, Mapping) else dict(given)


def build_optimizer(
    config: Mapping[str, Any],
    parameters: Iterable[Parameter],
    optimizers: "Mapping[str, type[Optimizer]]",
    schedules: Mapping[str, type[Schedule]],
) -> "Optimizer":
    """Rebuild an optimizer, without its state, from the classes that may be built."""
    if not isinstance(config, Mapping) or "optimizer" not in config:
        raise FileFormatError(f"This describes no optimizer: {str(config)[:80]}")
    name = config["optimizer"]
    if not isinstance(name, str) or name not in optimizers:
        raise UnknownNameError("optimizer", name, optimizers)
    members: Any = list(parameters)
    options = unplain({key: value for key, value in config.items() if key not in ("optimizer", "groups")}, schedules)
    try:
        if "groups" in config:
            members = [
                {**unplain(settings_of(group), schedules), "params": [members[i] for i in group["params"]]}
                for group in config["groups"]
            ]
        return optimizers[name](members, **options)
    except (TypeError, KeyError, IndexError) as error:
        raise FileFormatError(
            f"{name} cannot be rebuilt from this description and these parameters: {error}"
        ) from error
