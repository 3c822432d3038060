"""What training takes of memory: `python ci/bench/memory.py [--json FILE]`.

Workload e through `Trainer`. Measured is the growth of the process's resident memory, at its peak, over what it was
after imports and the training of a small net; beside it stands what the run has to hold: parameters, gradients, the
optimiser's state, the activations that backward needs, and the data.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from machine import describe, headline
from workloads import RATES, WORKLOADS

from anyfw import Trainer, losses, nn, optim

WORKLOAD = WORKLOADS["e"]


def resident(field: str) -> int:
    """Bytes of resident memory: now ("VmRSS") or at its peak since `reset_peak` ("VmHWM")."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell the resident memory of a process")


def reset_peak() -> None:
    """From here on "VmHWM" counts anew."""
    Path("/proc/self/clear_refs").write_text("5")


def train(widths: tuple[int, ...], batch: int, rows: int) -> tuple[int, int]:
    """Train two epochs; (bytes of what has to be held, peak of resident memory meanwhile)."""
    reset_peak()
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, widths[0]), dtype=np.float32)
    y = generator.integers(widths[-1], size=rows)
    layers: list[nn.Layer] = []
    for n, m in itertools.pairwise(widths):
        layers += [nn.ReLU()] * bool(layers) + [nn.Linear(n, m)]
    net = nn.Sequential(*layers)
    optimizer = optim.SGD(net.parameters(), lr=RATES[WORKLOAD.optimizer], momentum=0.9)
    Trainer(net, losses.CrossEntropyLoss(), optimizer, progress=False).fit((x, y), epochs=2, batch_size=batch)
    peak = resident("VmHWM")
    vectors = 3 * sum(parameter.data.nbytes for parameter in net.parameters())
    # Of each layer its output; the ReLUs' are the inputs of the next layers. The batch is the first one's.
    activations = 4 * batch * (sum(widths) + sum(widths[1:-1]))
    return vectors + activations + x.nbytes + y.nbytes, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    train((8, 16, 16, 4), 32, 64)
    before = resident("VmRSS")
    needed, peak = train(WORKLOAD.widths, WORKLOAD.batch, WORKLOAD.rows)
    result = {"machine": describe(), "needed": needed, "growth": peak - before}
    result["growth / needed"] = round(result["growth"] / needed, 3)
    print(headline(result["machine"]))
    print(
        f"workload e: {needed / 1e6:,.0f} MB have to be held; resident memory grew by {(peak - before) / 1e6:,.0f} MB"
    )
    print(f"ratio {result['growth / needed']:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
