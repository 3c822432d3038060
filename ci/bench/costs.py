"""What trust costs: `python ci/bench/costs.py [--json FILE]`.

A checkpoint of 100 MB, hashed and written so that a crash leaves the old one, against a plain write with fsync; and
dropout by a counter, without numba, against the same by NumPy's own generator. Interleaved, by medians.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ["ANYFW_FUSED"] = "plain"

import numpy as np
from machine import describe, headline

import anyfw
from anyfw.core.files import write_tensors
from anyfw.ops.dropout import dropout

SHAPE = (1024, 1024)


def compare(runs: dict, rounds: int) -> dict[str, float]:
    """Median seconds of each, one after the other in every round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(taken), 6) for name, taken in times.items()}


def checkpoint(rounds: int) -> dict[str, float]:
    tensors = {f"{i}": np.random.default_rng(i).standard_normal((2500, 1000)).astype(np.float32) for i in range(10)}
    raw = b"".join(values.tobytes() for values in tensors.values())
    with tempfile.TemporaryDirectory() as folder:

        def plain() -> None:
            with open(Path(folder) / "plain", "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())

        found = compare(
            {"plain write": plain, "checkpoint": lambda: write_tensors(Path(folder) / "x", tensors, {})}, rounds
        )
    return {**found, "ratio": round(found["checkpoint"] / found["plain write"], 2)}


def masks(rounds: int, p: float) -> dict[str, float]:
    x = anyfw.get_backend("numpy").asarray(np.random.default_rng(0).standard_normal(SHAPE), "float32")
    tick, generator = np.asarray(3), np.random.default_rng(1)
    scale = np.float32(1 / (1 - p))
    found = compare(
        {
            "by a counter": lambda: dropout(x, p, 12345, tick, 0),
            "generator, float64": lambda: x * (generator.random(SHAPE) >= p) * scale,
            "generator, float32": lambda: x * (generator.random(SHAPE, dtype=np.float32) >= p) * scale,
        },
        rounds,
    )
    ours = found["by a counter"]
    return {
        **found,
        **{f"ratio to {kind}": round(ours / found[f"generator, {kind}"], 2) for kind in ("float64", "float32")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    machine = describe()
    print(headline(machine))
    result = {"machine": machine, "checkpoint of 100 MB": checkpoint(arguments.rounds)}
    for p in (0.5, 0.1):
        result[f"dropout of a million, p = {p}"] = masks(arguments.rounds, p)
    for name, found in result.items():
        if name != "machine":
            print(name, json.dumps(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
