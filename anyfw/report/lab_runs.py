"""The lab's trainings: one perceptron for each setting, watched layer by layer while it learns."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw import losses, nn, optim
from anyfw.core.arrays import namespace
from anyfw.core.errors import NonFiniteError
from anyfw.core.parameter import to_host
from anyfw.data import Dataset, split
from anyfw.train import Callback, Trainer

Rows = tuple[NDArray[Any], NDArray[Any]]

ACTIVATIONS: Mapping[str, Callable[[], nn.Layer]] = {
    "none": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
# ReLU halves the variance of what passes, which He's initialiser makes up for; Lecun's suits the others.
INITIALIZERS = {"relu": "he_normal"}


@dataclass(frozen=True)
class Setting:
    """What one net is and how it is trained: plain SGD whose rate falls along a cosine.

    Attributes:
        activation: a key of `ACTIVATIONS`, between every two linear layers.
        depth: the number of linear layers; 1 has no activation.
        lr: the learning rate at the start; it falls to 0.
        seed: of the first weights and the order of rows.
        width: units of each hidden layer.
        epochs, batch_size: of the training.
        train_rows: how many rows it learns from.
    """

    activation: str
    depth: int
    lr: float
    seed: int
    width: int
    epochs: int
    batch_size: int
    train_rows: int

    @property
    def name(self) -> str:
        """For people: "relu, 3 layers"."""
        return f"{self.depth} layer" if self.depth == 1 else f"{self.activation}, {self.depth} layers"


@dataclass
class Run:
    """What came of one training.

    Attributes:
        setting: what was trained.
        history: one number per epoch, as `Trainer.fit` gives it.
        valid_accuracy, test_accuracy: after the last epoch; chance where it diverged, NaN without validation rows.
        max_weight: largest |w| of each linear layer, by epoch, the first one before training.
        gradients: norm of dLoss/dW of each linear layer on a fixed probe batch, by epoch, as `max_weight`.
        diverged: whether the loss became NaN or infinite.
    """

    setting: Setting
    history: dict[str, list[Any]] = field(default_factory=dict)
    valid_accuracy: float = 0.0
    test_accuracy: float = 0.0
    max_weight: list[list[float]] = field(default_factory=list)
    gradients: list[list[float]] = field(default_factory=list)
    diverged: bool = False

    def as_dict(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return asdict(self)


@dataclass(frozen=True)
class LabData:
    """The data of the lab: rows to learn from, to choose by, to report on, and to take gradients on."""

    name: str
    train: Rows
    valid: Rows | None
    test: Rows
    probe: Rows
    scale: Any
    shift: Any
    classes: int

    @classmethod
    def of(cls, dataset: Dataset, *, train_rows: int, valid_rows: int, probe_rows: int, seed: int) -> "LabData":
        """Cut a classification's training rows, balanced by class; at most so many of each are used."""
        x, y = dataset.train
        share = min(valid_rows / len(x), 0.25)
        train, valid = split(x, y, fraction=share, seed=seed, stratify=True)
        if train_rows < len(train[0]):
            train = split(train[0], train[1], fraction=train_rows / len(train[0]), seed=seed, stratify=True)[1]
        assert dataset.test is not None
        probe = (train[0][:probe_rows], train[1][:probe_rows])
        return cls(
            dataset.name,
            (train[0], train[1]),
            (valid[0], valid[1]),
            dataset.test,
            probe,
            dataset.scale,
            dataset.shift,
            dataset.outputs,
        )

    def with_all(self, train: Rows) -> "LabData":
        """The same with all training rows, none of them kept to choose by."""
        return replace(self, train=train, valid=None)


class Probe(Callback):
    """Measures each linear layer before training and after every epoch: max |w|, and its gradient on one batch."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.max_weight: list[list[float]] = []
        self.gradients: list[list[float]] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        """Measure the net as it was drawn."""
        self._measure(trainer)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:  # noqa: ARG002 - the callback's signature
        """Measure it again."""
        self._measure(trainer)

    def _measure(self, trainer: Trainer) -> None:
        net, backend = trainer.net, trainer.net.backend
        x, y = backend.asarray(self.rows[0], net.dtype), backend.asarray(self.rows[1], "int64")
        _, dy = trainer.loss(net.forward(x, train=True), y)
        net.accumulate(dy)
        weights = [layer.weight for _, layer in net.named_layers() if isinstance(layer, nn.Linear)]
        xp = namespace(dy)
        self.max_weight.append([float(to_host(xp.max(xp.abs(w.data)))) for w in weights])
        self.gradients.append([float(to_host(xp.sqrt(xp.sum(w.grad * w.grad)))) for w in weights])
        net.zero_grad()


def perceptron(data: LabData, setting: Setting) -> nn.Sequential:
    """Rescale, then `depth` linear layers with an activation between them."""
    initializer = INITIALIZERS.get(setting.activation, "lecun_normal")
    layers: list[nn.Layer] = [nn.Rescale(data.scale, data.shift)]
    width = int(data.train[0].shape[1])
    for _ in range(setting.depth - 1):
        layers += [nn.Linear(width, setting.width, weight_init=initializer), ACTIVATIONS[setting.activation]()]
        width = setting.width
    return nn.Sequential(*layers, nn.Linear(width, data.classes))


def train(data: LabData, setting: Setting) -> Run:
    """Train one net and measure it; a loss that is not finite any more is a result too."""
    net = perceptron(data, setting)
    probe = Probe(data.probe)
    trainer = Trainer(
        net,
        losses.CrossEntropyLoss(),
        optim.SGD(net.parameters(), lr=optim.Cosine(setting.lr)),
        metrics=["accuracy"],
        callbacks=[probe],
        seed=setting.seed,
        progress=False,
    )
    run = Run(setting)
    try:
        # At a rate that is too large, numbers overflow on their way to the error that tells so.
        with np.errstate(all="ignore"):
            trainer.fit(data.train, data.valid, epochs=setting.epochs, batch_size=setting.batch_size)
        run.test_accuracy = float(trainer.evaluate(data.test)["accuracy"])
        run.valid_accuracy = float(trainer.history.last.get("valid_accuracy", math.nan))
    except NonFiniteError:
        run.diverged = True
        run.valid_accuracy = run.test_accuracy = 1.0 / data.classes
    run.history = trainer.history.as_dict()
    run.max_weight, run.gradients = probe.max_weight, probe.gradients
    return run


def best_of(runs: Sequence[Run]) -> Run:
    """The run that validates best; the smaller rate wins a tie. Test rows never decide."""
    return max(runs, key=lambda run: (not run.diverged, run.valid_accuracy, -run.setting.lr))


@dataclass(frozen=True)
class Score:
    """The test accuracy of one setting over several seeds.

    Attributes:
        values: one for each seed.
        rows: how many test rows each was measured on.
    """

    values: tuple[float, ...]
    rows: int

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds, 0 for a single one."""
        return stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def error(self) -> float:
        """Standard error of the mean: by the seeds and by the finite number of test rows."""
        chance = self.mean * (1.0 - self.mean) / self.rows
        return math.sqrt(self.deviation**2 / len(self.values) + chance)

    def differs(self, other: "Score") -> bool:
        """Whether the difference is larger than twice its standard error."""
        return abs(self.mean - other.mean) > 2.0 * math.sqrt(self.error**2 + other.error**2)

    def __str__(self) -> str:
        spread = f" ± {100 * self.deviation:.2f}" if len(self.values) > 1 else ""
        return f"{100 * self.mean:.2f}{spread} %"
