"""The lesson: a learner's own cells run as they stand, and agree with plain NumPy formulas to 1e-12."""

import copy

import numpy as np
import pytest
from conftest import open_backend

from anyfw.core.backend import use_backend
from anyfw.core.errors import BackwardError, ConfigError, DataError, PlacementError, ShapeError
from anyfw.lesson import (
    AbsoluteLoss,
    CrossEntropyLoss,
    Linear,
    LogisticLoss,
    Net,
    ReLU,
    Sigmoid,
    Softmax,
    SquaredLoss,
    Tanh,
    ZeroOneLoss,
    get_loss_acc,
    train_epoch,
)

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def close(found, expected, backend) -> bool:
    exact = EXACT if backend.has_float64 else {"rtol": 1e-4, "atol": 1e-5}
    return isinstance(found, np.ndarray) and np.allclose(found, expected, **exact)


def data(rows=12, features=3, classes=4, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(rows, features)).astype("f4"), draw.integers(0, classes, rows)


# The formulas of the lesson in plain NumPy, one function a layer: (output, function from dy to dx).


def np_linear(x, W, b):
    return x @ W.T + b, lambda dz: (dz @ W, dz.T @ x, dz.sum(axis=0, keepdims=True))


def np_softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, lambda dp: p * dp - p * (p * dp).sum(axis=1, keepdims=True)


ELEMENTWISE = {
    Tanh: lambda x: (np.tanh(x), lambda dy: dy * (1 - np.tanh(x) ** 2)),
    ReLU: lambda x: (np.where(x > 0, x, 0.0), lambda dy: np.where(x > 0, dy, 0.0)),
    Sigmoid: lambda x: (1 / (1 + np.exp(-x)), lambda dy: dy * np.exp(-x) / (1 + np.exp(-x)) ** 2),
    Softmax: np_softmax,
}


def np_cross_entropy(p, y):
    rows = np.arange(len(y))
    dp = np.zeros_like(p)
    dp[rows, y] = -1.0 / (len(y) * p[rows, y])
    return -np.log(p[rows, y]).mean(), dp


def np_logistic(f, y):
    s = 1 / (1 + np.exp(-f))
    t = np.reshape(y, f.shape)
    return -(t * np.log(s) + (1 - t) * np.log(1 - s)).mean(), (s - t) / len(y)


LOSSES = {
    CrossEntropyLoss: (np_cross_entropy, "labels"),
    LogisticLoss: (np_logistic, "binary"),
    SquaredLoss: (lambda p, y: (((p - y) ** 2).mean(), 2 * (p - y) / p.size), "values"),
    AbsoluteLoss: (lambda p, y: (np.abs(p - y).mean(), np.sign(p - y) / p.size), "values"),
}


@pytest.mark.parametrize("make", ELEMENTWISE)
def test_a_layer_alone_follows_its_formula(backend, make):
    x, dy = np.random.default_rng(1).normal(size=(2, 5, 4))
    layer = make()
    y, backward = ELEMENTWISE[make](x)
    assert close(layer.forward(x), y, backend)
    assert close(layer.backward(dy), backward(dy), backend)
    assert "update" not in dir(layer)


def test_linear_alone_follows_its_formula(backend):
    x, _ = data()
    dz = np.random.default_rng(1).normal(size=(12, 4))
    lin = Linear(3, 4)
    W, b = (np.array(backend.to_numpy(v)) for v in (lin.W, lin.b))
    assert (W.shape, b.shape, np.abs(b).max()) == ((4, 3), (1, 4), 0.0)
    lin.b = b = np.arange(4.0).reshape(1, 4)
    z, backward = np_linear(x.astype("f8"), W, b)
    dx, dW, db = backward(dz)
    assert close(lin.forward(x), z, backend)
    assert close(lin.backward(dz), dx, backend)
    lin.update(0.1)
    found = {name: backend.to_numpy(getattr(lin, name)) for name in ("W", "b", "dW", "db")}
    for name, expected in {"W": W - 0.1 * dW, "b": b - 0.1 * db, "dW": dW, "db": db}.items():
        assert found[name].shape == expected.shape
        assert close(found[name], expected, backend), name
    assert "update" in lin.__dir__()


