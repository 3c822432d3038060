"""Recorded steps: the same numbers as without, whatever the net, the optimizer, the data and the moment."""

import copy
import logging

import numpy as np
import pytest

from anyfw import Trainer, losses, metrics, nn, optim
from anyfw.backends.cupy.kernels import variants
from anyfw.core import backend as backends
from anyfw.ops import activation, dropout, gather, linear, loss, normalize, softmax, update
from anyfw.report import RunReport
from anyfw.train.callbacks import AverageWeights, Callback
from tests.conftest import open_backend
from tests.played.tape import Tape, TapeBackend, Taped, raw
from tests.specs import OPTIMISERS

RNG = np.random.default_rng(0)
X, LABELS = RNG.standard_normal((90, 6)), RNG.integers(0, 3, 90)
SHIFTED = X @ RNG.standard_normal((6, 2))


@pytest.fixture(autouse=True)
def references():
    # The references run on the stand-in's arrays: NumPy's kernels would go past what it writes down.
    for module in (activation, dropout, gather, linear, loss, normalize, softmax, update):
        for op in vars(module).values():
            if hasattr(op, "dispatch"):
                op.register(Taped, op.dispatch(object))


@pytest.fixture
def tape(monkeypatch):
    found = TapeBackend()
    monkeypatch.setitem(backends._opened, "tape", found)
    return found


def net(seed=1):
    return nn.Sequential(
        nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.2), nn.Linear(9, 7), nn.LayerNorm(7), nn.GELU(),
        nn.Dropout(0.1), nn.Linear(7, 3),
    ).init(seed)  # fmt: skip


def train(backend, graph, *, epochs=4, batch_size=18, make=None, criterion=None, target=LABELS, model=None, **options):
    model = net() if model is None else model
    optimizer = (make or (lambda parameters: optim.AdamW(parameters, lr=optim.OneCycle(0.02))))(model.parameters())
    criterion = criterion or losses.CrossEntropyLoss()
    trainer = Trainer(model, criterion, optimizer, backend=backend, graph=graph, progress=False, **options)
    trainer.fit((X, target), (X[:30], target[:30]), epochs=epochs, batch_size=batch_size)
    return trainer


def same(a: Trainer, b: Trainer):
    states = [trainer.net.state_dict() for trainer in (a, b)]
    for name, values in states[0].items():
        np.testing.assert_array_equal(values, states[1][name], err_msg=name)
    for name in a.history:
        if name != "seconds":
            assert a.history[name] == b.history[name], name
    assert (a.step, a.epoch, a.optimizer.steps) == (b.step, b.epoch, b.optimizer.steps)
    assert a.net.shared.forwards == b.net.shared.forwards
    assert a.optimizer.state_dict()["steps"] == b.optimizer.state_dict()["steps"]


