"""The peers, each as its own documentation would have it written for speed: PyTorch, JAX, scikit-learn, Keras, thinc.

Each function is the `make` of a contestant: of a workload, (train one round, give the weights as they are).
"""

import numpy as np
from workloads import RATES, Workload


def torch_eager(workload: Workload):
    """PyTorch as one writes it."""
    return _torch(workload, fused=False, compiled=False)


def torch_fused(workload: Workload):
    """PyTorch with its fused optimiser."""
    return _torch(workload, fused=True, compiled=False)


def torch_compiled(workload: Workload):
    """The fused optimiser, and torch.compile for forward and loss; backward is compiled along with them."""
    return _torch(workload, fused=True, compiled=True)


def torch_parts(workload: Workload, *, fused: bool, device: str):
    """(net, criterion, optimizer, x, y) with the workload's weights, on a device."""
    import torch

    layers = []
    for i, (weight, bias) in enumerate(workload.weights()):
        if i:
            layers.append(torch.nn.ReLU() if workload.activation == "relu" else torch.nn.Tanh())
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        layers.append(layer)
    net = torch.nn.Sequential(*layers).to(device)
    criterion = torch.nn.MSELoss() if workload.task == "values" else torch.nn.CrossEntropyLoss()
    if workload.optimizer == "adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=RATES["adam"], fused=fused)
    else:
        momentum = 0.9 if workload.optimizer == "momentum" else 0.0
        optimizer = torch.optim.SGD(net.parameters(), lr=RATES[workload.optimizer], momentum=momentum, fused=fused)
    x, y = (torch.from_numpy(part).to(device) for part in workload.data())
    return net, criterion, optimizer, x, y


def torch_weights(net):
    """(weight, bias) of each layer, on the host."""
    values = [parameter.detach().cpu().numpy() for parameter in net.parameters()]
    return list(zip(values[::2], values[1::2], strict=True))


def _torch(workload: Workload, *, fused: bool, compiled: bool):
    import torch

    net, criterion, optimizer, x, y = torch_parts(workload, fused=fused, device="cpu")
    generator = np.random.default_rng(2)

    def loss(rows):
        return criterion(net(x[rows]), y[rows])

    if compiled:
        loss = torch.compile(loss)

    def run() -> None:
        for rows in workload.batches(generator):
            optimizer.zero_grad()
            loss(torch.from_numpy(rows)).backward()
            optimizer.step()

    return run, lambda: torch_weights(net)


def jax_jit(workload: Workload):
    """One jitted function a step, which gathers the rows, with its arguments donated."""
    import jax

    step, state, data = _jax(workload)
    generator = np.random.default_rng(2)
    step = jax.jit(step, donate_argnums=0)

    def run() -> None:
        nonlocal state
        for rows in workload.batches(generator):
            state = step(state, data, rows.astype(np.int32))
        jax.block_until_ready(state)

    return run, lambda: _jax_weights(state)


def jax_scan(workload: Workload):
    """All steps of a pass in one jitted `lax.scan`; a smaller last batch is a step of its own."""
    import jax

    step, state, data = _jax(workload)
    generator = np.random.default_rng(2)
    full = workload.rows // workload.batch
    single = jax.jit(step, donate_argnums=0)

    def passed(state, data, rows):
        return jax.lax.scan(lambda state, rows: (step(state, data, rows), None), state, rows)[0]

    scan = jax.jit(passed, donate_argnums=0)

    def run() -> None:
        nonlocal state
        for _ in range(workload.epochs):
            order = generator.permutation(workload.rows).astype(np.int32)
            state = scan(state, data, order[: full * workload.batch].reshape(full, workload.batch))
            if full * workload.batch < workload.rows:
                state = single(state, data, order[full * workload.batch :])
        jax.block_until_ready(state)

    return run, lambda: _jax_weights(state)


def _jax(workload: Workload):
    """(step, state, data) for either way: step(state, data, rows) -> state."""
    import jax
    import jax.numpy as jnp

    rate = RATES[workload.optimizer]
    activation = jax.nn.relu if workload.activation == "relu" else jnp.tanh
    parameters = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in workload.weights()]
    x, y = workload.data()
    data = jnp.asarray(x), jnp.asarray(y if workload.task == "values" else y.astype(np.int32))
    slots = {"sgd": 0, "momentum": 1, "adam": 2}[workload.optimizer]
    moments = tuple(jax.tree.map(jnp.zeros_like, parameters) for _ in range(slots))

    def loss(parameters, x, y):
        h = x
        for i, (weight, bias) in enumerate(parameters):
            h = (activation(h) if i else h) @ weight.T + bias
        if workload.task == "values":
            return jnp.mean((h - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), y[:, None], axis=1))

    def step(state, data, rows):
        parameters, moments, t = state
        x, y = data
        gradient = jax.grad(loss)(parameters, x[rows], y[rows])
        if workload.optimizer == "adam":
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], gradient)
            c1, c2 = 1 - 0.9**t, 1 - 0.999**t
            parameters = jax.tree.map(lambda p, m, v: p - rate * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), parameters, m, v)
            return parameters, (m, v), t
        if workload.optimizer == "momentum":
            gradient = jax.tree.map(lambda b, g: 0.9 * b + g, moments[0], gradient)
            moments = (gradient,)
        return jax.tree.map(lambda p, g: p - rate * g, parameters, gradient), moments, t

    return step, (parameters, moments, jnp.float32(0)), data