@pytest.mark.parametrize("make", LOSSES)
def test_a_loss_follows_its_formula(backend, make):
    formula, kind = LOSSES[make]
    draw = np.random.default_rng(2)
    p = draw.uniform(0.1, 0.9, size=(6, 1 if kind == "binary" else 3))
    y = {"labels": draw.integers(0, 3, 6), "binary": draw.integers(0, 2, 6), "values": draw.normal(size=p.shape)}[kind]
    loss = make()
    value = loss.forward(p, y)
    expected, dp = formula(p, y)
    assert type(value) is float
    assert close(np.array(value), expected, backend)
    assert close(loss.backward(value), dp, backend)
    assert close(loss.backward(), dp, backend)


def np_train(W, x, y, batch_size, lr):
    """The lesson's training loop of Linear, Tanh, Linear, Softmax in plain NumPy, in place."""
    W1, b1, W2, b2 = W
    for i in range(0, len(x), batch_size):
        xb, yb = x[i : i + batch_size], y[i : i + batch_size]
        z1, back1 = np_linear(xb, W1, b1)
        h, backh = ELEMENTWISE[Tanh](z1)
        z2, back2 = np_linear(h, W2, b2)
        p, backp = np_softmax(z2)
        _, dp = np_cross_entropy(p, yb)
        dh, dW2, db2 = back2(backp(dp))
        _, dW1, db1 = back1(backh(dh))
        for value, gradient in zip(W, (dW1, db1, dW2, db2), strict=True):
            value -= lr * gradient


def two_layers(**kwargs) -> Net:
    net = Net(**kwargs)
    net.add(Linear(3, 5))
    net.add(Tanh())
    net.add(Linear(5, 4))
    net.add(Softmax())
    return net


@pytest.mark.parametrize("own_loop", [False, True])
def test_training_follows_the_formulas(backend, own_loop):
    x, y = data(rows=30)  # the last batch is smaller
    net, loss = two_layers(), CrossEntropyLoss()
    values = [np.array(backend.to_numpy(v)) for lin in (net.layers[0], net.layers[2]) for v in (lin.W, lin.b)]
    for _ in range(3):
        if own_loop:
            for i in range(0, len(x), 4):
                p = net.forward(x[i : i + 4])
                l = loss.forward(p, y[i : i + 4])  # noqa: E741 - the learner's name
                dp = loss.backward(l)
                net.backward(dp)
                net.update(0.1)
        else:
            train_epoch(net, x, y, loss, batch_size=4, lr=0.1)
        np_train(values, x.astype("f8"), y, 4, 0.1)
    found = [backend.to_numpy(v) for lin in (net.layers[0], net.layers[2]) for v in (lin.W, lin.b)]
    for one, expected in zip(found, values, strict=True):
        assert close(one, expected, backend)
    p = net.forward(x)
    value, accuracy = get_loss_acc(net, x, y, loss)
    assert close(np.array(value), np_cross_entropy(p.astype("f8"), y)[0], backend)
    assert close(np.array(accuracy), (np.argmax(p, axis=1) == y).mean(), backend)


def test_what_comes_in_decides_what_comes_out(backend):
    x, y = data()
    net, loss = two_layers(), CrossEntropyLoss()
    assert isinstance(net.forward(x), np.ndarray)
    assert isinstance(net.forward(x.tolist()), np.ndarray)
    on_device = backend.asarray(x, "float32")
    p = net.forward(on_device)
    value = loss.forward(p, backend.asarray(y))
    dp = loss.backward(value)
    arrays = [p, value, dp, net.backward(dp), net.layers[0].W, net.layers[0].dW]
    assert all(backend.owns(a) or backend.name == "numpy" for a in arrays)
    dtype = "float64" if backend.has_float64 else "float32"
    assert {str(backend.to_numpy(a).dtype) if not isinstance(a, float) else dtype for a in arrays} == {dtype}
    assert np.array_equal(backend.to_numpy(p), net.forward(x))
    # NumPy and device arrays may follow each other.
    host = loss.forward(net.forward(x), backend.asarray(y))
    assert close(np.array(host), np.array(float(value)), backend)
    assert isinstance(net.backward(loss.backward(host)), np.ndarray)
    for labels in (y.astype("u1"), y.tolist(), tuple(y), y.astype("i4")):
        assert loss.forward(net.forward(x), labels) == host
    one = net.layers[0].forward(x[0])
    assert np.array_equal(one, net.layers[0].forward(x[:1]))


