"""The lab: the lesson's questions, answered by trainings, on one page with numbers and pictures."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from anyfw import data as datasets
from anyfw.core.atomic import write_atomic
from anyfw.core.errors import ConfigError, DataError, OutputError
from anyfw.core.files import write_json
from anyfw.core.version import __version__
from anyfw.data import Dataset
from anyfw.report import lab_demos as demos
from anyfw.report.canvas import figure
from anyfw.report.lab_answers import QUESTIONS, Answer, Study
from anyfw.report.lab_page import make_page
from anyfw.report.lab_pictures import PICTURES
from anyfw.report.lab_runs import ACTIVATIONS, LabData, Run, Setting, best_of, train

PAGE, NUMBERS = "index.html", "lab.json"
DEEP = ("sigmoid", "relu")  # the activations that are taken to greater depths


@dataclass(frozen=True)
class Size:
    """How much is trained.

    Attributes:
        train_rows, valid_rows, probe_rows: of the grid: to learn from, to choose by, to take gradients on.
        lrs, depths, deep: the grid, and the depths beyond it.
        seeds: how often the chosen nets are trained.
        width, batch_size: of all nets.
        epochs, full_epochs: on the grid's rows, and on all.
        moons, curve, few: epochs of the demonstrations.
        tables: draws of rows that the errors by capacity are averaged over.
    """

    train_rows: int = 12000
    valid_rows: int = 4000
    probe_rows: int = 1000
    lrs: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    depths: tuple[int, ...] = (1, 2, 3)
    deep: tuple[int, ...] = (2, 3, 4, 6, 8)
    seeds: int = 3
    width: int = 64
    batch_size: int = 64
    epochs: int = 5
    full_epochs: int = 4
    moons: int = 150
    curve: int = 80
    few: int = 1200
    tables: int = 3


QUICK = Size(
    train_rows=800, valid_rows=200, probe_rows=200, lrs=(0.1, 1.0), deep=(2, 8), seeds=2, width=32, batch_size=32,
    epochs=4, full_epochs=4, moons=20, curve=10, few=100, tables=1,
)  # fmt: skip


def run(
    out: str | os.PathLike[str] = "runs/lab",
    *,
    seed: int = 0,
    quick: bool = False,
    epochs: int | None = None,
    data: str | os.PathLike[str] | Dataset | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Train the lab's nets and write `index.html` and `lab.json` into a folder; other files there stay.

    Args:
        out: the folder, made if it is not there.
        seed: of weights, rows and noise: the same one gives the same numbers.
        quick: a few seconds on small nets, to see that it works; the answers mean little.
        epochs: of each training on MNIST's rows; None is 5, or 4 in a quick lab.
        data: a data set with class labels, by name, path or itself; None is MNIST, or digits in a quick lab.
        progress: a line on stderr for each training; None is on a terminal only.

    Returns:
        What lab.json holds: "answers" and "demonstrations" by key, the trainings' numbers, "seconds".

    Raises:
        MissingExtraError: Matplotlib is not installed (the extra `plots`).
        ConfigError: epochs below 1.
        DataError: data without class labels.
        OutputError: the folder cannot be written; found out before anything is trained.
    """
    started = time.perf_counter()
    figure()
    size = QUICK if quick else Size()
    if epochs is not None:
        if not isinstance(epochs, int) or epochs < 1:
            raise ConfigError(f"lab: expected epochs of at least 1, got {epochs!r}.")
        size = replace(size, epochs=epochs, full_epochs=epochs)
    folder = _writable(Path(out))
    dataset = _classification(data if data is not None else "digits" if quick else "mnist")
    lab_data = LabData.of(
        dataset, train_rows=size.train_rows, valid_rows=size.valid_rows, probe_rows=size.probe_rows, seed=seed
    )
    study, settings = _trained(dataset, lab_data, size, seed, _Lines(size, progress))
    found = {key: compute(study) for key, (_, compute) in QUESTIONS.items()}
    shown = [
        demos.moons(seed, size.moons),
        demos.curve(seed, size.curve),
        demos.capacity(seed, size.few, size.tables),
        demos.shapes(),
        demos.graph(dataset.features, dataset.outputs),
    ]
    pictures = {key: draw(study) for key, (draw, _, _) in PICTURES.items()}
    seconds = time.perf_counter() - started
    result: dict[str, Any] = {
        "anyfw": __version__,
        "data": dataset.name,
        "seed": seed,
        "quick": quick,
        "backend": settings["backend"],
        "size": asdict(size),
        "rows": settings["rows"],
        "answers": {
            key: {"question": QUESTIONS[key][0], "answer": f"{one.verdict} {one.reason}", **_table(one)}
            for key, one in found.items()
        },
        "demonstrations": {demo.key: {"question": demo.title, "answer": demo.answer, **_table(demo)} for demo in shown},
        "grid": [one.as_dict() for one in study.grid],
        "chosen": [one.as_dict() for runs in study.chosen.values() for one in runs],
        "full": [one.as_dict() for runs in study.full.values() for one in runs],
        "deep": [one.as_dict() for one in study.deep.values()],
        "seconds": seconds,
    }
    page = make_page(result, study, found, pictures, shown)
    write_json(folder / NUMBERS, result)
    page.write(folder / PAGE)
    return result


