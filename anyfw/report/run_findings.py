"""The part of a run's page that tells what the net makes of rows that it did not learn from."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from anyfw.data import Columns
from anyfw.report import png, svg
from anyfw.report.blocks import charts, gallery, matrix
from anyfw.report.findings import Findings, Worst
from anyfw.report.html import Page
from anyfw.report.run_facts import Facts, counted, drawable

_CLASSES = 25  # up to which there is a whole matrix
_ROWS = 100  # of the table by class
_FEATURES = 12  # of a row in a table


def add_findings(page: Page, facts: Facts, held: Findings) -> None:
    """Add what was found on rows that were kept apart."""
    if held.confusion is not None:
        page.heading("What is mistaken for what")
        _confusion(page, held.confusion, facts.classes)
    if held.residuals:
        page.heading("Residuals")
        for i, one in enumerate(held.residuals):
            if one.odd:
                page.text(f"{counted(one.odd, 'row')} got an output that is no finite number, and cannot be drawn.")
            if not one.counts:
                continue
            which = f" of output {i}" if len(held.residuals) > 1 else ""
            page.markup(
                charts(
                    [
                        svg.scatter(
                            one.true, one.said, f"Predicted by true{which}", x_label="true", y_label="predicted"
                        ),
                        svg.histogram(one.edges, one.counts, f"Residuals{which}", x_label="predicted minus true"),
                    ]
                )
            )
        page.text(
            "Points on the line are right. A histogram that is not centred at 0, or points that bend away from the "
            "line, are errors that a net could learn to avoid."
        )
    page.heading(f"Worst {held.kind} rows").text(
        f"Those with the highest losses of {held.rows:,}, by their number among the {held.kind} rows, from 0. They are "
        "often mislabelled, or of a kind with few rows."
    )
    _worst(page, facts, held.worst)
    if held.metrics:
        numbers = [[name, value] for name, value in {"loss": held.loss, **held.metrics}.items() if drawable([value])]
        page.heading(f"All that was measured on the {held.kind} rows", 3).table(numbers, ("measure", "value"))


def _confusion(page: Page, counts: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    if len(counts) <= _CLASSES:
        page.markup(matrix(counts, names))
    else:
        page.text(f"{len(counts)} classes are too many for a table of all pairs.")
    wrong = sorted(
        ((n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j), key=lambda one: -one[0]
    )
    if wrong:
        pairs = [(names[i], names[j], n) for n, i, j in wrong[:8]]
        page.heading("The most frequent mistakes", 3).table(pairs, ("true", "predicted", "rows"))
    page.heading("By class", 3)
    rows: list[tuple[Any, ...]] = []
    for i, name in enumerate(names):
        right, true, said = counts[i][i], sum(counts[i]), sum(row[i] for row in counts)
        recall, precision = right / true if true else None, right / said if said else None
        f1 = 2 * right / (true + said) if true + said else None
        rows.append((name, true, _percent(recall), _percent(precision), _percent(f1)))
    page.table(rows[:_ROWS], ("class", "rows", "found (recall)", "right (precision)", "F1"))


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _worst(page: Page, facts: Facts, worst: Sequence[Worst]) -> None:
    names = facts.classes

    def named(value: Any) -> str:
        if isinstance(value, int) and 0 <= value < len(names):
            return names[value]
        return ", ".join(f"{x:.4g}" for x in islice(np.ravel(value), 4))

    low = min((float(one.x.min()) for one in worst if one.x.size), default=0.0)
    high = max((float(one.x.max()) for one in worst if one.x.size), default=1.0)
    pictures = []
    for one in worst:
        pixels = png.as_pixels(one.x, facts.image_shape, low, high)
        if pixels is not None:
            sure = "" if one.probability is None else f" ({100 * one.probability:.1f} %)"
            told = f"true {named(one.true)}, said {named(one.said)}{sure}"
            pictures.append(
                (png.encode(pixels), f"row {one.row}: {told}", f"{told}; loss {one.loss:.3g}, row {one.row}")
            )
    if pictures:
        page.markup(gallery(pictures))
        return
    known = any(one.probability is not None for one in worst)
    columns = dict(islice(_columns(facts, worst).items(), _FEATURES))
    rows = []
    for i, one in enumerate(worst):
        middle = [one.probability, one.loss] if known else [one.loss]
        rows.append([one.row, named(one.true), named(one.said), *middle, *(values[i] for values in columns.values())])
    page.table(rows, ("row", "true", "said", *(["probability"] if known else []), "loss", *columns))


def _columns(facts: Facts, worst: Sequence[Worst]) -> Mapping[str, Sequence[Any]]:
    # What was put before the net, of a table in its own words.
    if not worst:
        return {}
    x = np.stack([one.x for one in worst])
    known = facts.net.metadata.get("columns")
    if known is not None:
        return Columns.from_config(known).decode(x)
    return {f"x{i}": values for i, values in enumerate(x.T.tolist())}