@pytest.mark.parametrize("trainer", [train_epoch, lambda *args: get_loss_acc(*args)])
def test_the_loop_stays_on_the_device(monkeypatch, trainer):
    backend = open_backend("strict:device1")
    with use_backend(backend):
        net, loss = two_layers(), CrossEntropyLoss()
    x, y = data(rows=400)
    moves: list[object] = []
    for name in ("asarray", "to_numpy"):
        real = getattr(backend, name)
        monkeypatch.setattr(backend, name, lambda *a, real=real: (moves.append(1), real(*a))[1])
    trainer(net, x, y, loss)
    assert len(moves) < 15, "100 batches were moved one by one"


def test_weights_are_a_function_of_the_code():
    first, again, other = two_layers(), two_layers(), two_layers(seed=1)
    assert np.array_equal(first.layers[0].W, again.layers[0].W)
    assert np.array_equal(first.layers[2].W, again.layers[2].W)
    assert not np.array_equal(first.layers[0].W, other.layers[0].W)
    assert np.array_equal(Linear(2, 2).W, Linear(2, 2).W)
    assert not np.array_equal(Linear(2, 2).W, Linear(2, 2, seed=1).W)
    net = Net()
    for _ in range(3):
        net.add(Linear(2, 2))
    net.layers.append(Linear(2, 2))  # past add, as in a learner's own Net
    net.forward([[1.0, 2.0]])
    for i in range(4):
        for j in range(i):
            assert not np.array_equal(net.layers[i].W, net.layers[j].W)
    W = Linear(400, 300).W
    assert abs(W.mean()) < 1e-3
    assert abs(W.std() * np.sqrt(400) - 1) < 0.01


def test_equal_weights_never_enter_a_net_silently():
    one, two = Linear(2, 2), Linear(2, 2)
    kept = one.W.copy(), two.W.copy()
    net = Net()
    net.add(one)
    with pytest.raises(ConfigError, match=r"same weights as layer 0.*Linear\(2, 2, 1\)"):
        net.add(two)
    assert net.layers == [one]
    three = Linear(2, 2, 1)
    assert not np.array_equal(three.W, kept[0])
    net.add(three)
    assert np.array_equal(one.W, kept[0]), "a layer that was looked at keeps its weights"
    two.W[0, 0] = 5.0
    net.add(two)


def test_weights_are_assignable_in_every_way(backend):
    lin = Linear(2, 3)
    array = lin.W
    lin.forward([[1.0, 2.0]])
    lin.backward([[1.0, 1.0, 1.0]])
    expected = backend.to_numpy(lin.W) - 0.1 * backend.to_numpy(lin.dW)
    lin.W -= 0.1 * lin.dW
    assert lin.W is array
    assert close(backend.to_numpy(lin.W), expected, backend)
    lin.b[...] = 2.0
    assert backend.to_numpy(lin.b).tolist() == [[2.0, 2.0, 2.0]]
    mine = np.arange(6).reshape(3, 2)
    lin.W = mine
    mine[0, 0] = 99
    assert backend.to_numpy(lin.W).tolist() == [[0, 1], [2, 3], [4, 5]]
    lin.W = backend.asarray(np.ones((3, 2), "f4"))
    assert lin.forward([[1.0, 2.0]]).tolist() == [[5.0, 5.0, 5.0]]
    new = Linear(2, 3)
    new.dW[...] = 2.0
    assert backend.to_numpy(new.dW).tolist() == [[2.0, 2.0]] * 3
    lin.dW, lin.db = np.ones((3, 2)), [[1.0, 2.0, 3.0]]
    lin.update(1.0)
    assert backend.to_numpy(lin.W).tolist() == [[0.0, 0.0]] * 3
    assert backend.to_numpy(lin.b).tolist() == [[1.0, 0.0, -1.0]]
    with pytest.raises(ShapeError, match=r"W of shape \(3, 2\), got \(2, 3\)"):
        lin.W = np.zeros((2, 3))


def test_backward_belongs_to_the_last_forward_and_may_be_repeated():
    lin, dz = Linear(2, 2), np.ones((1, 2))
    assert np.array_equal(lin.dW, np.zeros((2, 2)))
    for _ in range(1000):
        lin.forward(np.ones((50, 2)))
    lin.forward([[3.0, 4.0]])
    first = lin.backward(dz), lin.dW
    assert lin.dW.tolist() == [[3.0, 4.0], [3.0, 4.0]]
    lin.forward([[5.0, 6.0]])
    lin.backward(dz)
    assert first[1].tolist() == [[3.0, 4.0], [3.0, 4.0]], "the former gradients are still theirs"
    assert lin.dW.tolist() == [[5.0, 6.0], [5.0, 6.0]], "overwritten, not added"
    held = [value for value in vars(lin).values() if isinstance(value, np.ndarray)]
    assert [value.shape for value in held] == [(1, 2)], "one input is kept"


