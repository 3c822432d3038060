"""Why a loss became NaN: the replay names the first layer and number that went wrong, its batch and likely causes."""

import numpy as np
import pytest

from anyfw import Trainer, losses, nn, optim
from anyfw.core.errors import NonFiniteError
from anyfw.train import replay
from tests.conftest import open_backend

X = np.random.default_rng(0).standard_normal((40, 4))
Y = np.arange(40) % 3


class Breaks(nn.Tanh):
    """Gives NaN, forward or backward, at its nth call; like any layer, the same in a replay of the same step."""

    def __init__(self, at, where):
        self.at, self.where = at, where

    def forward(self, x, /, *, train=False):
        y = super().forward(x, train=train)
        return y * float("nan") if train and self.where == "forward" and self.shared.forwards == self.at else y

    def backward(self, dy, /):
        dx = super().backward(dy)
        return dx * float("nan") if self.where == "backward" and self.shared.forwards == self.at else dx


def fit(middle=None, lr=0.05, x=X, epochs=3, backend="numpy", **options):
    net = nn.Sequential(nn.Linear(4, 6), middle or nn.Tanh(), nn.Dropout(0.1), nn.BatchNorm1d(6), nn.Linear(6, 3))
    trainer = Trainer(
        net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=lr, momentum=0.9), backend=backend,
        progress=False, metrics=["accuracy"], **options,
    )  # fmt: skip
    with np.errstate(all="ignore"):
        trainer.fit((x, Y), epochs=epochs, batch_size=10)
    return trainer


@pytest.mark.parametrize("backend", ["numpy", "strict:device1", "torch", "cupy"])
@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2}, {"on_device": False}], ids=["plain", "accumulate", "stream"]
)
@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("forward", "the output of Breaks 'net.1', nan at (0, 0)"),
        ("backward", "the gradient by the input of Breaks 'net.1'"),
    ],
)
def test_the_layer_that_went_wrong_first_is_named(where, wrong, options, backend):
    open_backend(backend)
    # The seventh forward pass: epoch 2, batch 3 of four.
    with pytest.raises(NonFiniteError) as caught:
        fit(Breaks(7, where), backend=backend, **options)
    message = str(caught.value)
    assert f"First wrong: {wrong}" in message
    assert "epoch 2" in message
    order = fit(epochs=1).seed
    from anyfw.data import Batches

    rows = Batches(40, 10, order).epoch(1)[2]
    assert f"the rows {', '.join(map(str, rows[:8]))}, ... 10 in all" in message
    assert "holds the weights from before this epoch" in message


def test_the_net_goes_back_to_the_start_of_the_epoch(monkeypatch):
    net = nn.Sequential(nn.Linear(4, 6), Breaks(7, "forward"), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 3))
    optimizer = optim.Adam(net.parameters(), lr=optim.Exponential(0.05, 0.9))
    trainer = Trainer(net, losses.CrossEntropyLoss(), optimizer, progress=False)
    trainer.fit((X, Y), epochs=1, batch_size=10)
    kept = net.state_dict()
    state = optimizer.state_dict()
    with pytest.raises(NonFiniteError):
        trainer.fit((X, Y), epochs=2, batch_size=10)
    assert all(np.array_equal(values, net.state_dict()[name]) for name, values in kept.items())
    assert optimizer.state_dict()["steps"] == state["steps"]
    assert all(np.array_equal(values, optimizer.state_dict()["state"][name]) for name, values in state["state"].items())
    assert (trainer.step, trainer.epoch, net.shared.forwards, optimizer.steps) == (4, 1, 4, 4)
    # And goes on from there, once it is mended.
    net.layers[1].at = -1
    trainer.fit((X, Y), epochs=1, batch_size=10)
    assert np.isfinite(trainer.history["loss"]).all()


def test_the_first_epoch_goes_back_to_the_first_weights():
    net = nn.Sequential(nn.Linear(4, 6), Breaks(3, "forward"), nn.Linear(6, 3)).init(5)
    kept = net.state_dict()
    optimizer = optim.Adam(net.parameters())
    with pytest.raises(NonFiniteError):
        Trainer(net, losses.CrossEntropyLoss(), optimizer, progress=False).fit((X, Y), epochs=1, batch_size=10)
    assert all(np.array_equal(values, net.state_dict()[name]) for name, values in kept.items())
    assert optimizer.steps == 0
    assert set(optimizer.state_dict()["steps"]) == {0}
    assert not any(values.any() for values in optimizer.state_dict()["state"].values())


