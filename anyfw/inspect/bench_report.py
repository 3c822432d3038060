"""What `bench` found, and how it is told to people."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class BatchRow:
    """One batch size on one backend.

    Attributes:
        batch: rows.
        step: seconds of a training step: forward, loss, backward, update.
        forward: seconds of a forward pass without training.
        overhead: the share of the step that is the framework's own, 0 ... 1; see `Overhead`.
        memory: bytes of parameters, gradients, optimiser state, the batch, and what forward keeps for backward.
    """

    batch: int
    step: float
    forward: float
    overhead: float
    memory: int

    @property
    def samples_per_second(self) -> float:
        """Rows trained on in a second."""
        return self.batch / self.step


@dataclass(frozen=True)
class LayerRow:
    """One layer in a step; seconds are its own, without those of the layers in it.

    Attributes:
        path, kind: the layer; "" and "loss" or "update" for what else a step does.
        forward, backward: seconds in one step.
    """

    path: str
    kind: str
    forward: float
    backward: float


@dataclass(frozen=True)
class Overhead:
    """What a step costs where there is next to nothing to compute: chains of Linear(1, 1), one row.

    Attributes:
        layer: seconds for each further layer: its forward, backward and share of the update.
        step: seconds for all else in a step: loss, optimiser, the outermost calls.
    """

    layer: float
    step: float

    def of(self, layers: int) -> float:
        """Seconds in a step of a net with that many layers, containers not counted."""
        return self.step + layers * self.layer


@dataclass(frozen=True)
class BackendBench:
    """One backend.

    Attributes:
        spec: the backend.
        runs_on: what decides its speed: versions, kernels, BLAS and threads.
        batches: by batch size.
        layers: at `layers_at` rows, which are less than asked for where those do not fit into memory.
        overhead: the framework's own part.
        notes: what was left out, and why.
    """

    spec: str
    runs_on: dict[str, str]
    batches: tuple[BatchRow, ...]
    layers_at: int
    layers: tuple[LayerRow, ...]
    overhead: Overhead
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bench:
    """What `bench` found; `str()` is for people.

    Attributes:
        net, loss, optimizer: what was trained, in a few words.
        parameters: their number.
        backends: in the order asked for.
        crossings: (slower at first, faster from there on, batch size) for each pair of backends whose times cross.
    """

    net: str
    loss: str
    optimizer: str
    dtype: str
    parameters: int
    backends: tuple[BackendBench, ...]
    crossings: tuple[tuple[str, str, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; times are in seconds, memory in bytes."""
        found = asdict(self)
        for backend, own in zip(found["backends"], self.backends, strict=True):
            for row, batch in zip(backend["batches"], own.batches, strict=True):
                row["samples_per_second"] = batch.samples_per_second
        return found

    def __str__(self) -> str:
        return describe(self)


def describe(bench: Bench) -> str:
    """Tables: by batch size, by layer; then overhead and crossings."""
    head = f"{bench.net}, {bench.parameters:,} parameters, {bench.dtype}, {bench.loss}, {bench.optimizer}"
    blocks = [head, *(_backend(backend) for backend in bench.backends)]
    for slow, fast, at in bench.crossings:
        blocks.append(f"{fast} is faster than {slow} from a batch size of about {at:.3g} on.")
    blocks.extend(_faster_everywhere(bench))
    return "\n\n".join([*blocks, *(note for backend in bench.backends for note in backend.notes)])


def duration(seconds: float) -> str:
    """With three digits and a unit: 12.3 us, 4.56 ms, 7.89 s."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _backend(backend: BackendBench) -> str:
    told = "; ".join(f"{name} {value}" for name, value in backend.runs_on.items())
    rows = [
        (
            str(row.batch),
            duration(row.step),
            f"{row.samples_per_second:,.0f}",
            f"{100 * row.overhead:.1f} %",
            duration(row.forward),
            f"{row.batch / row.forward:,.0f}",
            f"{row.memory / 1e6:,.1f} MB",
        )
        for row in backend.batches
    ]
    batches = _table(("batch", "step", "samples/s", "overhead", "forward", "samples/s", "memory"), rows, left=0)
    layers = [layer for layer in backend.layers if layer.forward + layer.backward > 0]
    total = sum(layer.forward + layer.backward for layer in layers)
    cells = [
        (
            layer.path or ("net" if layer.forward else ""),
            layer.kind,
            duration(layer.forward) if layer.forward else "",
            duration(layer.backward),
            f"{100 * (layer.forward + layer.backward) / total:.0f} %",
        )
        for layer in layers
    ]
    step = next((row.step for row in backend.batches if row.batch == backend.layers_at), None)
    whole = "" if step is None else f", and {duration(step)} for a step that is not watched"
    layer, rest = duration(backend.overhead.layer), duration(backend.overhead.step)
    overhead = f"overhead: {layer} a layer and {rest} a step, measured with layers that have next to nothing to compute"
    lines = [
        f"{backend.spec}: {told}",
        batches,
        "",
        f"layers at batch {backend.layers_at}: {duration(total)} in all{whole}",
        _table(("layer", "class", "forward", "backward", "share"), cells, left=2),
        "",
        overhead,
    ]
    return "\n".join(lines)


def _faster_everywhere(bench: Bench) -> list[str]:
    crossed = {frozenset(pair[:2]) for pair in bench.crossings}
    found = []
    for i, a in enumerate(bench.backends):
        for b in bench.backends[i + 1 :]:
            if frozenset((a.spec, b.spec)) in crossed or not a.batches or not b.batches:
                continue
            fast, slow = (a, b) if a.batches[-1].step <= b.batches[-1].step else (b, a)
            found.append(f"{fast.spec} is faster than {slow.spec} at all these batch sizes.")
    return found


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    widths = [max(len(cells[i]) for cells in (header, *rows)) for i in range(len(header))]
    lines = []
    for cells in (header, *rows):
        padded = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
