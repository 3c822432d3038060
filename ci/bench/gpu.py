"""Time anyfw on a GPU against its peers: `python ci/bench/gpu.py [--precisions float32 tf32] [--json FILE]`.

As `bench.py`: each contestant in a process of its own, interleaved, ratios formed round by round. All hold the data on
the device and start from the same weights; peers are compared at the same precision of products only. A round ends when
the device is done.

This file has never run on a GPU yet.
"""

import argparse
import json
import subprocess
import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import gpu_peers
import numpy as np
from bench import compare, installed, ratio, tabulate, worker
from contestants import Contestant, anyfw_net, anyfw_trainer
from machine import describe, headline, installed_version
from workloads import WORKLOADS, Workload

# The same nets and batches as on the CPU, with rounds long enough that moving the data is no part of them.
ROUNDS = {
    "a": {"epochs": 40},
    "b": {"epochs": 40},
    "c": {"epochs": 24},
    "d": {"epochs": 20, "rows": 120 * 512},
    "e": {"epochs": 4, "rows": 24 * 1024},
    "f": {"epochs": 40},
    "epoch": {"epochs": 8},
}
GPU_WORKLOADS = {name: replace(WORKLOADS[name], **sizes) for name, sizes in ROUNDS.items()}
PRECISIONS = ("float32", "tf32", "bfloat16")
LIBRARIES = ("cupy-cuda12x", "cupy-cuda13x", "cuda-pathfinder", "torch", "jax", "jaxlib")


def products(workload: Workload):
    """The floor: the step's matrix products by CuPy's cuBLAS, into arrays that are there already."""
    import cupy

    weights = [cupy.asarray(weight) for weight, _ in workload.weights()]
    gradients = [cupy.empty_like(weight) for weight in weights]
    values = [cupy.ones((workload.batch, n), dtype="float32") for n in workload.widths]
    deltas = [cupy.ones_like(value) for value in values]

    def run() -> None:
        for _ in range(workload.steps):
            for i, weight in enumerate(weights):
                cupy.matmul(values[i], weight.T, out=values[i + 1])
                cupy.matmul(deltas[i + 1].T, values[i], out=gradients[i])
                if i:
                    cupy.matmul(deltas[i + 1], weight, out=deltas[i])
        cupy.cuda.Device().synchronize()

    return run, None


def contestants(precision: str) -> dict[str, Contestant]:
    """Who runs at this precision of products."""
    anyfw, tf32 = {"ANYFW_MATMUL": precision}, {"CUPY_TF32": "1" if precision == "tf32" else "0"}
    torch = {"BENCH_PRECISION": {"float32": "highest", "tf32": "high", "bfloat16": "medium"}[precision]}
    names = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}
    jax = {"JAX_DEFAULT_MATMUL_PRECISION": names[precision]}
    found = {
        "anyfw Trainer": Contestant(partial(anyfw_trainer, backend="cupy"), anyfw, package="cupy"),
        "JAX jit": Contestant(gpu_peers.jax_jit, jax, package="jax"),
        "torch compiled": Contestant(gpu_peers.torch_compiled, torch, package="torch"),
        "JAX scan": Contestant(gpu_peers.jax_scan, jax, package="jax"),
        "torch eager": Contestant(gpu_peers.torch_eager, torch, package="torch"),
        "anyfw Trainer, graph=False": Contestant(
            partial(anyfw_trainer, backend="cupy", graph=False), anyfw, package="cupy"
        ),
    }
    if precision != "bfloat16":  # CuPy's own products have no such mode
        found["products alone"] = Contestant(products, tf32, package="cupy")
    return found


def ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Those that are promised."""
    ours = "anyfw Trainer"
    found = {
        "Trainer / torch eager": ratio(seconds, ours, "torch eager"),
        "Trainer / torch compiled": ratio(seconds, ours, "torch compiled"),
        "Trainer / best torch": ratio(seconds, ours, "torch eager", "torch compiled"),
        "Trainer / JAX jit": ratio(seconds, ours, "JAX jit"),
        "Trainer / JAX scan": ratio(seconds, ours, "JAX scan"),
        "Trainer / products": ratio(seconds, ours, "products alone"),
        "Trainer / graph=False": ratio(seconds, ours, "anyfw Trainer, graph=False"),
    }
    return {name: round(value, 3) for name, value in found.items() if value is not None}


def overlap(workload: Workload) -> dict[str, float]:
    """Seconds of an epoch with the data on the device, with the data on the host, and of the copies alone."""
    from anyfw.data import Arrays, Batches
    from anyfw.train.feed import Streaming

    x, y = workload.data()
    found = {}
    for name, on_device in (("on the device", True), ("on the host", False)):
        run, _ = anyfw_trainer(workload, backend="cupy", on_device=on_device)
        run()
        started = time.perf_counter()
        run()
        found[name] = time.perf_counter() - started
    net, _, _ = anyfw_net(workload, "cupy")
    feed = Streaming(Arrays(x, y), net.backend, "float32", labels=True)
    order = Batches(workload.rows, workload.batch, 0).epoch(0)
    for _ in range(2):
        started = time.perf_counter()
        for _batch in feed.batches(order):
            pass
        net.backend.synchronize()
        found["copies alone"] = time.perf_counter() - started
    hidden = found["on the device"] + found["copies alone"] - found["on the host"]
    found["share of the shorter that is hidden"] = hidden / min(found["on the device"], found["copies alone"])
    return {name: round(float(np.float64(value)), 6) for name, value in found.items()}


def device() -> dict[str, object]:
    """The GPU, its driver, and the libraries."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    names = {name: found for name in LIBRARIES if (found := installed_version(name)) is not None}
    return {"gpu": subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip(), "packages": names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", default=["a", "b", "c", "d", "e", "epoch"], choices=list(ROUNDS))
    parser.add_argument("--precisions", nargs="+", default=["float32", "tf32"], choices=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=8, help="cores of each contestant")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        name, description = arguments.worker
        precision, _, name = name.partition(": ")
        worker(contestants(precision)[name], description, arguments.threads)
        return
    if not find_spec("cupy"):
        raise SystemExit("CuPy is not installed. Run: anyfw doctor.")
    machine = {**describe(), **device()}
    print(headline(machine), machine["gpu"], sep="; ")
    result = {
        "machine": machine,
        "rounds": arguments.rounds,
        "overlap": overlap(GPU_WORKLOADS["epoch"]),
        "precisions": {},
    }
    print(json.dumps(result["overlap"]))
    for precision in arguments.precisions:
        found = result["precisions"][precision] = {}
        present = {f"{precision}: {name}": one for name, one in installed(contestants(precision)).items()}
        for workload in arguments.workloads:
            timed, ended = compare(GPU_WORKLOADS[workload], present, arguments.rounds, arguments.threads, __file__)
            seconds, losses = ({name.partition(": ")[2]: value for name, value in d.items()} for d in (timed, ended))
            print(f"\n{precision}", end="")
            found[workload] = tabulate(GPU_WORKLOADS[workload], seconds, losses, ratios(seconds))
            if arguments.json:
                arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
