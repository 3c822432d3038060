"""An optimizer's state by the names of parameters, so that it outlives other groups, rates and a pickle."""

from typing import Any

from anyfw.core.layer import Layer
from anyfw.optim import Optimizer

State = dict[str, Any]


def saved(optimizer: Optimizer, net: Layer) -> State:
    """The state as host arrays and JSON-able values; "steps" and "arrays" are by the parameter's path in the net."""
    state, paths = optimizer.state_dict(), _paths(optimizer, net)
    arrays: dict[str, dict[str, Any]] = {}
    for key, array in state["state"].items():
        index, _, name = key.partition(".")
        arrays.setdefault(paths[int(index)], {})[name] = array
    return {
        "kind": type(optimizer).__name__,
        "step": state["step"],
        "steps": dict(zip(paths, state["steps"], strict=True)),
        "schedule": state["schedule"],
        "arrays": arrays,
    }


def load(optimizer: Optimizer, net: Layer, state: State) -> None:
    """Take over what `saved` gave, where it is of the same kind of optimizer; another kind starts anew.

    What the new settings ask for and the old ones did not, as momentum, is as in a new optimizer.
    """
    if state["kind"] != type(optimizer).__name__:
        return
    optimizer.prepare()
    fresh, paths, arrays = optimizer.state_dict(), _paths(optimizer, net), {}
    for key, array in fresh["state"].items():
        index, _, name = key.partition(".")
        arrays[key] = state["arrays"].get(paths[int(index)], {}).get(name, array)
    drawn = {key.partition(".")[0] for key in arrays}
    for index, path in enumerate(paths):
        if str(index) not in drawn:  # frozen at present
            arrays |= {f"{index}.{name}": array for name, array in state["arrays"].get(path, {}).items()}
    optimizer.load_state_dict(
        {
            "step": state["step"],
            "steps": [state["steps"].get(path, 0) for path in paths],
            "schedule": state["schedule"] if _alike(state["schedule"], fresh["schedule"]) else fresh["schedule"],
            "state": arrays,
        }
    )


def _paths(optimizer: Optimizer, net: Layer) -> list[str]:
    by_parameter = {parameter: path for path, parameter in net.named_parameters()}
    return [by_parameter[parameter] for parameter in optimizer.parameters]


def _alike(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(one[i].keys() == other[i].keys() for i in one)
