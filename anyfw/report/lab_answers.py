"""The lab's answers: sentences and tables computed from the trainings, so that they cannot contradict the numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from anyfw.report.lab_runs import Run, Score

VANISHED = 100.0  # the gradient of the last layer by that of the first, from which we speak of vanishing
LOST = 0.05  # of accuracy against the best depth, from which a depth counts as failed


@dataclass(frozen=True)
class Study:
    """All trainings of the lab.

    Attributes:
        grid: every activation, depth and learning rate, one seed.
        chosen: (activation, depth) at the learning rate that validates best, one run per seed.
        full: depth with the activation and rate that validate best, on all training rows, one run per seed.
        deep: (activation, depth) for ever deeper nets.
        test_rows: how many rows the test accuracies were measured on.
    """

    grid: Sequence[Run]
    chosen: Mapping[tuple[str, int], Sequence[Run]]
    full: Mapping[int, Sequence[Run]]
    deep: Mapping[tuple[str, int], Run]
    test_rows: int

    def score(self, runs: Sequence[Run]) -> Score:
        """Their test accuracies."""
        return Score(tuple(run.test_accuracy for run in runs), self.test_rows)

    @property
    def depths(self) -> list[int]:
        """The depths of the grid that have an activation."""
        return sorted({depth for _, depth in self.chosen if depth > 1})

    @property
    def activations(self) -> list[str]:
        """Those of the grid, as they were listed, "none" first."""
        return list(dict.fromkeys(activation for activation, depth in self.chosen if depth > 1))


@dataclass(frozen=True)
class Answer:
    """An answer in words and as a table.

    Attributes:
        verdict: the answer in a few words.
        reason: the figures that it rests on, in full sentences.
        header, rows: the table.
    """

    verdict: str
    reason: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


def activation_matters(study: Study) -> Answer:
    """(a) Does the activation matter?"""
    sentences, wins, gains = [], [], []
    for depth in study.depths:
        scores = {name: study.score(study.chosen[name, depth]) for name in study.activations}
        bare, curved = scores["none"], {name: s for name, s in scores.items() if name != "none"}
        best, worst = max(curved, key=lambda n: curved[n].mean), min(curved, key=lambda n: curved[n].mean)
        gains.append(curved[best].mean - bare.mean)
        wins.append(curved[best].differs(bare) and curved[best].mean > bare.mean)
        apart = _points(curved[best].mean - curved[worst].mean)
        sentences.append(
            f"With {depth} layers {best} is right on {curved[best]} of the test rows and no activation on {bare}: "
            f"{_gain(bare, curved[best])}. The best and the worst activation, {best} and {worst}, are {apart} apart."
        )
    linear, deepest = study.score(study.chosen["none", 1]), study.depths[-1]
    chain = study.score(study.chosen["none", deepest])
    more = "better than" if chain.differs(linear) and chain.mean > linear.mean else "no better than"
    sentences.append(
        f"Without activation, {deepest} layers ({chain}) do {more} one ({linear}): "
        "linear maps in a row are one linear map again, whatever they are trained to."
    )
    verdict = {0: "No clear gain shows here", len(wins): "Yes"}.get(sum(wins), "At some depths only")
    verdict += f": {_and([f'{_signed(gain)} with {d} layers' for d, gain in zip(study.depths, gains, strict=True)])}."
    rows = [
        [name, depth, run.setting.lr, 100 * run.valid_accuracy, str(study.score(runs))]
        for (name, depth), runs in study.chosen.items()
        for run in runs[:1]
    ]
    header = ("activation", "layers", "best learning rate", "validation, %", "test accuracy")
    return Answer(verdict, " ".join(sentences), header, [["–", *row[1:]] if row[1] == 1 else row for row in rows])


def layers_needed(study: Study) -> Answer:
    """(b) Are 2 or 3 layers needed?"""
    scores = {depth: study.score(runs) for depth, runs in sorted(study.full.items())}
    enough = next(
        d for d, s in scores.items() if not any(e > d and t.differs(s) and t.mean > s.mean for e, t in scores.items())
    )
    deepest = max(scores)
    if enough == 1:
        verdict = f"No: one layer does as well, with {scores[1]}."
    elif enough == deepest:
        verdict = f"Yes: {enough} layers do best, clearly, with {scores[enough]}."
    else:
        more = " or ".join(str(depth) for depth in scores if depth > enough)
        verdict = f"{enough} are, with {scores[enough]}; {more} bring no clear gain."
    sentences = [
        f"From {a} to {b} layers test accuracy goes from {scores[a]} to {scores[b]}: {_gain(scores[a], scores[b])}."
        for a, b in zip(list(scores)[:-1], list(scores)[1:], strict=True)
    ]
    rows = []
    for depth, runs in sorted(study.full.items()):
        setting = runs[0].setting
        errors = round(fmean(1 - run.test_accuracy for run in runs) * study.test_rows)
        name = "–" if depth == 1 else setting.activation
        rows.append([depth, name, setting.lr, str(scores[depth]), errors, _last(runs, "loss"), _last(runs, "seconds")])
    header = (
        "layers",
        "activation",
        "learning rate",
        "test accuracy",
        "mistakes",
        "training loss",
        "seconds per epoch",
    )
    return Answer(verdict, " ".join(sentences), header, rows)


def depth_troubles(study: Study) -> Answer:
    """(c) What goes wrong as layers are added?"""
    sentences, vanished, failed = [], [], []
    names = list(dict.fromkeys(name for name, _ in study.deep))
    for name in names:
        runs = {depth: run for (other, depth), run in study.deep.items() if other == name}
        deepest, best = max(runs), max(runs, key=lambda d: runs[d].valid_accuracy)
        ratio = shrinkage(runs[deepest], 0)
        per_layer = ratio ** (1 / (deepest - 1))
        drop = runs[best].test_accuracy - runs[deepest].test_accuracy
        if ratio > VANISHED:
            vanished.append(name)
        if drop > LOST:
            failed.append(name)
        sentences.append(
            f"With {name} and {deepest} layers, the first layer's gradient is {_times(ratio)} the last one's before "
            f"training (a factor of {max(per_layer, 1 / per_layer):.2g} for each layer); the net ends at "
            f"{100 * runs[deepest].test_accuracy:.1f} % on the test rows, "
            + (
                f"where {best} layers reach {100 * runs[best].test_accuracy:.1f} %."
                if best != deepest
                else "the best of all these depths."
            )
        )
    both = [name for name in vanished if name in failed]
    if both:
        ends = _and([f"{100 * _deepest(study, name).test_accuracy:.1f} %" for name in both])
        layers = _deepest(study, both[0]).setting.depth
        verdict = f"With {_and(both)} the gradient vanishes on its way down; at {layers} layers accuracy is {ends}."
        spared = [name for name in names if name not in failed]
        others = [name for name in failed if name not in both]
        verdict += f" {_and(spared).capitalize()} is spared." if spared else ""
        verdict += f" With {_and(others)} deep nets learn worse too, but not for that reason." if others else ""
    elif vanished:
        verdict = f"With {_and(vanished)} the gradient vanishes on its way down, yet the net learns at these depths."
    elif failed:
        verdict = f"Deep nets with {_and(failed)} learn worse, although the gradient reaches every layer."
    else:
        verdict = "Nothing yet at these depths."
    rows = [
        [
            name,
            depth,
            run.setting.lr,
            f"{run.gradients[0][0]:.3g}",
            f"{run.gradients[0][-1]:.3g}",
            shrinkage(run, 0),
            shrinkage(run, -1),
            100 * run.test_accuracy,
        ]
        for (name, depth), run in study.deep.items()
    ]
    header = ("activation", "layers", "rate", "first |dW|", "last |dW|", "last / first", "when trained", "test, %")
    return Answer(verdict, " ".join(sentences), header, rows)


def weights_move(study: Study) -> Answer:
    """(d) How does max |w| move per epoch?"""
    runs = [run for run in study.grid if not run.diverged]
    header = ("learning rate", "trainings", "diverged", "max |w| at the start", "after 1 epoch", "at the end", "growth")
    if not runs:
        return Answer("Nobody can say.", "The loss of every training became infinite or NaN.", header, [])
    paths = {id(run): [max(layers) for layers in run.max_weight] for run in runs}
    grown = sum(path[-1] > path[0] for path in paths.values())
    start, first, end = (median(path[i] for path in paths.values()) for i in (0, 1, -1))
    factors: dict[float, float] = {}
    rows = []
    for lr in sorted({run.setting.lr for run in study.grid}):
        here = [paths[id(run)] for run in runs if run.setting.lr == lr]
        lost = sum(run.diverged for run in study.grid if run.setting.lr == lr)
        if not here:
            rows.append([lr, 0, lost, None, None, None, None])
            continue
        means = [median(path[i] for path in here) for i in (0, 1, -1)]
        factors[lr] = median(path[-1] / path[0] for path in here)
        rows.append([lr, len(here), lost, *means, factors[lr]])
    share = grown / len(runs)
    verdict = "It grows" if share > 0.9 else "It shrinks" if share < 0.1 else "It grows in some nets only"
    verdict += f": from {start:.2f} to {end:.2f} in the median of all trainings."
    reason = (
        f"In {grown} of {len(runs)} trainings the largest |w| of the net is larger at the end than at the start; the "
        f"median is {start:.2f} at the start, {first:.2f} after the first epoch and {end:.2f} after the last. "
    )
    steady = list(factors.values()) == sorted(factors.values()) and len(factors) > 1
    reason += "The larger the learning rate, the further: " if steady else "By learning rate: "
    reason += ", ".join(f"{factor:.2f} times the start at {lr:g}" for lr, factor in factors.items()) + "."
    diverged = sum(run.diverged for run in study.grid)
    if diverged:
        counted = "1 training is" if diverged == 1 else f"{diverged} trainings are"
        reason += f" {counted} not counted: the loss was no longer a finite number."
    reason += " The table holds medians."
    return Answer(verdict, reason, header, rows)


def _deepest(study: Study, name: str) -> Run:
    return study.deep[name, max(depth for other, depth in study.deep if other == name)]


def shrinkage(run: Run, epoch: int) -> float:
    """The norm of the last layer's gradient by that of the first, before training (0) or after it (-1)."""
    first, *_, last = run.gradients[epoch]
    return last / max(first, 1e-30)


def _gain(before: Score, after: Score) -> str:
    difference = after.mean - before.mean
    noise = "a clear difference" if after.differs(before) else "within the noise"
    return f"{_signed(difference)}, {noise}"


def _signed(difference: float) -> str:
    return f"{'+' if difference >= 0 else '−'}{_points(abs(difference))}"


def _points(difference: float) -> str:
    return f"{100 * difference:.2f} points"


def _times(ratio: float) -> str:
    factor = max(ratio, 1 / max(ratio, 1e-30))
    shown = f"{factor:,.0f}" if factor >= 100 else f"{factor:.2g}"
    return f"{shown} times {'smaller' if ratio > 1 else 'larger'} than"


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)


def _last(runs: Sequence[Run], name: str) -> float | None:
    values = [run.history[name][-1] for run in runs if run.history.get(name)]
    return fmean(values) if values else None


QUESTIONS: dict[str, tuple[str, Callable[[Study], Answer]]] = {
    "activation": ("Does the activation matter?", activation_matters),
    "layers": ("Are two or three layers needed?", layers_needed),
    "depth": ("What goes wrong as layers are added?", depth_troubles),
    "weights": ("How does the largest |w| move per epoch?", weights_move),
}
