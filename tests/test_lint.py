"""What is found before the first step: errors where training would be wrong, warnings where it is likely a mistake."""

import logging

import numpy as np
import pytest

from anyfw import Trainer, losses, nn, optim
from anyfw.core.errors import ConfigError

X, Y = np.random.default_rng(0).standard_normal((41, 4)), np.arange(41) % 3


def net(*layers):
    return nn.Sequential(*(layers or (nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))))


def warnings(caplog, model=None, criterion=None, x=X, y=Y, fit=True, **options):
    model = model or net()
    with caplog.at_level(logging.WARNING, "anyfw"):
        optimizer = optim.SGD(model.parameters(), lr=1e-3)
        trainer = Trainer(model, criterion or losses.CrossEntropyLoss(), optimizer, progress=False)
        if fit:
            for _ in range(2):  # each is told once
                trainer.fit((x, y), epochs=1, **{"batch_size": 10, "drop_last": True, **options})
    return [record.message for record in caplog.records]


def frozen():
    model = net()
    for parameter in model.parameters():
        parameter.trainable = False
    return model


def probabilities(y):
    return np.eye(3)[y]


CASES = {
    "nothing": ({}, None),
    "two linear layers": (
        {"model": lambda: net(nn.Linear(4, 5), nn.Linear(5, 3))},
        "Linear 'net.0' and Linear 'net.1' with nothing between",
    ),
    "two in different containers": (
        {"model": lambda: net(net(nn.Linear(4, 5)), net(nn.Linear(5, 5), nn.ReLU()), nn.Linear(5, 3))},
        "Linear 'net.0.0' and Linear 'net.1.0' with nothing between",
    ),
    "nothing but dropout between": (
        {"model": lambda: net(nn.Linear(4, 5), nn.Dropout(0.1), nn.Flatten(), nn.Linear(5, 3))},
        "Linear 'net.0' and Linear 'net.3' with nothing between",
    ),
    "too many outputs": (
        {"model": lambda: net(nn.Linear(4, 9))},
        "The net has 9 outputs, and the labels are 0 ... 2 only",
    ),
    "large inputs": ({"x": X * 255}, "a root mean square of 2"),
    "small inputs": ({"x": X * 1e-4}, "far from 1"),
    "large inputs, rescaled": (
        {"x": X * 255, "model": lambda: net(nn.Rescale([1 / 255] * 4, [0.0] * 4), nn.Linear(4, 3))}, None,
    ),
    "large inputs, normalised": ({"x": X * 255, "model": lambda: net(nn.BatchNorm1d(4), nn.Linear(4, 3))}, None),
    "all is frozen": ({"model": frozen}, "frozen: nothing will be learnt"),
    "no log-probabilities": ({"criterion": losses.NLLLoss()}, "NLLLoss takes log-probabilities, and Linear 'net.2'"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_likely_mistakes_are_told_once(case, caplog):
    options, expected = CASES[case]
    options = {**options, **({"model": options["model"]()} if "model" in options else {})}
    found = warnings(caplog, **options)
    assert all(found.count(message) == 1 for message in found)
    if expected is None:
        assert found == []
    else:
        assert any(expected in message for message in found), found


def test_what_would_be_wrong_is_refused(caplog):
    for tail in ((), (nn.Identity(),), (nn.Dropout(0.1), nn.Flatten())):
        with pytest.raises(ConfigError, match=r"Softmax 'net.1' stands before CrossEntropyLoss"):
            warnings(caplog, net(nn.Linear(4, 3), nn.Softmax(), *tail), fit=False)
    with pytest.raises(ConfigError, match=r"Softmax 'net.1' stands before NLLLoss"):
        warnings(caplog, net(nn.Linear(4, 3), nn.Softmax()), losses.NLLLoss(), fit=False)
    normed = net(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with pytest.raises(ConfigError, match=r"BatchNorm1d 'net.1': knows no variance of batches of one row"):
        warnings(caplog, normed, batch_size=1)
    with pytest.raises(ConfigError, match=r"knows no variance of the last of 41 rows, .* drop_last=True"):
        warnings(caplog, normed, drop_last=False)


def test_ordinary_data_are_not_complained_of(caplog):
    one_hot = np.eye(5000, dtype=np.float32)[:60]
    assert warnings(caplog, net(nn.Linear(5000, 3)), x=one_hot, y=np.arange(60) % 3) == []
    sorted_rows = np.concatenate([np.zeros((300, 4)), np.random.default_rng(0).standard_normal((300, 4))])
    assert warnings(caplog, x=sorted_rows, y=np.arange(600) % 3) == []


def test_a_layer_of_ones_own_may_give_batch_norm_more_than_rows(caplog):
    class Unflatten(nn.Layer):
        def forward(self, x, /, *, train=False):
            return x.reshape(-1, 4, 5)

        def backward(self, dy, /):
            return dy.reshape(-1, 20)

    model = net(Unflatten(), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(20, 3))
    x = np.random.default_rng(0).standard_normal((33, 20))
    assert warnings(caplog, model, x=x, y=np.arange(33) % 3, batch_size=32, drop_last=False) == []
