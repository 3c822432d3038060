"""The workloads of the benchmark: what is trained, on what, and the same initial weights for everybody."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

RATES = {"adam": 1e-3, "sgd": 1e-2, "momentum": 1e-3}


@dataclass(frozen=True)
class Workload:
    """One net and one way to train it; all in float32.

    Attributes:
        widths: inputs, hidden layers, outputs.
        batch: rows of a step.
        optimizer: "adam", "sgd" or "momentum", with the rate of RATES.
        epochs: passes over the rows in one timed round.
        rows: rows of the data set, shuffled anew for each pass.
        task: "classes" is trained with cross-entropy, "values" with the squared error.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    optimizer: str
    epochs: int
    rows: int
    activation: str = "relu"
    task: str = "classes"

    def describe(self) -> str:
        """The workload as text, for a process of its own."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "Workload":
        """What `describe` gave."""
        fields = json.loads(text)
        return cls(**{**fields, "widths": tuple(fields["widths"])})

    @property
    def steps(self) -> int:
        """Steps of one round."""
        return self.epochs * -(-self.rows // self.batch)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) with something to learn: y is what a fixed random linear map makes of x, plus noise."""
        generator = np.random.default_rng(0)
        x = generator.standard_normal((self.rows, self.widths[0]), dtype=np.float32)
        y = x @ generator.standard_normal((self.widths[0], self.widths[-1]), dtype=np.float32)
        y /= np.float32(self.widths[0] ** 0.5)
        y += generator.standard_normal(y.shape, dtype=np.float32) / 4
        if self.task == "values":
            return x, y
        labels = y.argmax(axis=1)
        # Each class at least once: scikit-learn makes an output for those that it sees.
        labels[: self.widths[-1]] = np.arange(self.widths[-1])
        return x, labels

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(weight, bias) of each layer, as (out, in) and (out,)."""
        generator = np.random.default_rng(1)
        return [
            (generator.standard_normal((m, n), dtype=np.float32) / np.float32(n**0.5), np.zeros(m, dtype=np.float32))
            for n, m in zip(self.widths, self.widths[1:], strict=False)
        ]

    def batches(self, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """The rows of each step of a round, as indices."""
        for order in self.passes(generator):
            for start in range(0, self.rows, self.batch):
                yield order[start : start + self.batch]

    def passes(self, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """The order of all rows, for each pass of a round."""
        for _ in range(self.epochs):
            yield generator.permutation(self.rows)

    def loss(self, weights: list[tuple[np.ndarray, np.ndarray]]) -> float:
        """The mean loss over all rows, in float64, so that everybody is measured by the same ruler."""
        h, y = self.data()
        h = h.astype(np.float64)
        for i, (weight, bias) in enumerate(weights):
            if i:
                h = np.maximum(h, 0.0) if self.activation == "relu" else np.tanh(h)
            h = h @ np.asarray(weight, dtype=np.float64).T + np.asarray(bias, dtype=np.float64)
        if self.task == "values":
            return float(np.mean((h - y) ** 2))
        h -= h.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(h).sum(axis=1)) - h[np.arange(len(y)), y]))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("a", (784, 256, 128, 10), 128, "adam", 1, 192 * 128),
        Workload("b", (784, 256, 128, 10), 128, "sgd", 1, 192 * 128),
        Workload("c", (2, 10, 2), 4, "sgd", 12, 2000, activation="tanh"),
        Workload("d", (784, 1024, 1024, 10), 512, "adam", 1, 12 * 512),
        Workload("e", (1024, 4096, 4096, 1000), 1024, "momentum", 1, 2 * 1024),
        Workload("f", (64, 512, 512, 1), 256, "adam", 1, 96 * 256, task="values"),
        Workload("epoch", (784, 256, 128, 10), 128, "adam", 1, 60_000),
    )
}