def test_probabilities_are_not_clipped():
    loss = CrossEntropyLoss()
    with np.errstate(divide="ignore"):
        assert loss.forward([[1.0, 0.0], [0.0, 1.0]], [0, 0]) == np.inf
        assert np.isinf(loss.backward()[1, 0])
    tiny = 1e-300
    assert loss.forward([[tiny, 1.0]], [0]) == pytest.approx(-np.log(tiny))
    assert loss.backward() == pytest.approx(np.array([[-1e300, 0.0]]))


@pytest.mark.parametrize("far", [-800.0, 800.0])
def test_extreme_scores_do_not_overflow(far):
    assert LogisticLoss().forward([far], [0]) == pytest.approx(max(far, 0.0))
    assert Sigmoid().forward([[far]]).tolist() == [[float(far > 0)]]
    assert Softmax().forward([[far, 0.0]]).tolist() == [[float(far > 0), float(far < 0)]]


def test_accuracies():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert ZeroOneLoss().forward(p, [0, 0, 0]) == pytest.approx(1 / 3)
    net = Net()
    net.add(Linear(2, 1))
    net.layers[0].W = [[1.0, -1.0]]
    x = np.array([[2.0, 1.0], [1.0, 2.0], [3.0, 0.0], [0.0, 3.0]])
    assert get_loss_acc(net, x, [1, 0, 0, 0], LogisticLoss())[1] == 0.75
    value, accuracy = get_loss_acc(net, x, x[:, :1] - x[:, 1:] + 1.0, SquaredLoss())
    assert (value, accuracy) == (1.0, None)
    assert get_loss_acc(net, x, x[:, :1] - x[:, 1:] + 2.0, AbsoluteLoss()) == (2.0, None)


class Doubled:
    """A layer as a learner writes one."""

    def forward(self, x):
        self.x = x
        return 2 * x

    def backward(self, dy):
        return 2 * dy


class OwnLoss:
    """A loss as a learner writes one."""

    def forward(self, p, y):
        self.p, self.y = p, y
        return -np.log(p[np.arange(len(y)), y]).mean()

    def backward(self, loss):
        return np_cross_entropy(self.p, self.y)[1]


def test_layers_and_losses_of_the_learners_own():
    x, y = data()
    nets = []
    for loss in (OwnLoss(), CrossEntropyLoss()):
        net = two_layers()
        net.layers.insert(1, Doubled())
        train_epoch(net, x, y, loss)
        nets.append((net.forward(x), get_loss_acc(net, x, y, loss)))
    assert np.allclose(nets[0][0], nets[1][0], **EXACT)
    assert nets[0][1] == pytest.approx(nets[1][1])
    assert get_loss_acc(two_layers(), x, y) == get_loss_acc(two_layers(), x, y, CrossEntropyLoss())


def test_a_net_can_be_copied_to_keep_its_best_state():
    x, y = data()
    net = two_layers()
    p = net.forward(x)
    best = copy.deepcopy(net)
    train_epoch(net, x, y)
    assert not np.array_equal(net.forward(x), p)
    assert np.array_equal(best.forward(x), p)


