"""Time anyfw against its peers: `python ci/bench/bench.py [--workloads a b] [--rounds 7] [--json FILE]`.

Each contestant runs in a process of its own; in every round each one runs once, in turn, so that a machine whose
speed drifts slows all of them alike. Quote ratios: they are formed round by round, and their median is printed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path


def worker(contestant: str, workload: str) -> None:
    """Time one round for each line on standard input."""
    from contestants import CONTESTANTS
    from workloads import WORKLOADS

    run = CONTESTANTS[contestant](WORKLOADS[workload])
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(run()), flush=True)


def compare(workload: str, contestants: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds per step, by contestant and round."""
    command = [sys.executable, __file__, "--worker"]
    running = {
        name: subprocess.Popen([*command, name, workload], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in contestants
    }
    for name, process in running.items():
        if process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{name} could not start on workload {workload}")
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, process in running.items():
            process.stdin.write("\n")
            process.stdin.flush()
            seconds[name].append(json.loads(process.stdout.readline())[0])
    for process in running.values():
        process.stdin.close()
        process.wait()
    return seconds


def main() -> None:
    from contestants import CONTESTANTS
    from workloads import WORKLOADS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=list(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(*arguments.worker)
        return
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    result = {"machine": describe_machine(), "threads": arguments.threads, "rounds": arguments.rounds, "workloads": {}}
    print(f"{'':10}" + "".join(f"{name:>18}" for name in arguments.contestants) + f"{'Trainer / torch':>18}")
    for workload in arguments.workloads:
        seconds = compare(workload, arguments.contestants, arguments.rounds)
        micro = {name: statistics.median(times) * 1e6 for name, times in seconds.items()}
        row = {"microseconds per step": micro, "spread": {n: [min(t) * 1e6, max(t) * 1e6] for n, t in seconds.items()}}
        row["ratio of anyfw Trainer to the best torch"] = ratio = ratio_to_torch(seconds)
        result["workloads"][workload] = row
        shown = "".join(f"{micro[name]:>15.1f} us" for name in arguments.contestants)
        print(f"{workload:10}{shown}{'' if ratio is None else f'{ratio:>18.2f}'}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def ratio_to_torch(seconds: dict[str, list[float]]) -> float | None:
    """The median over the rounds of anyfw's time by that of the faster torch."""
    torch = [times for name, times in seconds.items() if name.startswith("torch")]
    if not torch or "anyfw Trainer" not in seconds:
        return None
    best = min(torch, key=statistics.median)
    return statistics.median(a / b for a, b in zip(seconds["anyfw Trainer"], best, strict=True))


def describe_machine() -> dict[str, str]:
    """Processor, library versions and the date."""
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    libraries = {name: installed(name) for name in ("numpy", "torch")}
    return {"processor": model, "cores": str(os.cpu_count()), "python": platform.python_version(), **libraries} | {
        "date": date.today().isoformat()
    }


if __name__ == "__main__":
    main()
