"""How the cost of a step grows with width, depth and batch: `python ci/bench/growth.py --picture FILE.png`.

From workload b, 784-256-128-10 at batch 128 by SGD, one number at a time is changed; contestants and rules are those of
`bench.py`.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
from importlib.util import find_spec
from pathlib import Path

from bench import THREADS, compare
from contestants import CONTESTANTS
from machine import describe, headline
from workloads import Workload

WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
DEPTHS = (1, 2, 4, 8, 16, 32, 64)
BATCHES = (1, 4, 16, 64, 256, 1024, 4096, 8192)
NAMES = ("products alone", "anyfw step", "anyfw step, no extras", "torch fused", "JAX jit")
# Arithmetic of one timed round, so that each takes about as long: multiplications, and steps at least and at most.
ROUND, FEWEST, MOST = 4e9, 2, 400


def net(widths: tuple[int, ...], batch: int) -> Workload:
    """A net and as many rows as one round needs."""
    products = 3 * batch * sum(n * m for n, m in itertools.pairwise(widths))
    steps = int(min(MOST, max(FEWEST, ROUND / products)))
    return Workload("-".join(map(str, widths)), widths, batch, "sgd", 1, batch * steps)


PANELS = {
    "width": {width: net((784, width, width, 10), 128) for width in WIDTHS},
    "depth": {depth: net((784, *(256,) * depth, 10), 128) for depth in DEPTHS},
    "batch": {batch: net((784, 256, 128, 10), batch) for batch in BATCHES},
}
TITLES = {
    "width": "width of two hidden layers, batch 128",
    "depth": "hidden layers of 256, batch 128",
    "batch": "batch, 784-256-128-10",
}


def draw(panels: dict[str, dict[str, dict[str, float]]], path: Path, machine: str) -> None:
    """Three panels on logarithmic axes."""
    from anyfw.report.canvas import COLOURS, FAINT, INK, dress, figure, figure_png, legend

    made, axes = figure(1, 3, size=(14, 4.2))
    colours = dict(zip(NAMES, (FAINT, COLOURS[1], COLOURS[4], COLOURS[3], COLOURS[0]), strict=True))
    for axis, (panel, points) in zip(axes, panels.items(), strict=True):
        dress(axis, title=TITLES[panel], x=panel, y="microseconds per step" if panel == "width" else "", grid="both")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        for name, colour in colours.items():
            line = [(int(x), times[name]) for x, times in points.items() if name in times]
            style = {"linestyle": "--"} if name == "products alone" else {"marker": "o", "markersize": 3.5}
            axis.plot(*zip(*line, strict=True), color=colour, label=name, **style)
        axis.set_xticks([int(x) for x in points], [str(x) for x in points], fontsize=7.5)
        axis.minorticks_off()
    legend(axes[0])
    made.suptitle(f"a training step: {machine}", fontsize=9, color=INK)
    path.write_bytes(figure_png(made, dpi=110))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panels", nargs="+", default=list(PANELS), choices=list(PANELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="cores of each contestant")
    parser.add_argument("--picture", type=Path, help="draw it there")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    os.environ |= dict.fromkeys(THREADS, str(arguments.threads))
    present = [name for name in NAMES if find_spec(CONTESTANTS[name].package)]
    for name in set(NAMES) - set(present):
        print(f"left out: {name}, since {CONTESTANTS[name].package} is not installed", file=sys.stderr)
    result = {"machine": describe(), "threads": arguments.threads, "rounds": arguments.rounds, "us per step": {}}
    print(headline(result["machine"]))
    for panel in arguments.panels:
        print(f"\n{panel:>10} " + " ".join(f"{name:>22}" for name in present))
        points = result["us per step"][panel] = {}
        for x, workload in PANELS[panel].items():
            seconds, _ = compare(workload, present, arguments.rounds, arguments.threads)
            points[str(x)] = {
                name: round(statistics.median(times) / workload.steps * 1e6, 1) for name, times in seconds.items()
            }
            print(f"{x:>10} " + " ".join(f"{points[str(x)][name]:>22.1f}" for name in present), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.picture:
        draw(result["us per step"], arguments.picture, headline(result["machine"]))


if __name__ == "__main__":
    main()
