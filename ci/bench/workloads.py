"""The six workloads of the benchmark: what is trained, on what, and the same initial weights for everybody."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Workload:
    """One net and one way to train it; all in float32.

    Attributes:
        widths: inputs, hidden layers, outputs.
        batch: rows of a step.
        steps: steps of one timed round, chosen to take some tenths of a second.
        rows: rows of the data set, shuffled.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    optimizer: str
    steps: int
    activation: str = "relu"
    task: str = "classes"
    rows: int = 0

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Random rows, the same for everybody."""
        generator = np.random.default_rng(0)
        rows = self.rows or self.batch * min(self.steps, 16)
        x = generator.standard_normal((rows, self.widths[0]), dtype=np.float32)
        if self.task == "values":
            return x, generator.standard_normal((rows, self.widths[-1]), dtype=np.float32)
        return x, generator.integers(0, self.widths[-1], rows)

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(weight, bias) of each layer, as (out, in) and (out,)."""
        generator = np.random.default_rng(1)
        return [
            (
                (generator.standard_normal((m, n), dtype=np.float32) / np.float32(n**0.5)),
                np.zeros(m, dtype=np.float32),
            )
            for n, m in zip(self.widths, self.widths[1:], strict=False)
        ]


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("a", (784, 256, 128, 10), 128, "adam", 200),
        Workload("b", (784, 256, 128, 10), 128, "sgd", 200),
        Workload("c", (2, 10, 2), 4, "sgd", 2000, activation="tanh"),
        Workload("d", (784, 1024, 1024, 10), 512, "adam", 12),
        Workload("e", (1024, 4096, 4096, 1000), 1024, "momentum", 1),
        Workload("f", (64, 512, 512, 1), 256, "adam", 100, task="values"),
        Workload("epoch", (784, 256, 128, 10), 128, "adam", 469, rows=60_000),
    )
}
RATES = {"adam": 1e-3, "sgd": 1e-2, "momentum": 1e-3}
