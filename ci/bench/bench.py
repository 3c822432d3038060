"""Time anyfw against its peers: `python ci/bench/bench.py [--workloads a b] [--rounds 7] [--json FILE]`.

Each contestant runs in a process of its own; in every round each one runs once, in turn, so that a machine whose
speed drifts slows all of them alike. Quote ratios: they are formed round by round, and their median is printed. After
its first round, each one's weights are measured by the same function: the losses tell that all do the same work.

Peers that are not installed are left out, and said. `pip install torch jax keras thinc scikit-learn` has them all.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from contestants import CONTESTANTS, Contestant
from machine import describe, headline
from workloads import WORKLOADS, Workload

# Threads of a BLAS that has just been used keep a core busy, waiting for more, for a tenth of a second.
SILENCE = 0.25
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def worker(contestant: Contestant, description: str, cores: int) -> None:
    """Train and time one round for each line on standard input; first say the loss after the round that warms up."""
    workload = Workload.read(description)
    if hasattr(os, "sched_setaffinity"):  # JAX takes as many threads as it sees cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    made = contestant.make(workload)
    if made is None:
        print(json.dumps("cannot"), flush=True)
        return
    run, weights = made
    run()
    print(json.dumps(None if weights is None else workload.loss(weights())), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        run()
        print(json.dumps(time.perf_counter() - started), flush=True)


def compare(
    workload: Workload, contestants: dict[str, Contestant], rounds: int, threads: int, script: str = __file__
) -> tuple[dict, dict]:
    """(seconds of each round, loss after the first), by contestant; `script --worker` runs one of them."""
    command = [sys.executable, script, "--threads", str(threads), "--worker"]
    running, losses = {}, {}
    for name, contestant in contestants.items():
        environment = os.environ | dict.fromkeys(THREADS, str(threads)) | contestant.environment
        process = subprocess.Popen(
            [*command, name, workload.describe()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        answer = process.stdout.readline()  # one starts after the other: compilers would disturb each other
        if not answer:
            raise SystemExit(f"{name} could not train {workload}")
        if (loss := json.loads(answer)) != "cannot":
            running[name], losses[name] = process, loss
    seconds: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, process in running.items():
            time.sleep(SILENCE)
            process.stdin.write("\n")
            process.stdin.flush()
            seconds[name].append(json.loads(process.stdout.readline()))
    for process in running.values():
        process.stdin.close()
        process.wait()
    return seconds, losses


def ratio(seconds: dict[str, list[float]], name: str, *others: str) -> float | None:
    """The median over the rounds of one's time by that of the fastest of some others; None where one is absent."""
    present = [other for other in others if other in seconds]
    if name not in seconds or not present:
        return None
    best = min(present, key=lambda other: statistics.median(seconds[other]))
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[best], strict=True))


def ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    """The ratios that are promised and quoted, as far as both sides ran."""
    torch = ("torch eager", "torch fused", "torch compiled")
    found = {
        "Trainer / JAX jit": ratio(seconds, "anyfw Trainer", "JAX jit"),
        "Trainer / JAX scan": ratio(seconds, "anyfw Trainer", "JAX scan"),
        "step / JAX jit": ratio(seconds, "anyfw step", "JAX jit"),
        "Trainer / products": ratio(seconds, "anyfw Trainer", "products alone"),
        "step / products": ratio(seconds, "anyfw step", "products alone"),
        "Trainer / best torch": ratio(seconds, "anyfw Trainer", *torch),
        "Trainer, no extras / best torch": ratio(seconds, "anyfw Trainer, no extras", *torch),
        "Trainer, no extras / scikit-learn": ratio(seconds, "anyfw Trainer, no extras", "scikit-learn"),
    }
    return {name: round(value, 3) for name, value in found.items() if value is not None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=list(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="cores of each contestant")
    parser.add_argument("--json", type=Path, help="write the figures there too, or renew them")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        name, description = arguments.worker
        worker(CONTESTANTS[name], description, arguments.threads)
        return
    os.environ |= dict.fromkeys(THREADS, str(arguments.threads))
    present = installed({name: CONTESTANTS[name] for name in arguments.contestants})
    machine = describe()
    print(headline(machine))
    run = {name: machine.pop(name) for name in ("date", "command")}
    run |= {"rounds": arguments.rounds, "threads": arguments.threads}
    result = {"machine": machine, "workloads": {}}
    if arguments.json and arguments.json.exists():  # workloads that are not run anew stay
        kept = json.loads(arguments.json.read_text(encoding="utf-8"))
        if kept["machine"] != machine:
            raise SystemExit(
                f"{arguments.json} holds the figures of another machine, or of other versions: {kept['machine']}"
            )
        result["workloads"] = kept["workloads"]
    for workload in arguments.workloads:
        seconds, losses = compare(WORKLOADS[workload], present, arguments.rounds, arguments.threads)
        result["workloads"][workload] = {
            "run": run,
            **tabulate(WORKLOADS[workload], seconds, losses, ratios(seconds)),
        }
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def installed(contestants: dict[str, Contestant]) -> dict[str, Contestant]:
    """Those whose package is there; the others are named."""
    for name, contestant in contestants.items():
        if not find_spec(contestant.package):
            print(f"left out: {name}, since {contestant.package} is not installed", file=sys.stderr)
    return {name: contestant for name, contestant in contestants.items() if find_spec(contestant.package)}


def tabulate(
    workload: Workload, seconds: dict[str, list[float]], losses: dict[str, float | None], formed: dict[str, float]
) -> dict:
    """Print one workload's table; the same as a dict."""
    print(f"\n{workload.name}: {workload}\n{'us per step':>32} {'fastest':>10} {'slowest':>10} {'loss':>9}")
    rows = {}
    for name, times in seconds.items():
        low, middle, high = (
            value / workload.steps * 1e6 for value in (min(times), statistics.median(times), max(times))
        )
        rows[name] = {"us per step": round(middle, 2), "spread": [round(low, 2), round(high, 2)], "loss": losses[name]}
        loss = "" if losses[name] is None else f"{losses[name]:9.4f}"
        print(f"{name:22} {middle:>11.1f} {low:>10.1f} {high:>10.1f} {loss}")
    for name, value in formed.items():
        print(f"  {name:36} {value:.2f}")
    sys.stdout.flush()
    return {"contestants": rows, "ratios": formed}


if __name__ == "__main__":
    main()