X, Y = data()
NAN = np.where(np.arange(3) == 1, np.nan, X)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Linear(0, 2), ConfigError, "widths of at least 1, got 0 and 2"),
        (lambda: Linear(2, 2.5), ConfigError, "whole widths"),
        (lambda: Linear(3, 2).forward(np.ones((4, 5))), ShapeError, r"\(rows, 3\), got \(4, 5\)"),
        (lambda: two_layers().forward(np.ones((4, 5))), ShapeError, "layer 0 of the net"),
        (lambda: Linear(3, 2).backward(np.ones((4, 2))), BackwardError, r"Linear\(3, 2\): backward without a forward"),
        (lambda: two_layers().backward(np.ones((4, 4))), BackwardError, "backward without a forward"),
        (lambda: Tanh().backward([1.0]), BackwardError, "Tanh"),
        (lambda: CrossEntropyLoss().backward(1.0), BackwardError, "CrossEntropyLoss: backward without"),
        (lambda: Linear(3, 2).update(0.1), BackwardError, "update without a backward"),
        (lambda: two_layers().update(-0.1), ConfigError, "learning rate"),
        (lambda: two_layers().update(float("nan")), ConfigError, "learning rate"),
        (lambda: two_layers().forward([[1.0, 2.0, 3.0], [1.0]]), DataError, "equal length"),
        (lambda: two_layers().forward([["a", "b", "c"]]), DataError, "expected numbers as x"),
        (lambda: two_layers().forward(np.array([[object()] * 3])), DataError, "got dtype object"),
        (lambda: Net().add(Tanh), ConfigError, "expected a layer"),
        (lambda: Net().add("tanh"), ConfigError, "expected a layer"),
        (lambda: CrossEntropyLoss().forward(np.ones((2, 3)), [0, 3]), DataError, "got 3 at row 1"),
        (lambda: CrossEntropyLoss().forward(np.ones((2, 3)), [0, -1]), DataError, "got -1 at row 1"),
        (lambda: CrossEntropyLoss().forward(np.ones((2, 3)), [0.0, 1.0]), DataError, "integer class labels"),
        (lambda: CrossEntropyLoss().forward(np.ones((2, 3)), [[0], [1]]), DataError, r"shape \(rows,\)"),
        (lambda: CrossEntropyLoss().forward(np.ones((2, 3)), [0]), DataError, "one label for each of 2 rows"),
        (lambda: CrossEntropyLoss().forward(np.ones((0, 3)), []), DataError, "at least one row"),
        (lambda: CrossEntropyLoss().forward(np.ones(3), [0, 1, 2]), ShapeError, r"\(rows, classes\)"),
        (lambda: CrossEntropyLoss().forward([[-1.0, 2.0]], [0]), DataError, r"add\(Softmax\(\)\) missing"),
        (lambda: ZeroOneLoss().backward(0.5), BackwardError, "no useful gradient"),
        (lambda: LogisticLoss().forward([[0.5], [1.0]], [-1, 1]), DataError, "labels 0 and 1, got -1 at row 0"),
        (lambda: LogisticLoss().forward(np.ones((2, 2)), [0, 1]), ShapeError, r"\(rows, 1\), got \(2, 2\)"),
        (lambda: LogisticLoss().forward(np.ones((2, 1)), np.ones((2, 2))), ShapeError, r"got \(2, 2\)"),
        (lambda: SquaredLoss().forward(np.ones((3, 1)), np.ones(3)), ShapeError, r"Use y.reshape\(-1, 1\)"),
        (lambda: SquaredLoss().forward(np.ones((3, 2)), np.ones((1, 2))), ShapeError, r"\(3, 2\), got \(1, 2\)"),
        (lambda: AbsoluteLoss().forward([[1.0]], [[float("nan")]]), DataError, "y holds NaN"),
        (lambda: train_epoch(two_layers(), X, Y[:5]), DataError, "as many rows in x as in y.*12 and 5"),
        (lambda: train_epoch(two_layers(), X[:0], Y[:0]), DataError, "at least one, got 0"),
        (lambda: train_epoch(two_layers(), X, Y, batch_size=0), ConfigError, "batch size of at least 1, got 0"),
        (lambda: train_epoch(two_layers(), X, Y, lr=-1.0), ConfigError, "learning rate"),
        (lambda: train_epoch(two_layers(), NAN, Y), DataError, "x holds NaN"),
        (lambda: train_epoch(two_layers(), X[:, 0], Y), ShapeError, r"x.reshape\(-1, 1\)"),
        (lambda: get_loss_acc(two_layers(), X, Y + 1), DataError, "got 4 at row"),
        (lambda: get_loss_acc(two_layers(), X, Y.astype(str)), DataError, "expected numbers as y"),
    ],
)
def test_errors_say_what_to_do(call, error, words):
    with use_backend("numpy"), pytest.raises(error, match=words):
        call()


def test_a_bad_label_in_the_last_batch_is_found_before_anything_is_trained(backend):
    net = two_layers()
    before = np.array(backend.to_numpy(net.layers[0].W))
    labels = Y.copy()
    labels[-1] = 7
    with pytest.raises(DataError, match="got 7 at row 11"):
        train_epoch(net, X, labels)
    assert np.array_equal(backend.to_numpy(net.layers[0].W), before)


def test_a_layer_is_in_a_net_once():
    net, layer = Net(), Tanh()
    net.add(layer)
    with pytest.raises(ConfigError, match="in the net already"):
        net.add(layer)