def _jax_weights(state):
    return [(np.asarray(weight), np.asarray(bias)) for weight, bias in state[0]]


def scikit_learn(workload: Workload):
    """MLPClassifier or MLPRegressor, one `fit` a round, as one trains with it."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    x, y = workload.data()
    net = (MLPRegressor if workload.task == "values" else MLPClassifier)(
        hidden_layer_sizes=workload.widths[1:-1],
        activation=workload.activation,
        solver="adam" if workload.optimizer == "adam" else "sgd",
        alpha=0.0,
        batch_size=workload.batch,
        # Its squared error is half of ours.
        learning_rate_init=RATES[workload.optimizer] * (2 if workload.task == "values" else 1),
        max_iter=workload.epochs,
        momentum=0.9 if workload.optimizer == "momentum" else 0.0,
        nesterovs_momentum=False,
        warm_start=True,
        n_iter_no_change=10**9,
        random_state=0,
    )
    y = y.ravel() if workload.task == "values" else y

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is to stop after max_iter
            net.fit(x, y)

    # Two classes have one output there; its first fit makes the arrays that take the weights.
    net.set_params(max_iter=1)
    run()
    net.set_params(max_iter=workload.epochs)
    given = workload.weights()
    if net.coefs_[-1].shape[1] != given[-1][0].shape[0]:
        weight, bias = given[-1]
        given[-1] = (weight[1:] - weight[:1], bias[1:] - bias[:1])
    for i, (weight, bias) in enumerate(given):
        net.coefs_[i], net.intercepts_[i] = weight.T.copy(), bias.copy()

    def weights():
        found = [(weight.T, bias) for weight, bias in zip(net.coefs_, net.intercepts_, strict=True)]
        weight, bias = found[-1]
        if workload.task == "classes" and len(weight) == 1:
            found[-1] = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
        return found

    return run, weights


def keras_jax(workload: Workload):
    """Keras on its JAX backend: compile, then `fit`."""
    import keras

    net = keras.Sequential([keras.Input((workload.widths[0],))])
    for i, width in enumerate(workload.widths[1:], 1):
        net.add(keras.layers.Dense(width, workload.activation if i < len(workload.widths) - 1 else None))
    net.set_weights([part for weight, bias in workload.weights() for part in (weight.T, bias)])
    rate = RATES[workload.optimizer]
    if workload.optimizer == "adam":
        optimizer = keras.optimizers.Adam(rate, epsilon=1e-8)
    else:
        optimizer = keras.optimizers.SGD(rate, momentum=0.9 if workload.optimizer == "momentum" else 0.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if workload.task == "classes" else "mse"
    net.compile(optimizer, loss)
    x, y = workload.data()

    def run() -> None:
        net.fit(x, y, batch_size=workload.batch, epochs=workload.epochs, verbose=0)

    def weights():
        values = net.get_weights()
        return [(weight.T, bias) for weight, bias in zip(values[::2], values[1::2], strict=True)]

    return run, weights


def thinc(workload: Workload):
    """Thinc's layers, its blis products and its optimisers, which have no momentum."""
    if workload.optimizer == "momentum":
        return None
    from thinc.api import SGD, Adam, Linear, Model, Relu, chain

    def tanh():  # Thinc has none of its own
        def forward(model, x, is_train):  # noqa: ARG001
            y = model.ops.xp.tanh(x)
            return y, lambda dy: dy * (1 - y * y)

        return Model("tanh", forward)

    last = len(workload.widths) - 2
    linears, layers = [], []
    for i, (n, m) in enumerate(zip(workload.widths, workload.widths[1:], strict=False)):
        relu = workload.activation == "relu" and i < last
        linears.append(Relu(m, n) if relu else Linear(m, n))
        layers += [linears[-1]] if relu or i == last else [linears[-1], tanh()]
    net = chain(*layers).initialize()
    for linear, (weight, bias) in zip(linears, workload.weights(), strict=True):
        linear.set_param("W", weight)
        linear.set_param("b", bias)
    make = Adam if workload.optimizer == "adam" else SGD
    optimizer = make(RATES[workload.optimizer], grad_clip=0.0, use_averages=False)
    x, y = workload.data()
    target = y if workload.task == "values" else np.eye(workload.widths[-1], dtype=np.float32)[y]
    generator = np.random.default_rng(2)

    def run() -> None:
        for rows in workload.batches(generator):
            out, backward = net.begin_update(x[rows])
            if workload.task == "values":
                d = (out - target[rows]) * np.float32(2 / out.size)
            else:
                d = (net.ops.softmax(out, inplace=False) - target[rows]) / np.float32(len(rows))
            backward(d)
            net.finish_update(optimizer)

    return run, lambda: [(linear.get_param("W"), linear.get_param("b")) for linear in linears]