def test_likely_causes_are_named():
    with pytest.raises(NonFiniteError, match=r"the loss grew from .* to .* before: a learning rate of 1e\+08"):
        fit(nn.ReLU(), lr=1e8, epochs=8)
    net = nn.Linear(4, 1)
    trainer = Trainer(net, losses.MSELoss(), optim.SGD(net.parameters(), lr=0.1), progress=False)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"inputs reach .* and are not scaled"):
        trainer.fit((X * 1e6, np.ones((40, 1))), epochs=20, batch_size=10)


def test_weights_that_fail_without_a_loss_are_named(monkeypatch):
    net = nn.Linear(4, 3)

    class Jump(optim.SGD):
        def update(self, data, grad, state, /, **options):
            data += grad * (float("inf") if self.steps == 3 else -0.01)

    trainer = Trainer(net, losses.CrossEntropyLoss(), Jump(net.parameters()), progress=False)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"the weights '(weight|bias)', .* by the step"):
        trainer.fit((X, Y), epochs=1, batch_size=10)


def test_a_net_too_large_to_keep_twice_is_not_replayed(monkeypatch):
    monkeypatch.setattr(replay, "_LARGEST", 100)
    with pytest.raises(NonFiniteError) as caught:
        fit(Breaks(7, "forward"))
    assert "First wrong" not in str(caught.value)
    assert caught.value.batch == 2


def test_an_average_of_the_weights_goes_back_with_them():
    from anyfw.train import AverageWeights

    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    average = AverageWeights(0.5)
    trainer = Trainer(
        net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), callbacks=[average], progress=False
    )
    trainer.fit((X, Y), epochs=1, batch_size=10)
    spoilt = X.copy()
    spoilt[17] = 3e38
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError):
        trainer.fit((spoilt, Y), epochs=1, batch_size=10)
    trainer.fit((X, Y), epochs=1, batch_size=10)
    assert all(np.isfinite(values).all() for values in net.state_dict().values())


def test_a_replay_that_gives_other_numbers_says_so():
    from anyfw.train import Callback

    class Raises(Callback):
        def on_step(self, trainer):
            if trainer.step == 6:
                trainer.optimizer.lr = 1e38

    with pytest.raises(NonFiniteError, match="A replay gave other numbers: settings were changed"):
        fit(nn.ReLU(), callbacks=[Raises()])


def test_a_resumed_run_is_explained_too(tmp_path):
    trainer = fit(out=tmp_path / "run", epochs=1)
    trainer = Trainer.resume(tmp_path / "run", progress=False)
    trainer.net.layers[0].weight.data = np.full((6, 4), np.nan)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError) as caught:
        trainer.fit((X, Y), epochs=1, batch_size=10)
    assert "First wrong" in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_scaled_net_is_not_told_to_scale():
    net = nn.Sequential(nn.Rescale([1 / 255] * 4, [0.0] * 4), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    trainer = Trainer(net, losses.MSELoss(), optim.SGD(net.parameters(), lr=1e30), progress=False)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError) as caught:
        trainer.fit((np.full((40, 4), 255.0), np.ones((40, 1))), epochs=5, batch_size=10)
    assert "not scaled" not in str(caught.value)


def test_the_loss_itself_comes_before_what_its_gradient_does():
    class Big(nn.Identity):
        def backward(self, dy, /):
            return dy * 1e38

    net = nn.Sequential(nn.Linear(4, 1, weight_init=1e25), Big())
    trainer = Trainer(net, losses.MSELoss(), optim.SGD(net.parameters(), lr=1.0), progress=False)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="First wrong: the loss itself, inf"):
        trainer.fit((X, np.ones((40, 1))), epochs=1, batch_size=10)


def test_a_row_that_a_source_spoils_is_named():
    class Spoilt:
        def __len__(self):
            return 40

        def __getitem__(self, rows):
            x = X[rows].astype(np.float32)
            x[rows == 23] = np.nan
            return x, Y[rows]

    net = nn.Linear(4, 3)
    trainer = Trainer(net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), progress=False)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="First wrong: row 23 of the inputs, nan"):
        trainer.fit(Spoilt(), epochs=1, batch_size=10)


def test_weights_that_grew_at_once_are_a_rate_too_high():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    trainer = Trainer(net, losses.MSELoss(), optim.SGD(net.parameters(), lr=1e30), progress=False)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"learning rate of 1e\+30 is too high"):
        trainer.fit((X, np.ones((40, 1))), epochs=1, batch_size=10)


def test_a_validation_loss_of_nan_stops_training():
    class Inference(nn.Identity):
        def forward(self, x, /, *, train=False):
            return super().forward(x, train=train) if train else x * float("nan")

    net = nn.Sequential(nn.Linear(4, 3), Inference())
    trainer = Trainer(net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), progress=False)
    with pytest.raises(NonFiniteError, match="loss of the validation rows became nan in epoch 1"):
        trainer.fit((X, Y), (X, Y), epochs=2, batch_size=10)