class _Lines:
    """One line on stderr for each training."""

    def __init__(self, size: Size, progress: bool | None) -> None:
        shallow = 1 if 1 in size.depths else 0
        nets = shallow + len(ACTIVATIONS) * (len(size.depths) - shallow)
        self.total = (
            nets * (len(size.lrs) + size.seeds - 1) + len(DEEP) * len(size.deep) + len(size.depths) * size.seeds
        )
        self.shown = sys.stderr.isatty() if progress is None else progress
        self.done = 0
        self.started = time.perf_counter()

    def __call__(self, run: Run) -> Run:
        self.done += 1
        self.total = max(self.total, self.done)
        if self.shown:
            setting = run.setting
            end = "diverged" if run.diverged else f"{100 * run.test_accuracy:.1f} %"
            seconds = time.perf_counter() - self.started
            line = f"lab {self.done}/{self.total}  {setting.name}, rate {setting.lr:g}: {end}  ({seconds:.0f} s)"
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress is for people
        return run


def _trained(dataset: Dataset, data: LabData, size: Size, seed: int, tell: _Lines) -> tuple[Study, dict[str, Any]]:
    assert dataset.test is not None
    rows = len(data.train[0])

    def setting(activation: str, depth: int, lr: float, seed: int = seed) -> Setting:
        return Setting(activation, depth, lr, seed, size.width, size.epochs, size.batch_size, rows)

    nets = [(name, depth) for depth in size.depths for name in ACTIVATIONS if depth > 1 or name == "none"]
    grid = [tell(train(data, setting(*net, lr))) for net in nets for lr in size.lrs]
    chosen: dict[tuple[str, int], Sequence[Run]] = {}
    for net in nets:
        rates = [run for run in grid if (run.setting.activation, run.setting.depth) == net]
        chosen[net] = _repeated(rates, lambda one: tell(train(data, one)), range(seed + 1, seed + size.seeds))
    deep: dict[tuple[str, int], Run] = {}
    for name in DEEP:
        rate = chosen[name, max(size.depths)][0].setting.lr
        for depth in size.deep:
            deep[name, depth] = tell(train(data, setting(name, depth, rate)))
    everything = data.with_all(dataset.train)
    full: dict[int, list[Run]] = {}
    for depth in size.depths:
        best = _steadiest([runs for (_, other), runs in chosen.items() if other == depth])
        one = replace(best.setting, epochs=size.full_epochs, train_rows=len(dataset.train[0]))
        full[depth] = [tell(train(everything, replace(one, seed=seed + i))) for i in range(size.seeds)]
    about = {
        "train": rows,
        "valid": 0 if data.valid is None else len(data.valid[0]),
        "all": len(dataset.train[0]),
        "test": len(data.test[0]),
        "probe": len(data.probe[0]),
    }
    return Study(grid, chosen, full, deep, about["test"]), {"rows": about, "backend": _backend()}


def _repeated(rates: Sequence[Run], again: Callable[[Setting], Run], seeds: range) -> Sequence[Run]:
    # A rate at which another seed diverges was lucky: the next best one takes its place, as long as there is one.
    left = list(rates)
    while True:
        best = best_of(left)
        runs = [best, *(again(replace(best.setting, seed=seed)) for seed in seeds)]
        left.remove(best)
        if not left or not any(run.diverged for run in runs):
            return runs


def _steadiest(candidates: Sequence[Sequence[Run]]) -> Run:
    # One seed of one net may be lucky: the mean over all of them decides.
    return max(candidates, key=lambda runs: fmean(run.valid_accuracy for run in runs))[0]


def _backend() -> str:
    from anyfw.core.backend import get_backend

    return get_backend().spec


def _classification(data: str | os.PathLike[str] | Dataset) -> Dataset:
    dataset = data if isinstance(data, Dataset) else datasets.load(data)
    if dataset.task != "classification":
        raise DataError(
            f"lab: expected data with class labels, got the regression '{dataset.name}'. Try mnist or digits."
        )
    if dataset.test is None:
        raise DataError(f"lab: expected test rows, '{dataset.name}' has none. Dataset.from_arrays holds some out.")
    return dataset


def _writable(folder: Path) -> Path:
    # Asked before minutes of training, not after.
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be made: {error.strerror}. Choose another folder.") from error
    probe = folder / ".anyfw-lab"
    write_atomic(probe, b"")
    probe.unlink(missing_ok=True)
    return folder


def _table(part: Answer | demos.Demo) -> dict[str, Any]:
    return {"header": list(part.header), "table": [list(row) for row in part.rows]}
