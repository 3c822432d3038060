"""Who is timed: anyfw, through `Trainer` and through the bare step, and the matrix products alone.

A contestant is made of a workload, in a process of its own, so that thread pools do not meet. Each starts from the same
weights, holds the same data, and gathers the shuffled rows of every step itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import peers
from workloads import RATES, Workload

Weights = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Contestant:
    """One way to train.

    Attributes:
        make: of a workload, (train one round, give the weights as they are); None where it cannot train this one.
        environment: variables set before its process starts.
        package: what must be installed.
    """

    make: Callable[[Workload], tuple[Callable[[], object], Callable[[], Weights]] | None]
    environment: dict[str, str] = field(default_factory=dict)
    package: str = "anyfw"


def anyfw_net(workload: Workload, backend: str = "numpy"):
    """(net, loss, optimizer) with the workload's weights."""
    from anyfw import losses, nn, optim

    layers = []
    for i, (weight, bias) in enumerate(workload.weights()):
        if i:
            layers.append(nn.ReLU() if workload.activation == "relu" else nn.Tanh())
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = weight, bias
        layers.append(layer)
    net = nn.Sequential(*layers).to(backend, "float32")
    loss = losses.MSELoss() if workload.task == "values" else losses.CrossEntropyLoss()
    rate = RATES[workload.optimizer]
    if workload.optimizer == "adam":
        return net, loss, optim.Adam(net.parameters(), lr=rate)
    return net, loss, optim.SGD(net.parameters(), lr=rate, momentum=0.9 if workload.optimizer == "momentum" else 0.0)


def anyfw_trainer(workload: Workload, backend: str = "numpy", **options):
    """Through the public Trainer."""
    from anyfw import Trainer

    net, loss, optimizer = anyfw_net(workload, backend)
    trainer = Trainer(net, loss, optimizer, progress=False, **options)
    data = workload.data()
    return lambda: trainer.fit(data, epochs=workload.epochs, batch_size=workload.batch), lambda: _weights(net)


def anyfw_step(workload: Workload):
    """The bare step: the same calls without a Trainer."""
    from anyfw.ops.gather import gather

    net, loss, optimizer = anyfw_net(workload)
    x, y = workload.data()
    generator = np.random.default_rng(2)

    def run() -> None:
        for rows in workload.batches(generator):
            _, dy = loss(net.forward(gather(x, rows), train=True), gather(y, rows))
            net.accumulate(dy)
            optimizer.step()
            optimizer.zero_grad()

    return run, lambda: _weights(net)


def products(workload: Workload):
    """The floor: the step's matrix products and nothing else, into arrays that are there already."""
    weights = [weight for weight, _ in workload.weights()]
    gradients = [np.empty_like(weight) for weight in weights]
    values = [np.ones((workload.batch, n), dtype=np.float32) for n in workload.widths]
    deltas = [np.ones_like(value) for value in values]

    def run() -> None:
        for _ in range(workload.steps):
            for i, weight in enumerate(weights):
                np.matmul(values[i], weight.T, out=values[i + 1])
                np.matmul(deltas[i + 1].T, values[i], out=gradients[i])
                if i:  # no gradient of the input is needed
                    np.matmul(deltas[i + 1], weight, out=deltas[i])

    return run, None


def _weights(net) -> Weights:
    values = [net.backend.to_numpy(parameter.data) for parameter in net.parameters()]
    return list(zip(values[::2], values[1::2], strict=True))


_PLAIN, _REFERENCE = {"ANYFW_FUSED": "plain"}, {"ANYFW_FUSED": "0"}

# Those that are compared most closely run one after the other: a machine's speed changes within a round, too.
CONTESTANTS = {
    "products alone": Contestant(products),
    "anyfw step": Contestant(anyfw_step, package="numba"),
    "JAX jit": Contestant(peers.jax_jit, {"JAX_PLATFORMS": "cpu"}, package="jax"),
    "anyfw Trainer": Contestant(anyfw_trainer, package="numba"),
    "JAX scan": Contestant(peers.jax_scan, {"JAX_PLATFORMS": "cpu"}, package="jax"),
    "anyfw Trainer, no extras": Contestant(anyfw_trainer, _PLAIN),
    "torch fused": Contestant(peers.torch_fused, package="torch"),
    "torch compiled": Contestant(peers.torch_compiled, package="torch"),
    "torch eager": Contestant(peers.torch_eager, package="torch"),
    "scikit-learn": Contestant(peers.scikit_learn, package="sklearn"),
    "anyfw step, no extras": Contestant(anyfw_step, _PLAIN),
    "anyfw Trainer, reference": Contestant(anyfw_trainer, _REFERENCE),
    "Keras on JAX": Contestant(peers.keras_jax, {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}, package="keras"),
    "thinc": Contestant(peers.thinc, package="thinc"),
}
