"""Where the time of a step goes: `python ci/bench/anatomy.py [--workloads a b] [--json FILE]`.

Each part of each step is timed by itself, and beside it, interleaved, the step's matrix products alone. The framework's
overhead is measured as `anyfw bench` measures it: on layers that have next to nothing to compute.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from contestants import anyfw_net, products
from machine import describe, headline
from workloads import WORKLOADS, Workload

from anyfw import inspect, losses, nn, optim
from anyfw.ops.gather import gather

PARTS = ("gather", "forward", "loss", "backward", "update", "zero_grad")


def anatomy(workload: Workload, rounds: int) -> dict[str, float]:
    """us of each part, of the whole step, and of the products alone; medians, so that parts need not add up."""
    net, loss, optimizer = anyfw_net(workload)
    x, y = workload.data()
    floor, _ = products(workload)
    generator = np.random.default_rng(2)
    parts: dict[str, list[float]] = {part: [] for part in PARTS}
    whole: list[float] = []
    alone: list[float] = []
    for turn in range(rounds + 1):
        floor_started = time.perf_counter()
        floor()
        alone.append((time.perf_counter() - floor_started) / workload.steps)
        for rows in workload.batches(generator):
            marks = [time.perf_counter()]
            batch, target = gather(x, rows), gather(y, rows)
            marks.append(time.perf_counter())
            output = net.forward(batch, train=True)
            marks.append(time.perf_counter())
            _, dy = loss(output, target)
            marks.append(time.perf_counter())
            net.accumulate(dy)
            marks.append(time.perf_counter())
            optimizer.step()
            marks.append(time.perf_counter())
            optimizer.zero_grad()
            marks.append(time.perf_counter())
            if turn:  # the first round warms up
                for part, start, stop in zip(PARTS, marks, marks[1:], strict=False):
                    parts[part].append(stop - start)
                whole.append(marks[-1] - marks[0])
    found = {part: statistics.median(times) * 1e6 for part, times in parts.items()}
    found["step"] = statistics.median(whole) * 1e6
    found["products alone"] = statistics.median(alone[1:]) * 1e6
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name in WORKLOADS if name != "epoch"]
    parser.add_argument("--workloads", nargs="+", default=names, choices=names)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    result = {"machine": describe(), "rounds": arguments.rounds, "workloads": {}, "overhead": {}}
    columns = (*PARTS, "step", "products alone")
    print(headline(result["machine"]))
    print(f"{'us':>4} " + " ".join(f"{column:>14}" for column in columns))
    for name in arguments.workloads:
        found = result["workloads"][name] = anatomy(WORKLOADS[name], arguments.rounds)
        print(f"{name:>4} " + " ".join(f"{found[column]:>14,.1f}" for column in columns), flush=True)
    for kind, make in (("SGD", optim.SGD), ("Adam", optim.Adam)):
        found = inspect.bench(
            nn.Linear(1, 1), loss=losses.MSELoss(), optimizer=make, batches=(1,), backends=["numpy"], seconds=0.5
        )
        overhead = found.backends[0].overhead
        result["overhead"][kind] = {"us a layer": overhead.layer * 1e6, "us a step": overhead.step * 1e6}
        print(f"overhead, {kind}: {overhead.layer * 1e6:.1f} us a layer and {overhead.step * 1e6:.1f} us a step")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
