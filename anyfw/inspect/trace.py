"""`trace`: one forward and one backward pass of a small net, with every number and the formula that gave it."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyfw import nn
from anyfw.core.arrays import Array, is_floating
from anyfw.core.backend import get_backend
from anyfw.core.errors import ConfigError
from anyfw.core.hooks import watched
from anyfw.core.layer import Layer
from anyfw.core.parameter import to_host
from anyfw.inspect.recorder import HostArray, Loss, Recorder, Step

_LEGEND = (
    "@ is the matrix product, * goes element by element, .T transposes; rows are samples.",
    "y[k] is the output of layer k; delta[k] is the gradient of the loss L by y[k].",
)


@dataclass(frozen=True)
class Trace:
    """What happened in the passes; `str()` lets one follow them by hand.

    Attributes:
        steps: in the order in which they happened.
        loss: its value.
        outputs: y of each layer by path.
        deltas: the gradient of the loss by each layer's output, by path.
        gradients: those by the parameters, by path; over all uses of a shared one.
    """

    steps: tuple[Step, ...]
    loss: float
    outputs: dict[str, HostArray]
    deltas: dict[str, HostArray]
    gradients: dict[str, HostArray]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with all digits; what is not finite becomes None."""
        return {
            "loss": _plain(self.loss),
            "steps": [{**vars(step), "value": _plain(step.value.tolist())} for step in self.steps],
            "outputs": {path: _plain(value.tolist()) for path, value in self.outputs.items()},
            "deltas": {path: _plain(value.tolist()) for path, value in self.deltas.items()},
            "gradients": {path: _plain(value.tolist()) for path, value in self.gradients.items()},
        }

    def __str__(self) -> str:
        lines = list(_LEGEND)
        place: tuple[str, str, str] | None = None
        for step in self.steps:
            if place is None or place[0] != step.phase:
                lines += ["", step.phase.upper()]
            if place != (step.phase, step.path, step.kind) and step.kind:
                lines.append(f"{step.path} {step.kind}".strip())
            place = (step.phase, step.path, step.kind)
            lines.append(f"  {step.name} = {step.formula}" if step.formula else f"  {step.name}")
            lines += [f"      {line}" for line in _numbers(step.value).splitlines()]
        return "\n".join(lines)


def trace(net: Layer, loss: Loss, x: Any, y: Any) -> Trace:
    """Run one training step's forward and backward passes on a copy of the net; the net stays as it was.

    A net that was not drawn is drawn with seed 0, as at its first use, in the dtype of x (float64 where x is no
    floating array).

    Args:
        net: a small one: every number is kept.
        loss: of `anyfw.losses`, or any function of (output, target) that gives (value, dy).
        x, y: inputs and targets of a batch; arrays of any backend, or lists.

    Raises:
        ShapeError, PlacementError: they do not fit the net or the loss.
    """
    runner = copy.deepcopy(net)
    host_x, host_y = np.asarray(to_host(x)), np.asarray(to_host(y))
    if host_x.dtype == object or host_y.dtype == object:
        raise ConfigError("trace: expected x and y of numbers, got object arrays. Are the rows of one length?")
    if runner._shared is None or runner._shared.backend is None:
        backend = get_backend()
        wanted = str(host_x.dtype) if host_x.dtype.kind == "f" else "float64"
        runner.to(backend, "float32" if wanted != "float64" or not backend.has_float64 else "float64")
    runner.zero_grad()
    floats = runner.dtype
    x = runner.backend.asarray(host_x, floats if host_x.dtype.kind == "f" else None)
    recorder = Recorder(runner)
    recorder.add("forward", "", "", "x", "the input", x)
    recorder.name(x, "x")
    layers = [layer for _, layer in runner.named_layers()]
    watching = {"forward": recorder.forward, "backward": recorder.backward, "accumulate": recorder.accumulate}
    with watched(layers, watching):
        output = runner.forward(x, train=True)
        target = runner.backend.asarray(host_y, None if _labels(loss, output, host_y) else floats)
        value, dy = loss(output, target)
        recorder.loss(loss, output, target, value, dy)
        if is_floating(x):
            recorder.result(runner.backward(dy))
        else:
            runner.accumulate(dy)
    return Trace(
        tuple(recorder.steps),
        float(to_host(value)),
        recorder.outputs,
        recorder.deltas,
        {path: value for path, value in recorder.gradients.items() if value is not None},
    )


def demo() -> tuple[Layer, Loss, HostArray, HostArray]:
    """Net, loss, x and y of a first trace: 2 inputs, 3 tanh units, 2 classes, 2 samples; short numbers by intention.

    >>> print(str(trace(*demo())).splitlines()[-1].strip())
    [ 0.0391 -0.1405]]
    """
    from anyfw.losses import CrossEntropyLoss

    hidden, output = nn.Linear(2, 3), nn.Linear(3, 2)
    hidden.weight.data = np.asarray([[0.5, -0.5], [1.0, 0.25], [-0.5, 1.0]])
    output.weight.data = np.asarray([[1.0, -0.5, 0.25], [-1.0, 0.5, 0.75]])
    for bias, values in ((hidden.bias, [0.1, 0.0, -0.1]), (output.bias, [0.0, 0.2])):
        assert bias is not None
        bias.data = np.asarray(values)
    net = nn.Sequential(hidden, nn.Tanh(), output).to("numpy", "float64")
    return net, CrossEntropyLoss(), np.asarray([[1.0, 2.0], [-1.0, 0.5]]), np.asarray([0, 1])


def _labels(loss: Loss, output: Array, target: HostArray) -> bool:
    takes = getattr(loss, "takes_labels", None)
    shape = tuple(output.shape[1:])
    return bool(takes(shape, target)) if takes is not None else target.dtype.kind in "iu"


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _numbers(value: HostArray) -> str:
    if value.dtype.kind != "f":
        return np.array2string(value, threshold=60, edgeitems=2)
    largest = float(np.max(np.abs(value), initial=0.0, where=np.isfinite(value)))
    if largest != 0.0 and not 1e-3 <= largest < 1e5:
        return np.array2string(value, threshold=60, edgeitems=2, formatter={"float_kind": lambda v: f"{v: .3e}"})
    rounded = np.round(value, 4) + 0.0  # the sum makes -0.0 a 0.0
    return np.array2string(rounded, threshold=60, edgeitems=2, precision=4, floatmode="fixed", suppress_small=True)
