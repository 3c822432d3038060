"""The training loop: one curve on every backend, exact resume, and every way a fit can go wrong."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import open_backend

from anyfw import AnyfwError, Trainer, data, losses, metrics, nn, optim
from anyfw.core.errors import ConfigError, DataError, NonFiniteError, OutOfMemoryError, OutputError, ShapeError
from anyfw.train import AverageWeights, Callback, EarlyStopping

ROWS = 96


def rows(features=6, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(classes, features)) * 2
    y = generator.integers(0, classes, ROWS)
    return (centres[y] + generator.normal(size=(ROWS, features))).astype(np.float32), y


def rich_net():
    """Everything that has a state of its own: dropout's counter, batch norm's running statistics.

    No bias before batch norm: its gradient is 0 but for rounding, and Adam would make steps of size lr of that noise.
    """
    return nn.Sequential(
        nn.Linear(6, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.LayerNorm(16), nn.Linear(16, 3)
    )


def trainer(net=None, *, lr=1e-2, **settings):
    net = rich_net() if net is None else net
    settings = {"metrics": ["accuracy"], "progress": False} | settings
    return Trainer(net, losses.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=lr), **settings)


def same_state(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def curve(spec, dtype="float32"):
    history = trainer(backend=open_backend(spec), dtype=dtype, seed=3).fit(
        rows(), valid=rows(seed=1), epochs=3, batch_size=20
    )
    return np.array([*history["loss"], *history["valid_loss"], *history["accuracy"]])


@pytest.mark.parametrize("spec", ["torch", "strict", "strict:device1", "strict:no_float64", "cupy"])
def test_one_seed_gives_one_curve_on_every_backend(spec):
    np.testing.assert_allclose(curve(spec), curve("numpy"), rtol=1e-5)


@pytest.mark.parametrize("spec", ["torch", "strict:device1", "cupy"])
def test_in_float64_the_curves_agree_to_rounding(spec):
    np.testing.assert_allclose(curve(spec, "float64"), curve("numpy", "float64"), rtol=1e-12)


def test_fit_learns_and_measures(backend):
    coach = trainer(backend=backend)
    history = coach.fit(rows(), epochs=8, batch_size=16)
    assert history["accuracy"][-1] > 0.9 > history["accuracy"][0]
    assert {len(history[name]) for name in history} == {8}
    assert coach.evaluate(rows())["accuracy"] > 0.95


def test_evaluate_is_the_exact_mean_over_all_rows():
    x, y = rows()
    net = nn.Sequential(nn.Linear(6, 3)).to("numpy", "float64")
    loss = losses.CrossEntropyLoss(weight=[1.0, 2.0, 3.0])
    coach = Trainer(net, loss, optim.SGD(net.parameters(), lr=0.1), progress=False)
    many = (np.tile(x, (30, 1)), np.tile(y, 30))
    whole, _ = loss(net(many[0].astype(np.float64)), many[1])
    assert coach.evaluate(many)["loss"] == pytest.approx(float(whole), rel=1e-12)


def test_fit_always_trains_that_many_further_epochs():
    coach = trainer()
    coach.fit(rows(), epochs=2)
    assert coach.fit(rows(), epochs=3).epochs == coach.epoch == 5


def test_batches_moved_ahead_give_the_same_bits_as_data_on_the_device():
    nets = [rich_net(), rich_net()]
    for net, on_device in zip(nets, (True, False), strict=True):
        trainer(net, on_device=on_device).fit(rows(), epochs=2, batch_size=20)
    assert same_state(nets[0].state_dict(), nets[1].state_dict())


def test_a_source_that_reads_rows_when_asked_trains_as_arrays_do():
    class Lazy:
        def __init__(self):
            self.x, self.y = rows()

        def __len__(self):
            return ROWS

        def __getitem__(self, indices):
            return self.x[indices], self.y[indices]

    nets = [rich_net(), rich_net()]
    trainer(nets[0]).fit(rows(), epochs=2, batch_size=20)
    trainer(nets[1]).fit(Lazy(), epochs=2, batch_size=20)
    assert same_state(nets[0].state_dict(), nets[1].state_dict())


def test_labels_of_a_source_are_checked_as_they_come():
    class Late:
        def __len__(self):
            return ROWS

        def __getitem__(self, indices):
            x, y = rows()
            return x[indices], np.where(indices < 90, y[indices], -1)

    with pytest.raises(DataError, match="-1"):
        trainer().fit(Late(), epochs=1, batch_size=20)


def test_an_error_in_a_source_reaches_the_user():
    class Broken:
        def __len__(self):
            return ROWS

        def __getitem__(self, indices):
            if len(indices) > 2:
                raise OSError("disk gone")
            x, y = rows()
            return x[indices], y[indices]

    with pytest.raises(OSError, match="disk gone"):
        trainer().fit(Broken(), epochs=1, batch_size=20)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_accumulated_batches_are_one_large_batch(reduction):
    nets = [nn.Sequential(nn.Linear(6, 3)).to("numpy", "float64") for _ in range(2)]
    for net, size, accumulate in zip(nets, (40, 10), (1, 4), strict=True):
        loss = losses.CrossEntropyLoss(reduction=reduction)
        Trainer(net, loss, optim.SGD(net.parameters(), lr=0.01), accumulate=accumulate, progress=False).fit(
            rows(), epochs=2, batch_size=size
        )
    for name, value in nets[0].state_dict().items():
        np.testing.assert_allclose(nets[1].state_dict()[name], value, rtol=1e-12, atol=1e-15)


def test_a_sample_weight_of_two_is_a_row_given_twice():
    x, y = rows()
    weight = np.ones(ROWS)
    weight[:10] = 2.0
    nets = [nn.Sequential(nn.Linear(6, 3)).to("numpy", "float64") for _ in range(2)]
    repeated = np.concatenate([np.arange(ROWS), np.arange(10)])
    for net, part in zip(nets, ((x, y, weight), (x[repeated], y[repeated])), strict=True):
        Trainer(net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), progress=False).fit(
            part, epochs=3, batch_size=len(part[0])
        )
    for name, value in nets[0].state_dict().items():
        np.testing.assert_allclose(nets[1].state_dict()[name], value, rtol=1e-10)


class StopAt(Callback):
    """Die after a number of steps, as by a power cut."""

    def __init__(self, step):
        self.at = step

    def on_step(self, trainer):
        if trainer.step == self.at:
            raise RuntimeError("power cut")


def resumable(out, callbacks=()):
    net = rich_net()
    schedule = optim.ReduceOnPlateau(1e-2, factor=0.5, patience=0, threshold=0.3)
    return Trainer(
        net,
        losses.CrossEntropyLoss(label_smoothing=0.1),
        optim.AdamW(net.parameters(), lr=schedule),
        metrics=["accuracy", metrics.F1()],
        accumulate=2,
        clip_norm=1.0,
        early_stopping=EarlyStopping(patience=4),
        checkpoint_every="3steps",
        seed=5,
        out=out,
        callbacks=callbacks,
        progress=False,
    )


def forget_seconds(history):
    return {name: values for name, values in history.as_dict().items() if name != "seconds"}


@pytest.mark.parametrize("dies_at", [4, 6, 7, 11, 13])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, dies_at):
    train, valid = rows(), rows(seed=1)
    whole = resumable(tmp_path / "whole")
    whole.fit(train, valid, epochs=5, batch_size=12)
    with pytest.raises(RuntimeError, match="power cut"):
        resumable(tmp_path / "cut", [StopAt(dies_at)]).fit(train, valid, epochs=5, batch_size=12)
    resumed = Trainer.resume(tmp_path / "cut", progress=False)
    assert 0 < resumed.step <= dies_at
    resumed.fit(train, valid)
    assert same_state(resumed.net.state_dict(), whole.net.state_dict())
    assert forget_seconds(resumed.history) == forget_seconds(whole.history)
    model = "model.safetensors"
    assert (tmp_path / "cut" / model).read_bytes() == (tmp_path / "whole" / model).read_bytes()


def test_a_run_resumes_on_another_backend_with_the_same_state(tmp_path):
    open_backend("torch")
    with pytest.raises(RuntimeError, match="power cut"):
        resumable(tmp_path / "cut", [StopAt(7)]).fit(rows(), rows(seed=1), epochs=3, batch_size=12)
    here, there = (Trainer.resume(tmp_path / "cut", backend=spec, progress=False) for spec in ("numpy", "torch"))
    assert same_state(here.net.state_dict(), there.net.state_dict())
    for coach in (here, there):
        coach.fit(rows(), rows(seed=1))
    np.testing.assert_allclose(there.history["loss"], here.history["loss"], rtol=1e-5)


@pytest.mark.parametrize(("change", "told"), [({}, False), ({"BLAS threads": "99"}, True)])
def test_a_resume_tells_once_that_the_machine_is_another(tmp_path, monkeypatch, caplog, change, told):
    monkeypatch.setenv("ANYFW_BACKEND", "numpy")
    numpy = type(open_backend("numpy"))
    with pytest.raises(RuntimeError, match="power cut"):
        resumable(tmp_path / "cut", [StopAt(7)]).fit(rows(), rows(seed=1), epochs=3, batch_size=12)
    found = open_backend("numpy").provenance()
    assert {"numpy", "kernels", "BLAS"} <= found.keys()
    monkeypatch.setattr(numpy, "provenance", lambda self: {**found, **change})
    with caplog.at_level("WARNING", logger="anyfw"):
        Trainer.resume(tmp_path / "cut", backend="numpy", progress=False)
    texts = [record.getMessage() for record in caplog.records if "last bits" in record.getMessage()]
    assert len(texts) == told
    if told:
        assert f"BLAS threads {found['BLAS threads']} is now 99" in texts[0]


def halved(net):
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    optimizer.groups[0].update(lr=0.05)
    return optimizer


OPTIMIZERS = {
    "a part of the net": lambda net: optim.Adam(net[2].parameters(), lr=0.01),
    "groups of one schedule": lambda net: optim.Adam(
        [{"params": net[0].parameters(), "weight_decay": 0.1}, {"params": net[2].parameters()}], lr=optim.Cosine(0.01)
    ),
    "groups in another order": lambda net: optim.SGD(
        [{"params": [net[2].weight, net[2].bias], "lr": 0.1}, {"params": [net[0].weight], "lr": 1e-4}]
    ),
    "settings changed since": halved,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_resumes_to_the_same_bits(name, tmp_path):
    def run(out, *callbacks):
        net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
        return Trainer(
            net,
            losses.CrossEntropyLoss(),
            OPTIMIZERS[name](net),
            out=out,
            checkpoint_every="2steps",
            callbacks=callbacks,
            progress=False,
        )

    whole = run(tmp_path / "whole")
    whole.fit(rows(), epochs=3, batch_size=20)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", StopAt(7)).fit(rows(), epochs=3, batch_size=20)
    resumed = Trainer.resume(tmp_path / "cut", progress=False)
    resumed.fit(rows())
    assert same_state(resumed.net.state_dict(), whole.net.state_dict())


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, caplog):
    resumable(tmp_path / "run").fit(rows(), rows(seed=1), epochs=2, batch_size=12)
    latest = max((tmp_path / "run").glob("checkpoint-*"))
    latest.write_bytes(latest.read_bytes()[:-100])
    assert Trainer.resume(tmp_path / "run", progress=False).step < int(latest.stem.split("-")[1])
    assert latest.name in caplog.text


def test_resume_wants_the_same_data(tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        resumable(tmp_path / "cut", [StopAt(7)]).fit(rows(), rows(seed=1), epochs=3, batch_size=12)
    x, y = rows()
    with pytest.raises(DataError, match="96 rows"):
        Trainer.resume(tmp_path / "cut", progress=False).fit((x[:50], y[:50]), rows(seed=1))
    with pytest.raises(DataError, match="no order of its own"):
        Trainer.resume(tmp_path / "cut", progress=False).fit((x, y), rows(seed=1), order=lambda _: np.arange(ROWS))


def test_an_order_of_ones_own():
    x, y = rows()
    asked = []

    def backwards(epoch):
        asked.append(epoch)
        return np.arange(ROWS)[::-1]

    own, other = trainer(), trainer()
    own.fit((x, y), epochs=2, batch_size=20, order=backwards)
    other.fit((x[::-1], y[::-1]), epochs=2, batch_size=20, order=lambda _: np.arange(ROWS))
    assert asked == [0, 1]
    assert same_state(own.net.state_dict(), other.net.state_dict())


@pytest.mark.parametrize("lint", [True, False])
def test_what_is_likely_to_be_a_mistake_need_not_be_told(lint, caplog):
    x, y = rows()
    trainer(nn.Linear(6, 3), lint=lint).fit((x * 1000, y), epochs=1)
    assert ("far from 1" in caplog.text) is lint


def test_control_c_keeps_the_state_and_says_how_to_go_on(tmp_path):
    class Press(Callback):
        def on_step(self, trainer):
            if trainer.step == 5:
                signal.raise_signal(signal.SIGINT)

    coach = resumable(tmp_path / "run", [Press()])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        coach.fit(rows(), rows(seed=1), epochs=3, batch_size=12)
    assert signal.getsignal(signal.SIGINT) is before
    resumed = Trainer.resume(tmp_path / "run", progress=False)
    assert resumed.step == 5
    assert same_state(resumed.net.state_dict(), coach.net.state_dict())


class PressAfterEpoch(Callback):
    def on_epoch_end(self, trainer, row):
        if trainer.epoch == trainer.last_epoch:
            signal.raise_signal(signal.SIGINT)


def test_control_c_while_the_last_epoch_is_measured_is_not_lost(tmp_path):
    coach = resumable(tmp_path / "run", [PressAfterEpoch()])
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        coach.fit(rows(), rows(seed=1), epochs=2, batch_size=12)
    resumed = Trainer.resume(tmp_path / "run", progress=False)
    assert resumed.fit(rows(), rows(seed=1)).epochs == 2
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_fit_that_stopped_early_and_died_then_does_not_go_on(tmp_path):
    class DieLater(Callback):
        def on_fit_end(self, trainer):
            raise RuntimeError("power cut")

    coach = trainer(lr=0.3, early_stopping=2, out=tmp_path / "run", callbacks=[DieLater()])
    with pytest.raises(RuntimeError, match="power cut"):
        coach.fit(rows(), rows(seed=7), epochs=60, batch_size=20)
    assert coach.epoch < 60
    resumed = Trainer.resume(tmp_path / "run", progress=False)
    assert resumed.fit(rows(), rows(seed=7)).epochs == coach.epoch


def test_a_stop_asked_for_before_a_checkpoint_in_mid_epoch_ends_that_epoch(tmp_path):
    class Stop(Callback):
        def on_step(self, trainer):
            trainer.stop()

    coach = resumable(tmp_path / "run", [Stop(), StopAt(7)])
    with pytest.raises(RuntimeError, match="power cut"):
        coach.fit(rows(), rows(seed=1), epochs=5, batch_size=6)
    resumed = Trainer.resume(tmp_path / "run", progress=False)
    assert resumed.step_in_epoch > 0
    resumed.fit(rows(), rows(seed=1))
    assert (resumed.epoch, resumed.step) == (1, 8)


def test_one_early_stopping_serves_several_trainers():
    stopping = EarlyStopping(2)
    for seed, lr in ((0, 0.1), (1, 1e-6)):
        coach = trainer(lr=lr, seed=seed, early_stopping=stopping)
        history = coach.fit(rows(), rows(), epochs=3, batch_size=20)
        assert coach.early_stopping.best == min(history["valid_loss"])


def test_patience_begins_anew_with_each_fit():
    coach = trainer(lr=0.3, early_stopping=3)
    coach.fit(rows(), rows(seed=7), epochs=60, batch_size=20)
    before = coach.epoch
    coach.fit(rows(), rows(seed=7), epochs=60, batch_size=20)
    assert coach.epoch >= before + 3


def test_a_run_that_goes_back_leaves_no_later_checkpoints(tmp_path):
    trainer(out=tmp_path / "run", keep=3).fit(rows(), epochs=4, batch_size=20)
    first = min((tmp_path / "run").glob("checkpoint-*"))
    resumed = Trainer.resume(first, progress=False)
    assert resumed.epoch == 2
    resumed.fit(rows(), epochs=1, batch_size=20)
    assert Trainer.resume(tmp_path / "run", progress=False).epoch == 3


def test_a_callback_that_is_left_out_of_a_resumed_run_is_named(tmp_path, caplog):
    trainer(out=tmp_path / "run", callbacks=[Callback(), AverageWeights()]).fit(rows(), epochs=1)
    Trainer.resume(tmp_path / "run", callbacks=[Callback(), AverageWeights()], progress=False)
    assert not caplog.text
    Trainer.resume(tmp_path / "run", callbacks=[Callback()], progress=False)
    assert "Callback 2" in caplog.text


def test_a_monitor_that_is_not_measured_leaves_counters_and_history_together():
    coach = trainer(early_stopping=EarlyStopping(monitor="valid_acuracy"))
    with pytest.raises(ConfigError, match="valid_accuracy"):
        coach.fit(rows(), rows(seed=7), epochs=2)
    assert coach.epoch == coach.history.epochs == 1


def test_a_cap_that_is_no_number_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ANYFW_MAX_STEPS", "few")
    with pytest.raises(ConfigError, match="ANYFW_MAX_STEPS"):
        trainer(out=tmp_path / "run").fit(rows(), epochs=1)
    assert not (tmp_path / "run").exists()


def test_early_stopping_restores_the_best_weights():
    class Remember(Callback):
        def __init__(self):
            self.states = []

        def on_epoch_end(self, trainer, row):
            self.states.append(trainer.net.state_dict())

    remember = Remember()
    coach = trainer(lr=0.3, early_stopping=3, callbacks=[remember])
    history = coach.fit(rows(), rows(seed=7), epochs=60, batch_size=20)
    best = int(np.argmin(history["valid_loss"]))
    assert history.epochs == best + 4 < 60
    assert same_state(coach.net.state_dict(), remember.states[best])


def test_the_model_file_holds_the_best_weights(tmp_path):
    from anyfw import load

    coach = trainer(lr=0.3, out=tmp_path / "run")
    history = coach.fit(rows(), rows(seed=7), epochs=12, batch_size=20)
    net = load(tmp_path / "run" / "model.safetensors")
    best = Trainer(net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), progress=False)
    assert best.evaluate(rows(seed=7))["loss"] == pytest.approx(min(history["valid_loss"]), rel=1e-6)
    assert json.loads((tmp_path / "run" / "history.json").read_text())["loss"] == history["loss"]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 0


def test_average_weights_end_in_the_net():
    net = rich_net()
    plain = rich_net()
    trainer(net, callbacks=[AverageWeights(0.9)]).fit(rows(), epochs=2, batch_size=20)
    trainer(plain).fit(rows(), epochs=2, batch_size=20)
    assert not same_state(net.state_dict(), plain.state_dict())


def test_average_weights_resume_to_the_same_bits(tmp_path):
    def run(out, *callbacks):
        return trainer(out=out, checkpoint_every="2steps", callbacks=[AverageWeights(0.9), *callbacks])

    whole = run(tmp_path / "whole")
    whole.fit(rows(), epochs=3, batch_size=20)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", StopAt(7)).fit(rows(), epochs=3, batch_size=20)
    resumed = Trainer.resume(tmp_path / "cut", callbacks=[AverageWeights(0.9)], progress=False)
    resumed.fit(rows())
    assert same_state(resumed.net.state_dict(), whole.net.state_dict())


def test_callbacks_run_in_the_order_listed():
    seen = []

    class Note(Callback):
        def __init__(self, name):
            self.name = name

        def on_fit_start(self, trainer):
            seen.append(self.name)

        def on_epoch_end(self, trainer, row):
            row[self.name] = float(len(seen))

    history = trainer(callbacks=[Note("first"), Note("second")]).fit(rows(), epochs=1)
    assert seen == ["first", "second"]
    assert history["second"] == [2.0]


@pytest.mark.parametrize(("variable", "value", "steps"), [("ANYFW_MAX_EPOCHS", "2", 10), ("ANYFW_MAX_STEPS", "7", 7)])
def test_the_environment_caps_a_run(monkeypatch, variable, value, steps):
    monkeypatch.setenv(variable, value)
    coach = trainer()
    coach.fit(rows(), epochs=50, batch_size=20)
    assert coach.step == steps


def test_a_non_finite_loss_names_epoch_and_batch():
    net = nn.Sequential(nn.Linear(6, 1))
    x = rows()[0]
    coach = Trainer(net, losses.MSELoss(), optim.SGD(net.parameters(), lr=1e6), progress=False)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"epoch \d+, batch \d+"):
        coach.fit((x, x[:, :1]), epochs=20)


def test_weights_that_the_last_step_ruins_are_never_kept(tmp_path):
    net = nn.Sequential(nn.Linear(6, 1))
    x = rows()[0]
    coach = Trainer(net, losses.MSELoss(), optim.SGD(net.parameters(), lr=1e39), out=tmp_path / "run", progress=False)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="weights became"):
        coach.fit((x, x[:, :1]), epochs=1, batch_size=ROWS)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_a_last_smaller_batch_can_be_left_out():
    coach = trainer()
    coach.fit(rows(), epochs=2, batch_size=19, drop_last=True)
    assert coach.step == 10
    with pytest.raises(AnyfwError, match="drop_last"):
        trainer().fit(rows(), epochs=1, batch_size=19)


def test_resume_wants_validation_rows_where_there_were_some(tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        trainer(out=tmp_path / "cut", checkpoint_every="1steps", callbacks=[StopAt(2)]).fit(
            rows(), rows(seed=1), epochs=1
        )
    with pytest.raises(DataError, match="had validation rows"):
        Trainer.resume(tmp_path / "cut", progress=False).fit(rows())


def test_predict_says_what_the_loss_means():
    coach = trainer()
    x, y = rows()
    coach.fit((x, y), epochs=6, batch_size=16)
    outputs, p, labels = (coach.predict(x, kind=kind) for kind in ("output", "probability", "label"))
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)
    assert (labels == outputs.argmax(axis=1)).all()
    assert (labels == y).mean() > 0.9
    with pytest.raises(ConfigError, match="kind"):
        coach.predict(x, kind="class")
    with pytest.raises(ConfigError, match="batch_size"):
        coach.predict(x, batch_size=0)


def test_clipping_bounds_the_step():
    before, after = (nn.Sequential(nn.Linear(6, 3)) for _ in range(2))
    for net, limit in ((before, None), (after, 1e-3)):
        Trainer(
            net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=1.0), clip_norm=limit, progress=False
        ).fit(rows(), epochs=1, batch_size=ROWS)
    start = nn.Sequential(nn.Linear(6, 3)).init(0).state_dict()["0.weight"]
    moved = [np.linalg.norm(net.state_dict()["0.weight"] - start) for net in (before, after)]
    assert moved[1] < 1.1e-3 < moved[0]


def test_a_run_folder_is_never_overwritten(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        trainer(out=tmp_path).fit(rows(), epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(OutputError):
        trainer(out=tmp_path / "file" / "run").fit(rows(), epochs=1)


def test_only_the_latest_checkpoints_stay(tmp_path):
    trainer(out=tmp_path / "run", keep=3).fit(rows(), epochs=6)
    assert len(list((tmp_path / "run").glob("checkpoint-*"))) == 3


X, Y = rows()
BAD = {
    "too few features": (lambda: trainer().fit((X[:, :5], Y), epochs=1), ShapeError, "Linear 'net.0'"),
    "label out of range": (lambda: trainer().fit((X, Y + 1), epochs=1), DataError, "labels 0 ... 2"),
    "negative label": (lambda: trainer().fit((X, Y - 1), epochs=1), DataError, "-1"),
    "label no integer": (lambda: trainer().fit((X, Y + 0.5), epochs=1), AnyfwError, "integer"),
    "lengths differ": (lambda: trainer().fit((X, Y[:-1]), epochs=1), DataError, "as many rows"),
    "target would broadcast": (
        lambda: Trainer(
            net := nn.Sequential(nn.Linear(6, 1)), losses.MSELoss(), optim.SGD(net.parameters(), lr=0.1)
        ).fit((X, X[:, 0]), epochs=1),
        ShapeError,
        "broadcast",
    ),
    "NaN": (lambda: trainer().fit((X * np.nan, Y), epochs=1), DataError, "finite"),
    "objects": (lambda: trainer().fit((X.astype(object), Y), epochs=1), DataError, "object"),
    "no rows": (lambda: trainer().fit((X[:0], Y[:0]), epochs=1), DataError, "at least one row"),
    "one class": (lambda: trainer().fit((X, Y * 0), epochs=1), DataError, "two classes"),
    "batch size 0": (lambda: trainer().fit((X, Y), epochs=1, batch_size=0), ConfigError, "batch_size"),
    "no epochs": (lambda: trainer().fit((X, Y), epochs=0), ConfigError, "epochs"),
    "nothing to finish": (lambda: trainer().fit((X, Y)), ConfigError, "no interrupted fit"),
    "softmax before cross-entropy": (
        lambda: trainer(nn.Sequential(nn.Linear(6, 3), nn.Softmax())),
        ConfigError,
        "Softmax 'net.1'",
    ),
    "accumulate 0": (lambda: trainer(accumulate=0), ConfigError, "accumulate"),
    "clip_norm 0": (lambda: trainer(clip_norm=0.0), ConfigError, "clip_norm"),
    "checkpoint_every": (lambda: trainer(checkpoint_every="soon"), ConfigError, "500steps"),
    "metric": (lambda: trainer(metrics=["acuracy"]), ConfigError, "accuracy"),
    "monitor without valid": (
        lambda: trainer(early_stopping=2).fit((X, Y), epochs=1),
        ConfigError,
        "valid",
    ),
    "another net's optimizer": (
        lambda: Trainer(nn.Linear(6, 3), losses.MSELoss(), optim.SGD(nn.Linear(6, 3).parameters())),
        ConfigError,
        "another net",
    ),
    "resume nothing": (lambda: Trainer.resume("no/such/run"), FileNotFoundError, "no/such/run"),
    "early_stopping is a number": (lambda: trainer(early_stopping=True), ConfigError, "patience"),
    "beyond float32": (lambda: trainer().fit((X.astype(float) * 1e39, Y), epochs=1), DataError, "float32"),
    "on_device": (lambda: trainer(on_device="yes").fit((X, Y), epochs=1), ConfigError, "on_device"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_error(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, error, words = BAD[name]
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, AnyfwError)
    assert words in str(caught.value)
    assert not list(Path(tmp_path).iterdir())


def test_a_bad_fit_changes_nothing():
    coach = trainer()
    before = coach.net.state_dict()
    with pytest.raises(DataError):
        coach.fit((X, Y + 1), epochs=1)
    assert same_state(before, coach.net.state_dict())
    assert coach.history.epochs == 0


def test_noisy_curve_is_fitted():
    x, y = data.noisy_curve(200, seed=0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
    coach = Trainer(net, losses.MSELoss(), optim.Adam(net.parameters(), lr=1e-2), metrics=["r2"], progress=False)
    coach.fit((x.reshape(-1, 1), y.reshape(-1, 1)), epochs=60, batch_size=32)
    assert coach.history["r2"][-1] > 0.8


class TooLarge(nn.Tanh):
    """Does not fit beyond 20 rows."""

    def forward(self, x, /, *, train=False):
        if train and len(x) > 20:
            raise MemoryError
        return super().forward(x, train=train)


def test_a_step_that_does_not_fit_says_what_is_large_and_what_to_do():
    net = nn.Sequential(nn.Linear(3, 50_000), nn.ReLU(), TooLarge(), nn.Linear(50_000, 2))
    trainer = Trainer(net, losses.CrossEntropyLoss(), optim.Adam(net.parameters()), backend="numpy", progress=False)
    x, y = np.zeros((60, 3)), np.arange(60) % 2
    trainer.fit((x, y), epochs=1, batch_size=20)
    with pytest.raises(OutOfMemoryError, match=r"numpy.* at batch_size 30") as caught:
        trainer.fit((x, y), epochs=1, batch_size=30)
    assert isinstance(caught.value, MemoryError)
    # 300,002 parameters, two moments of Adam, and what a layer keeps of 30 rows; the layer itself kept nothing yet.
    message = str(caught.value)
    assert "Largest so far: saved by ReLU 'net.1' 6.0 MB, optimizer state 2.4 MB, parameters 1.2 MB" in message
    for words in ("batch_size below 30", "accumulate=2", "on_device=False"):
        assert words in message
    # Nothing is left over: it goes on with smaller batches.
    trainer.fit((x, y), epochs=1, batch_size=15)


class Reusing:
    """A source that hands out one array, filled anew for each batch."""

    def __init__(self, short=False):
        self.x, self.y, self.short = np.empty((20, 6), np.float32), np.empty(20, np.int64), short

    def __len__(self):
        return 60

    def __getitem__(self, rows):
        n = len(rows)
        self.x[:n], self.y[:n] = X[rows % 30], Y[rows % 30]
        time.sleep(0.002)
        return (self.x[: n - 1], self.y[: n - 1]) if self.short and n > 2 else (self.x[:n], self.y[:n])


def test_a_source_may_fill_its_arrays_anew(backend):
    rows_ = np.arange(60) % 30
    found, expected = (
        trainer(backend=backend, seed=3).fit(data, epochs=3, batch_size=20)["loss"]
        for data in (Reusing(), (X[rows_].astype(np.float32), Y[rows_]))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_source_that_gives_another_number_of_rows_is_refused():
    with pytest.raises(DataError, match=r"Reusing: expected 20 rows in each column, .* \(19, 6\), \(19,\)"):
        trainer().fit(Reusing(short=True), epochs=1, batch_size=20)


def test_older_checkpoints_stay_until_the_new_one_is_proved(tmp_path, monkeypatch, caplog):
    from anyfw.core.errors import FileFormatError
    from anyfw.train import run_folder

    plain = run_folder.prove
    broken = {"checkpoint-000000006.safetensors", "checkpoint-000000008.safetensors"}

    def prove(path):
        if path.name in broken:
            raise FileFormatError(f"{path}: corrupt")
        plain(path)

    monkeypatch.setattr(run_folder, "prove", prove)
    trainer(out=tmp_path, keep=1).fit(rows(), epochs=4, batch_size=48)
    found = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert found == [f"checkpoint-{step:09d}.safetensors" for step in (4, 6, 8)]
    assert caplog.text.count("cannot be read back, older ones stay") == 3


def test_a_checkpoint_that_is_cut_or_changed_is_not_proved(tmp_path):
    from anyfw.core.errors import FileFormatError
    from anyfw.core.files import prove

    trainer(out=tmp_path).fit(rows(), epochs=1, batch_size=48)
    path = next(tmp_path.glob("checkpoint-*"))
    prove(path)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    with pytest.raises(FileFormatError, match="truncated"):
        prove(path)
    path.write_bytes(raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:])
    with pytest.raises(FileFormatError, match="checksum"):
        prove(path)


@pytest.mark.parametrize(
    "order", [np.arange(ROWS) - 1, np.arange(ROWS) + 1, np.arange(ROWS - 1), np.zeros(ROWS), np.zeros((ROWS, 1), int)]
)
def test_an_order_of_other_than_row_numbers_is_refused(order):
    x, y = rows()
    with pytest.raises(DataError, match=rf"order: expected {ROWS} row numbers from 0 to {ROWS - 1} for epoch 0"):
        trainer().fit((x, y), epochs=1, order=lambda _: order)


def test_a_callback_that_averages_serves_one_trainer_after_another():
    x, y = rows()
    averaging = AverageWeights(decay=0.9)
    first, second = trainer(callbacks=[averaging]), trainer(callbacks=[averaging])
    alone = trainer(callbacks=[AverageWeights(decay=0.9)])
    for coach in (first, second, alone):
        coach.fit((x, y), epochs=2)
    assert same_state(second.net.state_dict(), alone.net.state_dict())
