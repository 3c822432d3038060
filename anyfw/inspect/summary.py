"""`summary`: what a net is made of, layer by layer: shapes, parameters, bytes."""

import copy
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anyfw.core.arrays import Array, dtype_name
from anyfw.core.backend import get_backend
from anyfw.core.errors import AnyfwError, ConfigError, PlacementError, ShapeError
from anyfw.core.hooks import Method, watched
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter, Stored
from anyfw.nn.inputs import input_features

Shape = tuple[int | None, ...]  # None is the batch axis

# Two and not one: a layer that mistakes the batch axis for another one shows it.
_BATCH = 2


@dataclass(frozen=True)
class Row:
    """One layer of a summary.

    Attributes:
        path: where it is in the net, "" for the net itself.
        kind: its class.
        depth: how many containers it is in.
        output_shape: None where the layer was not reached; within it, None is the batch axis.
        parameters, trainable: numbers of elements; its own, without those of the layers in it.
        buffers: elements of state that is not learnt.
        bytes: of its parameters and buffers.
        shared_with: the path where the same layer stood first; its parameters are counted there.
    """

    path: str
    kind: str
    depth: int
    output_shape: Shape | None
    parameters: int
    trainable: int
    buffers: int
    bytes: int
    shared_with: str | None


@dataclass(frozen=True)
class Summary:
    """The layers of a net and what they add up to; `str()` is a table.

    Attributes:
        rows: in the order of definition, the net itself first.
        input_shape: None where it was not given and could not be told.
        backend: None where the net has no place yet.
        note: why there are no output shapes, if so.
    """

    rows: tuple[Row, ...]
    input_shape: Shape | None
    dtype: str
    backend: str | None
    note: str | None

    @property
    def parameters(self) -> int:
        """Elements of all parameters, shared ones once."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """Elements of the parameters that are learnt."""
        return sum(row.trainable for row in self.rows)

    @property
    def buffers(self) -> int:
        """Elements of state that is not learnt."""
        return sum(row.buffers for row in self.rows)

    @property
    def bytes(self) -> int:
        """Bytes of parameters and buffers; gradients and optimiser state come on top in training."""
        return sum(row.bytes for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; None in a shape is the batch axis."""
        totals = {name: getattr(self, name) for name in ("parameters", "trainable", "buffers", "bytes")}
        return {
            "layers": [asdict(row) for row in self.rows],
            "input_shape": self.input_shape,
            "dtype": self.dtype,
            "backend": self.backend,
            "note": self.note,
            **totals,
            "frozen": self.parameters - self.trainable,
        }

    def __str__(self) -> str:
        rows = [_cells(row) for row in self.rows]
        widths = [max(len(cells[i]) for cells in (_HEADER, *rows)) for i in range(len(_HEADER))]
        rule = "  ".join("-" * width for width in widths)
        lines = [_line(_HEADER, widths), rule, *(_line(cells, widths) for cells in rows), rule]
        lines.append(f"input       {_shape(self.input_shape)}, {self.dtype}, {self.backend or 'not placed yet'}")
        frozen = self.parameters - self.trainable
        lines.append(f"parameters  {self.parameters:,} ({self.trainable:,} trainable, {frozen:,} frozen)")
        if self.buffers:
            lines.append(f"buffers     {self.buffers:,}")
        lines.append(f"memory      {_size(self.bytes)}")
        if self.note:
            lines.append(f"note        {self.note}")
        return "\n".join(lines)


def summary(
    net: Layer,
    input_shape: int | Sequence[int] | None = None,
    *,
    dtype: str | None = None,
) -> Summary:
    """What the net is made of; it is left as it was, undrawn if it was undrawn.

    Output shapes are found by one forward of zeros with `train=False`.

    Args:
        net: any layer.
        input_shape: of one sample, without the batch axis; an int is one axis. None = told from the first layer that
            names its features; where that leads nowhere, the output shapes stay unknown and `note` says so.
        dtype: of the input; None = the net's.

    Raises:
        ConfigError: an input shape with an axis below 0.
        ShapeError: the given input shape does not fit the net.
    """
    given = input_shape is not None
    shape = (
        _as_shape(input_shape) if input_shape is not None else input_features(layer for _, layer in net.named_layers())
    )
    outputs: dict[int, list[Shape]] = {}
    note = None
    if shape is None:
        note = "output shapes are unknown: no layer tells the width of the input; give input_shape"
    else:
        try:
            outputs = _run(net, shape, dtype)
        except ConfigError:
            # A setting that is refused, as of the environment, says nothing of the shape.
            raise
        except (ShapeError, PlacementError, ValueError, IndexError, TypeError) as error:
            if given:
                raise error if isinstance(error, AnyfwError) else _unfit(net, shape, error) from error
            note = f"output shapes are unknown: an input of {_shape((None, *shape))} does not fit; give input_shape"
            shape = None
    placed = net._shared is not None and net._shared.backend is not None
    return Summary(
        _rows(net, outputs, net.dtype if placed else "float32"),
        None if shape is None else (None, *shape),
        dtype or (net.dtype if placed else "float32"),
        net.backend.spec if placed else None,
        note,
    )