CASES = {
    "as it is": {},
    "a ragged last batch": {"batch_size": 25},
    "metrics": {"metrics": ["accuracy", metrics.TopK(2), "confusion_matrix", "f1", "log_loss"]},
    "accumulated": {"accumulate": 2, "batch_size": 10},
    "accumulated, unevenly": {"accumulate": 4, "batch_size": 8},
    "clipped": {"clip_norm": 0.1, "clip_value": 0.05},
    "streaming": {"on_device": False, "accumulate": 2, "batch_size": 15},
    "float64": {"dtype": "float64"},
    "averaged": {"callbacks": [AverageWeights(0.9)]},
    "plateau": {"make": lambda p: optim.SGD(p, lr=optim.ReduceOnPlateau(0.1, 0.5, patience=0), momentum=0.9)},
    "groups": {"make": lambda p: optim.Adam([{"params": [q], "lr": 0.01 * (i + 1)} for i, q in enumerate(p)])},
    "penalties": {"make": lambda p: optim.SGD(p, lr=0.1, l1=1e-3, l2=1e-2)},
    "regression": {
        "criterion": losses.MSELoss(), "target": SHIFTED, "metrics": ["mae", "r2"],
        "model": lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).init(2),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_equal_the_others_to_the_bit(case, tape):
    options = dict(CASES[case])
    make_model = options.pop("model", net)
    runs = [train(tape, graph, model=make_model(), **copy.deepcopy(options)) for graph in (False, True)]
    assert tape.recordings == 1
    # The first step warms up, and an epoch's last one is not recorded where a batch of it is smaller than the others.
    assert tape.replays == 4 * (90 // options.get("batch_size", 18) // options.get("accumulate", 1)) - 1
    same(*runs)


@pytest.mark.parametrize("spec", OPTIMISERS, ids=str)
def test_every_optimizer_can_be_recorded(spec, tape):
    make = lambda parameters: getattr(optim, spec.name)(parameters, **spec.arguments)  # noqa: E731
    runs = [train(tape, graph, make=make, epochs=3) for graph in (False, True)]
    assert tape.replays > 9
    same(*runs)


def test_five_hundred_recorded_steps_equal_the_others_to_the_bit(tape):
    runs = [train(tape, graph, epochs=125, metrics=["accuracy"], clip_norm=1.0) for graph in (False, True)]
    assert runs[1].step == 625
    assert tape.replays == 624
    same(*runs)


@pytest.fixture
def kernels(player, products, references):
    # The CUDA kernels and cuBLASLt's products, played on the stand-in's arrays and written down by it.
    def written_down(function):
        def call(*args, **kwargs):
            args, kwargs = raw(args), {name: raw(value) for name, value in kwargs.items()}
            for one in (*args, *kwargs.values()):
                if isinstance(one, np.ndarray):
                    Tape.keep(one)
            if Tape.now is not None:
                Tape.now.add(lambda: function(*args, **kwargs))
            return function(*args, **kwargs)

        return call

    for op, variant in variants(written_down(player), Played(written_down(products), products.has)).items():
        op.register(Taped, variant)
    return player, products


class Played:
    def __init__(self, product, has):
        self.product, self.has = product, has

    def __call__(self, out, a, b, **options):
        return self.product(out, a, b, **options)


def wide():
    return nn.Sequential(
        nn.Linear(6, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 16), nn.BatchNorm1d(16),
        nn.Dropout(0.1), nn.Linear(16, 3),
    ).init(5)  # fmt: skip


@pytest.mark.parametrize("accumulate", [1, 2])
def test_recorded_kernels_and_products_equal_the_others_to_the_bit(accumulate, tape, kernels):
    tape.joins = True
    player, products = kernels
    options = {"epochs": 3, "accumulate": accumulate, "metrics": ["accuracy", "f1"], "clip_norm": 1.0}
    runs = [train(tape, graph, model=wide(), **options) for graph in (False, True)]
    assert tape.replays == 3 * (5 // accumulate) - 1
    assert {"relu", "relu_grad", "bias", "sum_a"} <= set(products.done)
    assert {"gather_columns", "append", "adam", "dropout", "batch_norm"} <= set(player.launched)
    same(*runs)
    plain = train("numpy", False, model=wide(), **options)
    np.testing.assert_allclose(plain.history["loss"], runs[0].history["loss"], rtol=1e-4)


@pytest.mark.parametrize("backend", ["numpy", "strict", "torch"])
def test_the_work_of_a_recorded_step_is_right_on_every_backend(backend, monkeypatch):
    # These replay nothing: the step that would be recorded runs as it is, with all its places on the device.
    pytest.importorskip({"strict": "array_api_strict"}.get(backend, backend))
    found = backends.get_backend(backend)
    runs = [train(backend, False, metrics=["accuracy"])]
    monkeypatch.setattr(type(found), "records", True)
    runs.append(train(backend, True, metrics=["accuracy"]))
    for a, b in zip(*(run.net.state_dict().values() for run in runs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_a_callback_changes_takes_effect_at_the_next_step(tape):
    class Meddle(Callback):
        def on_step(self, trainer):
            if trainer.step == 7:
                trainer.optimizer.lr = 0.001
            if trainer.step == 11:
                trainer.net.layers[3].p = 0.5
            if trainer.step == 13:
                trainer.net.layers[0].weight.trainable = False
            if trainer.step == 15:
                trainer.optimizer.groups[0]["weight_decay"] = 0.3
            if trainer.step == 17:
                trainer.optimizer.load_state_dict(trainer.optimizer.state_dict())

    runs = [train(tape, graph, callbacks=[Meddle()]) for graph in (False, True)]
    assert tape.recordings == 5
    same(*runs)
    train(tape, "auto", callbacks=[Meddle()], epochs=20)
    assert tape.recordings == 5


def test_rates_are_looked_up_ahead_and_not_where_they_changed_since(tape, monkeypatch):
    asked = []
    plain = optim.AdamW.ahead
    monkeypatch.setattr(optim.AdamW, "ahead", lambda self, n: (asked.append(self.steps), plain(self, n))[1])

    class Halve(Callback):
        def on_epoch_end(self, trainer, row):
            if trainer.epoch == 2:
                trainer.optimizer.lr = 0.001

    runs = [train(tape, graph, callbacks=[Halve()]) for graph in (False, True)]
    # Before each epoch but the first, while the device was busy; and again where the rate was changed.
    assert asked == [0, 5, 10, 10, 15]
    assert tape.recordings == 1
    same(*runs)


def test_auto_records_where_it_pays(tape, caplog):
    train(tape, "auto", epochs=2)
    assert tape.recordings == 0
    train(tape, "auto", epochs=9)
    assert tape.recordings == 1
    train(tape, False, epochs=9)
    assert tape.recordings == 1
    with caplog.at_level(logging.WARNING, "anyfw"):
        train(tape, "auto", epochs=9, metrics=["roc_auc"], target=LABELS)
        assert not caplog.records
        train(tape, True, epochs=1, metrics=["roc_auc"])
        train("numpy", True, epochs=1)
    assert tape.recordings == 1
    assert [record.message for record in caplog.records] == [
        "Steps are not recorded: RocAuc keeps more than sums.",
        "Steps are not recorded: numpy replays no recordings.",
    ]


def test_a_recording_that_fails_is_told_once_and_changes_nothing(tape, caplog):
    tape.refuse = "a number is read"
    with caplog.at_level(logging.WARNING, "anyfw"):
        runs = [train(tape, graph, metrics=["accuracy"]) for graph in (False, True)]
    assert [record.message for record in caplog.records] == [
        "Steps are not recorded: a number is read. They run one order after the other, with the same result."
    ]
    assert tape.replays == 0
    same(*runs)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_layer_that_reads_a_number_is_not_recorded(where, tape, caplog):
    class Reads(nn.Layer):
        def forward(self, x, /, *, train=False):
            return x * 1.0 if where == "backward" or float(x[0, 0]) > -1e9 else x

        def backward(self, dy, /):
            return dy * 1.0 if where == "forward" or float(dy[0, 0]) > -1e9 else dy

    make = lambda: nn.Sequential(nn.Linear(6, 4), Reads(), nn.Linear(4, 3)).init(3)  # noqa: E731
    with caplog.at_level(logging.WARNING, "anyfw"):
        runs = [train(tape, graph, model=make()) for graph in (False, True)]
    assert ["__float__ reads from the device" in record.message for record in caplog.records] == [True]
    same(*runs)


@pytest.mark.parametrize("killed", [7, 10, 12])
def test_a_recorded_run_resumes_to_the_bit(killed, tape, tmp_path):
    class Killed(Exception):  # noqa: N818
        pass

    class Kill(Callback):
        passive = True

        def on_step(self, trainer):
            if trainer.step == killed:
                raise Killed

    options = {"metrics": ["accuracy"], "checkpoint_every": "1steps", "batch_size": 20}
    whole = train(tape, True, out=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        train(tape, True, out=tmp_path / "cut", callbacks=[Kill()], **options)
    found = Trainer.resume(tmp_path / "cut", backend=tape, progress=False)
    found.fit((X, LABELS), (X[:30], LABELS[:30]))
    assert found.graph is True
    same(whole, found)
    assert Tape.now is None


def test_a_report_reads_the_gradients_of_recorded_steps(tape, tmp_path):
    reports = [RunReport(tmp_path / "page.html") for _ in range(2)]
    runs = [
        train(tape, graph, clip_norm=0.1, callbacks=[one]) for graph, one in zip((False, True), reports, strict=True)
    ]
    assert tape.replays == 4 * 5 - 1
    same(*runs)
    for measure in ("gradient", "weight", "largest"):
        np.testing.assert_equal(*(one.norms.of(measure) for one in reports))
    # Clipping is the last thing that changes them.
    norms = np.array(list(reports[1].norms.of("gradient").values()))[:, 1:]
    np.testing.assert_allclose(np.sqrt((norms**2).sum(axis=0)), 0.1, rtol=1e-4)


def test_a_recorded_run_that_diverges_names_the_batch(tape):
    from anyfw.core.errors import NonFiniteError

    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="epoch 1, batch"):
        train(tape, True, make=lambda p: optim.SGD(p, lr=1e30), batch_size=5)


def test_graph_is_checked():
    from anyfw.core.errors import ConfigError

    with pytest.raises(ConfigError, match="graph as True, False or 'auto'"):
        train("numpy", "yes")


@pytest.mark.parametrize("make", [net, wide], ids=["many kinds", "joined"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_five_hundred_steps_as_a_cuda_graph_equal_the_others_to_the_bit(make, dtype):
    open_backend("cupy")
    options = {"epochs": 125, "metrics": ["accuracy"], "clip_norm": 1.0, "dtype": dtype, "batch_size": 20}
    same(*[train("cupy", graph, model=make(), **options) for graph in (False, True)])


class Counts(nn.ReLU):
    """Does something else at each call."""

    def __init__(self):
        self._calls = 0

    def forward(self, x, /, *, train=False):
        self._calls += train
        return super().forward(x * (1.0 + 0.1 * self._calls), train=train)


class Says(Counts):
    recordable = True


class OwnStep(optim.SGD):
    def step(self):
        super().step()


class Rebinds(optim.Optimizer):
    """Makes new arrays in place of writing into its own."""

    recordable = True

    def init_state(self, data, /, **options):
        return {"m": data * 0.0}

    def update(self, data, grad, state, /, *, lr, step, weight_decay):
        state["m"] = state["m"] * 0.9 + grad
        data -= state["m"] * lr


class Odd(Rebinds):
    def rates(self, *, lr, step, **options):
        return {"lr": lr, "step": None}


class Peak(metrics.Metric):
    name, higher_is_better, sums = "peak", True, ("total",)

    def update(self, y, target, sample_weight=None):
        self.add(total=y[0, 0] * 1.0)

    def compute(self):
        return self.read("total")[0]


class Hides(nn.ReLU):
    recordable = True

    def __init__(self, factor):
        self._factor = factor


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": lambda: nn.Sequential(nn.Linear(6, 3), Counts())}, "Counts does not say that it is recordable"),
        ({"metrics": [Peak()]}, "Peak does not say that it is recordable"),
        ({"make": lambda p: OwnStep(p, lr=0.1)}, "OwnStep has a step of its own"),
        ({"model": lambda: nn.Sequential(nn.Linear(6, 3), Hides(2))}, "cannot be described"),
        ({"accumulate": 6}, "fewer full batches than make a step"),
    ],
    ids=["layer", "metric", "optimizer", "undescribed", "too few"],
)
def test_auto_leaves_alone_what_may_change_by_itself(options, reason, tape, caplog):
    make_model = options.pop("model", net)
    with caplog.at_level(logging.DEBUG, "anyfw"):
        train(tape, "auto", epochs=9, model=make_model(), **options)
    assert tape.recordings == 0
    assert any(reason in record.message for record in caplog.records), caplog.text


def test_what_says_that_it_is_recordable_is_recorded(tape):
    train(tape, "auto", epochs=9, model=nn.Sequential(nn.Linear(6, 3), Says()))
    assert tape.recordings == 1


@pytest.mark.parametrize(("kind", "reason"), [(Rebinds, "makes new arrays"), (Odd, "rates: expected the same numbers")])
def test_an_optimizer_that_cannot_be_recorded_is_told_and_right(kind, reason, tape, caplog):
    make = lambda parameters: kind(parameters, lr=0.05)  # noqa: E731
    with caplog.at_level(logging.WARNING, "anyfw"):
        runs = [train(tape, graph, make=make) for graph in (False, True)]
    assert [reason in record.message for record in caplog.records] == [True]
    same(*runs)


def test_who_learns_may_change_between_two_epochs(tape):
    class Thaw(Callback):
        def on_epoch_end(self, trainer, row):
            trainer.net.layers[0].weight.trainable = trainer.epoch % 2 == 1
            for parameter in trainer.net.parameters():
                parameter.decay = trainer.epoch % 3 == 0

    runs = [train(tape, graph, callbacks=[Thaw()], epochs=6) for graph in (False, True)]
    assert tape.replays > 12
    same(*runs)


@pytest.mark.parametrize("value", [0, 1, np.False_, np.True_, np.zeros(3), None])
def test_only_true_false_and_auto_are_taken(value):
    from anyfw.core.errors import ConfigError

    with pytest.raises(ConfigError, match="graph as True, False or 'auto'"):
        train("numpy", value)
    with pytest.raises(ConfigError, match="on_device: expected True, False or 'auto'"):
        train("numpy", False, on_device=value)
