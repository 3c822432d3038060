"""Schedules: equal to PyTorch's schedulers, bound by a fit, saved and rebuilt."""

import json
import math

import pytest

from anyfw import optim
from anyfw.core.errors import ConfigError, FileFormatError

torch = pytest.importorskip("torch")
S = torch.optim.lr_scheduler


def torch_rates(make, steps: int, lr: float = 0.3) -> list[float]:
    """The rate of each of the first steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, dtype=torch.float64, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)
    rates = []
    for k in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if k < steps - 1:
            scheduler.step()
    return rates


def warm(optimizer, steps, start, then):
    linear = S.LinearLR(optimizer, start_factor=start, total_iters=steps)
    return S.SequentialLR(optimizer, [linear, then(optimizer)], milestones=[steps])


ROWS = [
    (optim.Constant(0.3), lambda o: S.ConstantLR(o, factor=1.0), 10),
    (optim.Step(0.3, 7), lambda o: S.StepLR(o, 7), 40),
    (optim.Step(0.3, 3, 0.5), lambda o: S.StepLR(o, 3, 0.5), 40),
    (optim.MultiStep(0.3, [4, 9, 9, 21], 0.5), lambda o: S.MultiStepLR(o, [4, 9, 9, 21], 0.5), 40),
    (optim.Exponential(0.3, 0.93), lambda o: S.ExponentialLR(o, 0.93), 60),
    (optim.Cosine(0.3, 50), lambda o: S.CosineAnnealingLR(o, 50), 51),
    (optim.Cosine(0.3, 50, 0.02), lambda o: S.CosineAnnealingLR(o, 50, 0.02), 51),
    (optim.OneCycle(0.3, 50), lambda o: S.OneCycleLR(o, 0.3, 50, cycle_momentum=False), 50),
    (optim.OneCycle(0.3, 7), lambda o: S.OneCycleLR(o, 0.3, 7, cycle_momentum=False), 7),
    (
        optim.OneCycle(0.3, 41, 0.4, "linear", 10.0, 100.0),
        lambda o: S.OneCycleLR(
            o,
            0.3,
            41,
            pct_start=0.4,
            anneal_strategy="linear",
            div_factor=10.0,
            final_div_factor=100.0,
            cycle_momentum=False,
        ),
        41,
    ),
    (optim.Warmup(8, 0.3, 0.1), lambda o: S.LinearLR(o, start_factor=0.1, total_iters=8), 20),
    (
        optim.Warmup(5, optim.Cosine(0.3, 30), 0.25),
        lambda o: warm(o, 5, 0.25, lambda o: S.CosineAnnealingLR(o, 30)),
        36,
    ),
    (
        optim.Warmup(5, optim.Exponential(0.3, 0.9), 0.25),
        lambda o: warm(o, 5, 0.25, lambda o: S.ExponentialLR(o, 0.9)),
        36,
    ),
]


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
@pytest.mark.parametrize(("ours", "theirs", "steps"), ROWS, ids=[repr(row[0]) for row in ROWS])
def test_rates_are_pytorchs(ours, theirs, steps):
    assert [ours(k) for k in range(steps)] == pytest.approx(torch_rates(theirs, steps), abs=1e-12, rel=0)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("options", [{"patience": 2}, {"factor": 0.5, "patience": 0}, {"patience": 1, "cooldown": 2}])
def test_plateau_is_pytorchs(mode, options):
    values = [1.0, 0.9, 0.95, 0.91, 0.92, 0.9, 0.9, 0.89999, 0.5, 0.6, float("nan"), 0.6, 0.6, 0.7, 0.2, 0.3, 0.3, 0.3]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    theirs = S.ReduceLROnPlateau(optimizer, mode=mode, min_lr=1e-3, **options)
    ours = optim.ReduceOnPlateau(0.3, mode=mode, minimum=1e-3, **options)
    rates = []
    for value in values:
        theirs.step(value)
        ours.report(value)
        rates.append(ours(0))
        assert ours(0) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
    assert rates[-1] < 0.3


ALL = [row[0] for row in ROWS] + [
    optim.Step(0.3, 2, unit="epoch"),
    optim.MultiStep(0.3, [1, 3], unit="epoch"),
    optim.Exponential(0.3, 0.9, unit="epoch"),
    optim.Cosine(0.3, unit="epoch"),
    optim.Cosine(0.3),
    optim.OneCycle(0.3),
    optim.Warmup(1, optim.Cosine(0.3), unit="epoch"),
    optim.Warmup(3, optim.ReduceOnPlateau(0.3, patience=0)),
]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_config_and_state_survive_json(schedule):
    schedule.bind(total_steps=40, epoch_steps=8, start=0)
    schedule.report(1.0)
    schedule.report(2.0)
    other = optim.schedule_from_config(json.loads(json.dumps(schedule.config())))
    other.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert type(other) is type(schedule)
    assert other.config() == schedule.config()
    assert [other(k) for k in range(45)] == [schedule(k) for k in range(45)]


def test_an_open_length_is_that_of_each_fit():
    for make in (optim.Cosine, optim.OneCycle):
        schedule, fixed = make(0.3), make(0.3, 20)
        for start in (0, 20):
            schedule.bind(total_steps=20, epoch_steps=5, start=start)
            assert [schedule(start + k) for k in range(25)] == [fixed(k) for k in range(25)]


def test_after_its_length_a_schedule_stays():
    cosine, one = optim.Cosine(0.3, 10, 0.01), optim.OneCycle(0.3, 10)
    assert cosine(10) == cosine(99) == 0.01
    assert one(9) == one(99) == pytest.approx(0.3 / 25 / 1e4)


def test_epochs_count_whole_epochs_and_go_on_in_the_next_fit():
    schedule = optim.Step(1.0, 2, 0.5, unit="epoch")
    schedule.bind(total_steps=12, epoch_steps=4, start=0)
    assert [schedule(k) for k in range(12)] == [1.0] * 8 + [0.5] * 4
    schedule.bind(total_steps=6, epoch_steps=2, start=12)
    assert [schedule(k) for k in range(12, 18)] == [0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    cosine = optim.Cosine(1.0, unit="epoch")
    cosine.bind(total_steps=12, epoch_steps=4, start=0)
    assert [cosine(k) for k in (0, 3, 4, 8, 12)] == pytest.approx([1.0, 1.0, 0.75, 0.25, 0.0])


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_binding_again_from_the_same_start_changes_nothing(schedule):
    schedule = optim.schedule_from_config(schedule.config())
    schedule.bind(total_steps=40, epoch_steps=8, start=0)
    before = [schedule(k) for k in range(50)]
    schedule.bind(total_steps=40, epoch_steps=8, start=0)
    assert [schedule(k) for k in range(50)] == before


def test_a_warmup_leaves_the_rest_of_the_fit_to_the_other():
    schedule = optim.Warmup(10, optim.Cosine(0.2), 0.0)
    schedule.bind(total_steps=50, epoch_steps=10, start=0)
    assert [schedule(k) for k in (0, 5, 10, 30, 50)] == pytest.approx([0.0, 0.1, 0.2, 0.1, 0.0])
    schedule.bind(total_steps=20, epoch_steps=10, start=50)
    assert [schedule(k) for k in (50, 60, 70)] == pytest.approx([0.2, 0.1, 0.0])
    epochs = optim.Warmup(2, 0.2, 0.0, unit="epoch")
    epochs.bind(total_steps=50, epoch_steps=10, start=0)
    assert [epochs(k) for k in (0, 10, 20, 21)] == pytest.approx([0.0, 0.1, 0.2, 0.2])
    epochs.bind(total_steps=50, epoch_steps=99, start=50)
    assert epochs(50) == 0.2


@pytest.mark.parametrize("total", [1, 2, 3, 10])
@pytest.mark.parametrize("pct", [0.0, 0.1, 0.5, 1.0])
def test_one_cycle_of_any_length_is_finite(total, pct):
    schedule = optim.OneCycle(0.3, total, pct)
    assert all(math.isfinite(schedule(k)) and 0 < schedule(k) <= 0.3 for k in range(total + 2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: optim.Constant(-1.0), "Constant: expected lr"),
        (lambda: optim.Constant(float("nan")), "Constant: expected lr"),
        (lambda: optim.Step(0.1, 0), "step_size"),
        (lambda: optim.Step(0.1, 2.5), "step_size"),
        (lambda: optim.Step(0.1, 2, -1.0), "gamma"),
        (lambda: optim.Step(0.1, 2, unit="epochs"), "Did you mean 'epoch'"),
        (lambda: optim.MultiStep(0.1, [3, -1]), "milestone"),
        (lambda: optim.Exponential(0.1, float("inf")), "gamma"),
        (lambda: optim.Cosine(0.1, 0), "total"),
        (lambda: optim.Cosine(0.1, 5, -0.1), "minimum"),
        (lambda: optim.Cosine(0.1)(0), "does not know its length"),
        (lambda: optim.OneCycle(0.1)(0), "does not know its length"),
        (lambda: optim.OneCycle(0.1, 5, 1.5), "pct_start"),
        (lambda: optim.OneCycle(0.1, 5, anneal_strategy="cosine"), "Did you mean 'cos'"),
        (lambda: optim.OneCycle(0.1, 5, div_factor=0), "division"),
        (lambda: optim.Step(0.1, 3, unit="epoch")(0), "counts epochs"),
        (lambda: optim.Warmup(2, 0.1, unit="epoch")(0), "counts epochs"),
        (lambda: optim.Warmup(0, 0.1), "steps"),
        (lambda: optim.Warmup(3, -0.1), "lr"),
        (lambda: optim.ReduceOnPlateau(0.1, factor=1.0), "factor"),
        (lambda: optim.ReduceOnPlateau(0.1, patience=-1), "patience"),
        (lambda: optim.ReduceOnPlateau(0.1, mode="low"), "mode"),
        (lambda: optim.schedule_from_config({"schedule": "Cosin", "lr": 0.1}), "Did you mean 'Cosine'"),
        (lambda: optim.Constant(0.1).load_state_dict({"best": 1}), "does not fit Constant"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


def test_a_broken_description_is_a_file_error():
    for config in ({}, {"schedule": "Step", "lr": 0.1, "size": 3}):
        with pytest.raises(FileFormatError):
            optim.schedule_from_config(config)


def test_a_schedule_of_your_own_is_rebuilt_when_it_is_given():
    class Half(optim.Schedule):
        def __call__(self, step: int) -> float:
            return self.lr / 2

    config = optim.Warmup(3, Half(0.4)).config()
    assert optim.schedule_from_config(config, [Half])(9) == 0.2
    with pytest.raises(ConfigError, match="Unknown schedule 'Half'"):
        optim.schedule_from_config(config)


def test_every_public_schedule_is_compared():
    public = {n for n in optim.__all__ if isinstance(k := getattr(optim, n), type) and issubclass(k, optim.Schedule)}
    assert public - {"Schedule", "ReduceOnPlateau"} == {type(row[0]).__name__ for row in ROWS}