def _unfit(net: Layer, shape: tuple[int, ...], error: Exception) -> ShapeError:
    return ShapeError(
        f"{net.who}: an input of shape {_shape((None, *shape))} does not fit: {type(error).__name__}: {error}. "
        "Give the shape of one sample, without the batch axis."
    )


def _as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    axes = (shape,) if isinstance(shape, int) else tuple(int(axis) for axis in shape)
    if any(axis < 0 for axis in axes):
        raise ConfigError(f"summary: expected input_shape of one sample without negative axes, got {axes}.")
    return axes


def _run(net: Layer, shape: tuple[int, ...], dtype: str | None) -> dict[int, list[Shape]]:
    outputs: dict[int, list[Shape]] = defaultdict(list)
    original = {id(layer): id(layer) for _, layer in net.named_layers()}
    runner = net
    if net._shared is None or not all(parameter.drawn for parameter in net.parameters()):
        # The first use draws and places a net, after which a Trainer's seed comes too late: so a copy goes first.
        runner = _zeroed_copy(net)
        pairs = zip(net.named_layers(), runner.named_layers(), strict=True)
        original = {id(copied): id(layer) for (_, layer), (_, copied) in pairs}
    x = runner.backend.asarray(np.zeros((_BATCH, *shape)), dtype or runner.dtype)

    def recording(layer: Layer, forward: Method) -> Method:
        def call(x: Array, /, **kwargs: Any) -> Array:
            y = forward(x, **kwargs)
            outputs[original[id(layer)]].append(_batched(y.shape))
            return y

        return call

    layers = [layer for _, layer in runner.named_layers()]
    # Zeros may divide by zero in a layer of the user's; only the shapes matter here.
    with np.errstate(all="ignore"), warnings.catch_warnings(), watched(layers, {"forward": recording}):
        warnings.simplefilter("ignore")
        runner.forward(x, train=False)
    return outputs


def _zeroed_copy(net: Layer) -> Layer:
    copied = copy.deepcopy(net)
    for _, stored in copied.named_stored():
        if not stored.drawn:
            # Drawing a large orthogonal matrix to learn a shape would take seconds.
            stored.initializer = lambda shape, _: np.zeros(shape)
    return copied.to(None if net._shared and net._shared.backend else get_backend("numpy"))


def _batched(shape: Sequence[int]) -> Shape:
    axes: list[int | None] = list(shape)
    if axes and axes[0] == _BATCH:
        axes[0] = None
    return tuple(axes)


def _rows(net: Layer, outputs: dict[int, list[Shape]], dtype: str) -> tuple[Row, ...]:
    rows: list[Row] = []
    first: dict[int, str] = {}
    counted: set[int] = set()
    places: dict[int, int] = defaultdict(int)

    def visit(layer: Layer, path: str, depth: int) -> None:
        shapes = outputs.get(id(layer), [])
        place = places[id(layer)]
        places[id(layer)] += 1
        shared_with = first.get(id(layer))
        first.setdefault(id(layer), path)
        own = [v for v in vars(layer).values() if isinstance(v, Stored) and id(v) not in counted]
        own = list({id(stored): stored for stored in own}.values())
        counted.update(id(stored) for stored in own)
        parameters = [stored for stored in own if isinstance(stored, Parameter)]
        sizes = [(stored, int(np.prod(stored.shape))) for stored in own]
        rows.append(
            Row(
                path,
                type(layer).__name__,
                depth,
                shapes[min(place, len(shapes) - 1)] if shapes else None,
                sum(parameter.size for parameter in parameters),
                sum(parameter.size for parameter in parameters if parameter.trainable),
                sum(size for stored, size in sizes if not isinstance(stored, Parameter)),
                sum(size * _itemsize(stored, dtype) for stored, size in sizes),
                shared_with,
            )
        )
        for name, child in layer.children():
            visit(child, f"{path}.{name}" if path else name, depth + 1)

    visit(net, "", 0)
    return tuple(rows)


def _itemsize(stored: Stored, dtype: str) -> int:
    own: str | None = getattr(stored, "dtype", None)
    return np.dtype(dtype_name(stored.data) if stored.drawn else own or dtype).itemsize


_HEADER = ("layer", "class", "output", "parameters", "bytes")


def _cells(row: Row) -> tuple[str, ...]:
    path = "  " * max(row.depth - 1, 0) + (row.path or "net")
    if row.shared_with is not None:
        return path, f"{row.kind} (= {row.shared_with or 'net'})", _shape(row.output_shape), "", ""
    frozen = row.parameters - row.trainable
    parameters = f"{row.parameters:,}" if row.parameters else ""
    if frozen:
        parameters += " frozen" if not row.trainable else f" ({frozen:,} frozen)"
    return path, row.kind, _shape(row.output_shape), parameters, f"{row.bytes:,}" if row.bytes else ""


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left, right = zip(cells[:3], widths[:3], strict=True), zip(cells[3:], widths[3:], strict=True)
    return "  ".join([*(c.ljust(w) for c, w in left), *(c.rjust(w) for c, w in right)]).rstrip()


def _shape(shape: Shape | None) -> str:
    if shape is None:
        return "?"
    axes = ["N" if axis is None else str(axis) for axis in shape]
    return f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"


def _size(n: int) -> str:
    value, unit = float(n), "bytes"
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{n} bytes" if unit == "bytes" else f"{value:.1f} {unit} ({n:,} bytes)"
