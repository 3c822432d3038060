"""Who is timed: each contestant is a function of a workload that returns `round() -> (seconds per step, last loss)`.

Every one gathers shuffled rows from data that it holds, runs forward, loss, backward and update, and starts from the
same weights. Each runs in a process of its own, so that thread pools do not meet.
"""

import time
from collections.abc import Callable
from itertools import islice

import numpy as np
from workloads import RATES, Workload

Round = Callable[[], tuple[float, float]]


def _net(workload: Workload):
    from anyfw import losses, nn, optim

    layers = []
    for i, (weight, bias) in enumerate(workload.weights()):
        if i:
            layers.append(nn.ReLU() if workload.activation == "relu" else nn.Tanh())
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = weight, bias
        layers.append(layer)
    net = nn.Sequential(*layers).to("numpy", "float32")
    loss = losses.MSELoss() if workload.task == "values" else losses.CrossEntropyLoss()
    rate = RATES[workload.optimizer]
    if workload.optimizer == "adam":
        return net, loss, optim.Adam(net.parameters(), lr=rate)
    return net, loss, optim.SGD(net.parameters(), lr=rate, momentum=0.9 if workload.optimizer == "momentum" else 0.0)


def anyfw_trainer(workload: Workload) -> Round:
    """Through the public Trainer."""
    from anyfw import Trainer

    net, loss, optimizer = _net(workload)
    trainer = Trainer(net, loss, optimizer, progress=False)
    x, y = workload.data()
    epochs = max(1, workload.steps * workload.batch // len(x))

    def run() -> tuple[float, float]:
        started = time.perf_counter()
        history = trainer.fit((x, y), epochs=epochs, batch_size=workload.batch)
        seconds = time.perf_counter() - started
        return seconds / (epochs * -(-len(x) // workload.batch)), history["loss"][-1]

    return run


def anyfw_step(workload: Workload) -> Round:
    """The bare step: the same calls without a Trainer."""
    net, loss, optimizer = _net(workload)
    x, y = workload.data()

    def run() -> tuple[float, float]:
        started = time.perf_counter()
        for rows in _batches(workload, len(x)):
            value, dy = loss(net.forward(x.take(rows, axis=0), train=True), y.take(rows, axis=0))
            net.accumulate(dy)
            optimizer.step()
            optimizer.zero_grad()
        return (time.perf_counter() - started) / workload.steps, float(value)

    return run


def products(workload: Workload) -> Round:
    """The floor: the step's matrix products and nothing else, in NumPy."""
    weights = [weight for weight, _ in workload.weights()]
    activations = [np.ones((workload.batch, n), dtype=np.float32) for n in workload.widths]

    def run() -> tuple[float, float]:
        started = time.perf_counter()
        for _ in range(workload.steps):
            for i, weight in enumerate(weights):
                activations[i] @ weight.T
                activations[i + 1].T @ activations[i]
                if i:
                    activations[i + 1] @ weight
        return (time.perf_counter() - started) / workload.steps, float("nan")

    return run


def torch_eager(workload: Workload) -> Round:
    """PyTorch as one writes it."""
    return _torch(workload, fused=False)


def torch_fused(workload: Workload) -> Round:
    """PyTorch with the fused optimiser."""
    return _torch(workload, fused=True)


def _torch(workload: Workload, *, fused: bool) -> Round:
    import torch

    layers = []
    for i, (weight, bias) in enumerate(workload.weights()):
        if i:
            layers.append(torch.nn.ReLU() if workload.activation == "relu" else torch.nn.Tanh())
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        layers.append(layer)
    net = torch.nn.Sequential(*layers)
    loss = torch.nn.MSELoss() if workload.task == "values" else torch.nn.CrossEntropyLoss()
    rate = RATES[workload.optimizer]
    if workload.optimizer == "adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=rate, fused=fused)
    else:
        momentum = 0.9 if workload.optimizer == "momentum" else 0.0
        optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=momentum, fused=fused)
    x, y = (torch.from_numpy(part) for part in workload.data())

    def run() -> tuple[float, float]:
        started = time.perf_counter()
        for rows in _batches(workload, len(x)):
            index = torch.from_numpy(rows)
            optimizer.zero_grad()
            value = loss(net(x[index]), y[index])
            value.backward()
            optimizer.step()
        return (time.perf_counter() - started) / workload.steps, value.item()

    return run


def _batches(workload: Workload, rows: int):
    generator = np.random.default_rng(2)

    def endless():
        while True:
            order = generator.permutation(rows)
            for start in range(0, rows, workload.batch):
                yield order[start : start + workload.batch]

    return islice(endless(), workload.steps)


CONTESTANTS = {
    "products alone": products,
    "anyfw Trainer": anyfw_trainer,
    "anyfw step": anyfw_step,
    "torch eager": torch_eager,
    "torch fused": torch_fused,
}
