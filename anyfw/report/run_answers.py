"""What a reader of a run's report wants to know, in sentences computed from its numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from anyfw.report.findings import Findings

# Of accuracy, from which a gap that is no chance counts as a little and as clear overfitting; of errors, as ratios.
_LITTLE, _CLEAR = 0.01, 0.05
_LITTLE_RATIO, _CLEAR_RATIO = 1.1, 1.5
_RISEN = 1.1  # the validation loss by its lowest, from which it has turned
_MOVING = 0.05  # of the loss, over the last quarter of the epochs

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Answer:
    """A few words, and the figures that they rest on.

    Attributes:
        verdict, reason: in full sentences.
        tone: whether it is good or bad news, if either.
    """

    verdict: str
    reason: str = ""
    tone: Literal["good", "bad", ""] = ""


def how_good(held: Findings | None, history: Columns) -> Answer:
    """How good is it? From rows that it did not learn from, else from what the history has."""
    if held is None:
        return _by_history(history)
    rows = f"{held.rows:,} {held.kind} rows"
    if held.score is None:
        return Answer(f"A loss of {held.loss:.4g} on {rows}.")
    if held.task == "regression":
        explained = 1 - (held.score / held.baseline) ** 2 if held.baseline else math.nan
        much = f"{_percent(explained)} of the variance is explained" if explained > 0 else "it does worse than that"
        return Answer(
            f"The root mean squared error is {held.score:.4g} on {rows}.",
            f"Always saying the mean would give {held.baseline:.4g}{f': {much}' if held.baseline else ''}.",
            "good" if explained > 0.5 else "bad",
        )
    better = held.score > held.baseline + 2 * held.error
    return Answer(
        f"{_percent(held.score)} of {rows} are right.",
        f"With so many rows chance moves that by ±\u00a0{_percent(2 * held.error)}; always saying the most frequent "
        f"class would give {_percent(held.baseline)}.",
        "good" if better else "bad",
    )


def overfitted(learnt: Findings | None, held: Findings | None, history: Columns, kept: int | None = None) -> Answer:
    """Is it overfitted? By the gap between rows that it learnt from and rows that it did not, and by the curves.

    Args:
        learnt, held: what was found on training rows and on others, with the same weights; None where nothing was.
        history: by epoch.
        kept: the epoch whose weights were kept, where it is not the last.
    """
    turned = _turned(history, kept)
    if learnt is None or held is None:
        if not _finite(history.get("valid_loss", ())):
            lacking = "no validation or test rows were" if held is None else "no training rows were"
            return Answer("Nobody can tell:", f"{lacking} measured.")
        gap = _history_gap(history)
    elif held.score is not None and learnt.score is not None and held.task == "classification":
        gap = _accuracy_gap(learnt, held)
    else:
        gap = _error_gap(learnt, held)
    if turned is None:
        return gap
    sentence, remedied = turned
    if gap.tone != "bad" and not remedied:
        gap = Answer("A little:", gap.reason, "bad")
    return Answer(gap.verdict, f"{gap.reason} {sentence}".strip(), gap.tone)


def enough(history: Columns) -> Answer:
    """Was it trained long enough? By what the loss did in the last quarter of the epochs."""
    name = "valid_loss" if _finite(history.get("valid_loss", ())) else "loss"
    values = _finite(history.get(name, ()))
    which = "validation" if name == "valid_loss" else "training"
    if len(values) < 4:
        return Answer("Too few epochs to tell.", f"There are {len(values)}; the curves tell from 4 on.")
    quarter = max(len(values) // 4, 1)
    before, now = values[-1 - quarter], values[-1]
    fell = (before - now) / (abs(before) or 1.0)
    span = "in the last epoch" if quarter == 1 else f"over the last {quarter} epochs"
    if fell > _MOVING:
        return Answer("It was still getting better:", f"the {which} loss fell by {_percent(fell)} {span}.")
    if fell < -_MOVING:
        return Answer("Longer would not help:", f"the {which} loss rose by {_percent(-fell)} {span}.")
    change = "fell" if fell > 0 else "rose"
    return Answer("It had levelled off:", f"the {which} loss {change} by {_percent(abs(fell))} {span}.")


def took(seconds: Sequence[Any], rows: int | None, backend: str) -> Answer:
    """How long did it take? Validation is counted; what came before the first epoch and after the last is not."""
    known = _finite(seconds)
    if not known:
        return Answer("No epoch has ended yet.")
    plural = "epoch" if len(known) == 1 else "epochs"
    speed = f", {rows / fmean(known):,.0f} training rows a second" if rows and sum(known) else ""
    return Answer(f"{_duration(sum(known))} for {len(known):,} {plural}", f"on {backend}{speed}.")


def _accuracy_gap(learnt: Findings, held: Findings) -> Answer:
    assert learnt.score is not None
    assert held.score is not None
    gap, noise = learnt.score - held.score, 2 * math.hypot(learnt.error, held.error)
    told = (
        f"{_percent(learnt.score)} of {learnt.rows:,} training rows are right and {_percent(held.score)} of the "
        f"{held.kind} rows: a gap of {_points(gap)}"
    )
    if learnt.score <= learnt.baseline + 2 * learnt.error:
        much = f"always saying the most frequent class gives {_percent(learnt.baseline)} of the training rows."
        return Answer("No, the opposite: it has hardly learnt.", f"{told}; {much}", "bad")
    if gap < -noise:
        return Answer("No.", f"{told}: those apart are easier than those learnt from. Were they chosen alike?", "good")
    if gap <= noise:
        return Answer("No.", f"{told}, no more than chance makes of so many rows.", "good")
    if gap <= _LITTLE:
        return Answer("No.", f"{told}.", "good")
    verdict = "Yes:" if gap > _CLEAR else "A little:"
    return Answer(verdict, f"{told}. {_ADVICE if gap > _CLEAR else ''}".strip(), "bad" if gap > _CLEAR else "")


_ADVICE = "More rows, dropout, weight decay, a smaller net or early stopping may help."


def _error_gap(learnt: Findings, held: Findings) -> Answer:
    scored = learnt.score is not None and held.score is not None
    low, high = (learnt.score, held.score) if scored else (learnt.loss, held.loss)
    assert low is not None
    assert high is not None
    what = "error" if scored else "loss"
    told = f"the {what} is {low:.4g} on {learnt.rows:,} training rows and {high:.4g} on the {held.kind} rows"
    if learnt.score is not None and learnt.baseline and learnt.score > 0.95 * learnt.baseline:
        return Answer(
            "No, the opposite: it has hardly learnt:", f"{told}; the mean alone gives {learnt.baseline:.4g}.", "bad"
        )
    noise = 2 * math.hypot(learnt.error, held.error) if scored else 0.0
    return _ratio(low, high, noise, told)


def _history_gap(history: Columns) -> Answer:
    if _finite(history.get("accuracy", ())) and _finite(history.get("valid_accuracy", ())):
        low, high = _finite(history["accuracy"])[-1], _finite(history["valid_accuracy"])[-1]
        told = (
            f"accuracy is {_percent(low)} on the training rows, as they are learnt, and {_percent(high)} on the "
            f"validation rows: a gap of {_points(low - high)}."
        )
        clear = low - high > _CLEAR
        verdict = "Yes:" if clear else "A little:" if low - high > _LITTLE else "No:"
        return Answer(verdict, told, "bad" if clear else "good" if verdict == "No:" else "")
    losses = _finite(history.get("loss", ()))
    if not losses:
        return Answer("Nobody can tell:", "the loss of the training rows is no finite number.")
    low, high = losses[-1], _finite(history["valid_loss"])[-1]
    told = f"the loss is {low:.4g} on the training rows, as they are learnt, and {high:.4g} on the validation rows"
    return _ratio(low, high, 0.0, told)


def _ratio(low: float, high: float, noise: float, told: str) -> Answer:
    # Losses may be 0 or negative, of which there are no ratios.
    if low <= 0:
        return Answer("The numbers:", f"{told}.")
    ratio = high / low
    if ratio <= _LITTLE_RATIO:
        return Answer("No:", f"{told}.", "good")
    if high - low <= noise:
        return Answer("No:", f"{told}, no more than chance makes of so many rows.", "good")
    more = f"{told}, {ratio:.2g} times as much."
    return Answer("Yes:", f"{more} {_ADVICE}", "bad") if ratio > _CLEAR_RATIO else Answer("A little:", more)


def _turned(history: Columns, kept: int | None) -> tuple[str, bool] | None:
    """Whether the validation loss has risen again, as a sentence, and whether the weights of before were kept."""
    values = [value if _is_finite(value) else math.inf for value in history.get("valid_loss", ())]
    if not values or not math.isfinite(min(values)):
        return None
    lowest = values.index(min(values))
    last = next(value for value in reversed(values) if math.isfinite(value))
    if last <= _RISEN * values[lowest] or values[lowest] <= 0:
        return None
    told = (
        f"The validation loss was lowest in epoch {lowest + 1}, {values[lowest]:.4g}, and has risen to {last:.4g} since"
    )
    remedied = kept is not None and kept < len(values)
    return f"{told}{f'; the weights of epoch {kept} were kept' if remedied else ''}.", remedied


def _by_history(history: Columns) -> Answer:
    for prefix, rows in (("valid_", "the validation rows"), ("", "the training rows, as they are learnt,")):
        accuracy, loss = (_finite(history.get(f"{prefix}{name}", ())) for name in ("accuracy", "loss"))
        if accuracy:
            return Answer(f"{_percent(accuracy[-1])} of {rows} are right.", _epoch(accuracy))
        if loss:
            return Answer(f"A loss of {loss[-1]:.4g} on {rows}.", _epoch(loss))
    return Answer("No epoch has ended yet.")


def _epoch(values: Sequence[float]) -> str:
    return f"That is after epoch {len(values)}."


def _finite(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values if _is_finite(value)]


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if math.isfinite(share) else "an unknown share"


def _points(gap: float) -> str:
    return f"{'−' if gap < 0 else ''}{100 * abs(gap):.2f} points"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 100 else f"{hours:.1f} h"