def test_backends_do_not_mix():
    with use_backend(open_backend("strict")) as strict:
        net, array = two_layers(), strict.asarray(X)
    with use_backend("numpy"):
        with pytest.raises(PlacementError, match=r"net is on strict, Linear\(2, 2\) on numpy"):
            net.add(Linear(2, 2))
        with pytest.raises(PlacementError, match="the loss on numpy"):
            train_epoch(net, X, Y, CrossEntropyLoss())
        with pytest.raises(PlacementError, match="array of numpy, got one of strict"):
            two_layers().forward(array)
        train_epoch(net, X, Y)  # its own loss is made where the net is


def test_a_learners_notebook(capsys):
    """The cells of a learner's notebook, top to bottom; nothing but the import is special."""
    np.random.seed(0)
    # Two classes, one around the other: no line separates them.
    n = 160
    radius = np.concatenate([np.random.normal(0.5, 0.15, n), np.random.normal(1.6, 0.15, n)])
    angle = np.random.uniform(0, 2 * np.pi, 2 * n)
    features = np.c_[radius * np.cos(angle), radius * np.sin(angle)].astype(np.float32)
    labels = np.repeat([0, 1], n).astype(np.uint8)
    order = np.random.permutation(2 * n)
    train_x, test_x = np.split(features[order], [240])
    train_labels, test_labels = np.split(labels[order], [240])

    lin = Linear(2, 2)
    z = lin.forward(train_x[0:5])
    softmax = Softmax()
    p = softmax.forward(z)
    loss = CrossEntropyLoss()
    value = loss.forward(p, train_labels[0:5])
    dp = loss.backward(value)
    dz = softmax.backward(dp)
    dx = lin.backward(dz)
    lin.update(0.1)
    assert dx.shape == (5, 2)
    assert loss.forward(softmax.forward(lin.forward(train_x[0:5])), train_labels[0:5]) < value

    nets = {}
    for name, hidden in (("linear", []), ("tanh", [Linear(2, 10), Tanh()])):
        net = Net()
        for layer in hidden:
            net.add(layer)
        net.add(Linear(10 if hidden else 2, 2))
        net.add(Softmax())
        loss = CrossEntropyLoss()
        print("Initial loss={}, accuracy={}".format(*get_loss_acc(net, train_x, train_labels, loss)))  # noqa: T201
        for _ in range(20):
            train_epoch(net, train_x, train_labels, loss, batch_size=4, lr=0.1)
        print("Test loss={}, accuracy={}".format(*get_loss_acc(net, test_x, test_labels, loss)))  # noqa: T201
        nets[name] = net

    pred = np.argmax(nets["tanh"].forward(test_x), axis=1)
    assert (pred == test_labels).mean() > 0.95
    assert get_loss_acc(nets["linear"], test_x, test_labels)[1] < 0.75

    xx, yy = np.meshgrid(np.arange(-2, 2, 0.1), np.arange(-2, 2, 0.1))
    surface = nets["tanh"].forward(np.c_[xx.ravel(), yy.ravel()])[:, 1].reshape(xx.shape)
    assert surface[20, 20] < 0.5 < surface[20, 36], "the inner class inside, the outer one outside"
    assert [("update" in layer.__dir__()) for layer in nets["tanh"].layers] == [True, False, True, False]
    assert max(np.abs(layer.W).max() for layer in nets["tanh"].layers if isinstance(layer, Linear)) > 0

    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4
    for line in printed:
        numbers = [float(part.split("=")[1]) for part in line.split(", ")]
        assert all(np.isfinite(numbers))
        assert "(" not in line


def test_a_regression_and_a_binary_classification(backend):
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, size=(200, 1))
    net = Net()
    for layer in (Linear(1, 10), Tanh(), Linear(10, 1)):
        net.add(layer)
    start = get_loss_acc(net, x, x**2, SquaredLoss())[0]
    for _ in range(10):
        train_epoch(net, x, x**2, SquaredLoss(), batch_size=10, lr=0.2)
    assert get_loss_acc(net, x, x**2, SquaredLoss())[0] < min(0.02, start / 5)
    binary = Net()
    binary.add(Linear(1, 1))
    for _ in range(5):
        train_epoch(binary, x, (x[:, 0] > 0.2).astype(int), LogisticLoss(), batch_size=4, lr=1.0)
    assert get_loss_acc(binary, x, x[:, 0] > 0.2, LogisticLoss())[1] > 0.9
