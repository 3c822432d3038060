"""The result of `bench` for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyfw.inspect.bench import BackendBench, Bench


def describe(bench: "Bench") -> str:
    """Tables: by batch size, by layer; then overhead and crossings."""
    head = f"{bench.net}, {bench.parameters:,} parameters, {bench.dtype}, {bench.loss}, {bench.optimizer}"
    blocks = [head, *(_backend(backend) for backend in bench.backends)]
    for slow, fast, at in bench.crossings:
        blocks.append(f"{fast} is faster than {slow} from a batch size of about {at:.3g} on.")
    blocks.extend(_faster_everywhere(bench))
    return "\n\n".join([*blocks, *bench.notes])


def duration(seconds: float) -> str:
    """With three digits and a unit: 12.3 us, 4.56 ms, 7.89 s."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _backend(backend: "BackendBench") -> str:
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


def _faster_everywhere(bench: "Bench") -> list[str]:
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
