"""The page of one run: the answers first, then everything that they rest on."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from anyfw.core.version import __version__
from anyfw.report import run_answers as answers
from anyfw.report import svg
from anyfw.report.blocks import Tone, cards, charts, questions
from anyfw.report.findings import Findings
from anyfw.report.graph_layout import detail
from anyfw.report.graph_svg import graph_svg
from anyfw.report.html import Page
from anyfw.report.run_facts import Facts, call, counted, drawable
from anyfw.report.run_findings import add_findings

_NO_CURVES = ("seconds", "lr")
_PERCENT = ("accuracy", "precision", "recall", "f1", "top_k", "roc_auc", "zero_one")
# Where a fit is, which the page says in words.
_PROGRESS = ("batch", "stopping", "finished")
_BOXES = 80  # of a graph that can be read


def make_page(facts: Facts) -> Page:
    """Lay out a run: in short, curves, mistakes, layers, settings, where and how it was made."""
    page = Page(facts.name)
    page.text(facts.status)
    if facts.measured_on is not None:
        page.text(f"Measured on {facts.measured_on}, not on the rows that were kept apart when it was trained.")
    _summary(page, facts)
    _curves(page, facts)
    if facts.held is not None:
        add_findings(page, facts, facts.held)
    _layers(page, facts)
    _settings(page, facts)
    _reproduce(page, facts)
    return page


def _summary(page: Page, facts: Facts) -> None:
    history, held = facts.history, facts.held
    good = answers.how_good(held, history)
    gap = answers.overfitted(facts.learnt, held, history, facts.kept)
    enough, time = answers.enough(history), _took(facts)
    shown: list[tuple[str, str, str, Tone]] = []
    if held is not None and held.score is not None:
        number, what = _score(held)
        shown.append((f"{held.kind} {what}", number, f"{held.rows:,} rows", good.tone))
        if facts.learnt is not None and facts.learnt.score is not None:
            part = "" if facts.learnt.rows == facts.learnt.of else f" of {facts.learnt.of:,}"
            shown.append((f"training {what}", _score(facts.learnt)[0], f"{facts.learnt.rows:,}{part} rows", ""))
    for name in ("valid_loss", "loss") if not shown else ():
        if history.get(name):
            shown.append((name.replace("_", " "), f"{history[name][-1]:.4g}", "after the last epoch", ""))
    shown.append(("overfitted", gap.verdict.rstrip(".:,").split(",")[0], "the gap to new rows", gap.tone))
    seconds = sum(value for value in history.get("seconds", ()) if value is not None)
    shown.append(("time", f"{seconds:.3g} s", time.reason.rstrip("."), ""))
    page.markup(cards(shown))
    page.markup(
        questions(
            [
                ("How good is it?", good.verdict, good.reason),
                ("Is it overfitted?", gap.verdict, _sentence(gap.reason, after=gap.verdict)),
                ("Was it trained long enough?", enough.verdict, enough.reason),
                ("What was trained, and how?", *_what(facts)),
                ("How long did it take?", time.verdict, time.reason),
                ("How is it run again?", facts.command or "By your script,", _again(facts)),
            ]
        )
    )


def _sentence(text: str, *, after: str) -> str:
    return text[:1].upper() + text[1:] if after.endswith(".") else text


def _score(found: Findings) -> tuple[str, str]:
    assert found.score is not None
    if found.task == "classification":
        return f"{100 * found.score:.2f} %", "accuracy"
    return f"{found.score:.4g}", "error (RMSE)"


def _took(facts: Facts) -> answers.Answer:
    rows = (facts.settings.get("fit") or {}).get("rows")
    return answers.took(
        facts.history.get("seconds", ()), rows, str(facts.settings.get("backend", "an unknown backend"))
    )


def _what(facts: Facts) -> tuple[str, str]:
    settings, fit = facts.settings, facts.settings.get("fit") or {}
    kinds = [type(layer).__name__ for _, layer in facts.net.named_layers() if not any(True for _ in layer.children())]
    count = sum(parameter.size for parameter in facts.net.parameters())
    many = f"{', '.join(kinds[:12])}{', ...' if len(kinds) > 12 else ''}"
    epochs = fit.get("last_epoch", len(facts.history.get("loss", ())))
    how = (
        f"{_optimizer(settings.get('optimizer'))} on {_kind(settings.get('loss'))}; {counted(epochs, 'epoch')} of "
        f"batches of {fit.get('batch_size', '?')} rows; {settings.get('dtype')}; seed {settings.get('seed')}."
    )
    return f"{many}: {count:,} parameters.", how


def _kind(config: Any) -> str:
    return call(config).partition("(")[0]


def _optimizer(config: Any) -> str:
    rate = config.get("lr") if isinstance(config, Mapping) else None
    if isinstance(rate, Mapping):
        peak = rate.get("lr", rate.get("max_lr"))
        return f"{_kind(config)} at {_kind(rate)}({'' if peak is None else call(peak)})"
    return f"{_kind(config)} at a learning rate of {call(rate)}"


def _again(facts: Facts) -> str:
    where = f" with anyfw {facts.environment.get('anyfw', __version__)}"
    return f"{'' if facts.command else 'with the same seed and rows,'}{where}; more below, under Run it again.".strip()


def _curves(page: Page, facts: Facts) -> None:
    history = facts.history
    names = dict.fromkeys(name.removeprefix("valid_") for name in history if name not in _NO_CURVES)
    drawn = []
    for name in names:
        lines = [
            svg.Line(label, _scaled(name, history[key]), colour)
            for key, label, colour in (
                (name, "training", "var(--blue)"),
                (f"valid_{name}", "validation", "var(--red)"),
            )
            if key in history and drawable(history[key])
        ]
        if lines:
            title = name.upper() if len(name) <= 4 and name != "loss" else name.replace("_", " ").capitalize()
            drawn.append(svg.line_chart(lines, title, unit=" %" if name in _PERCENT else ""))
    if "lr" in history:
        drawn.append(svg.line_chart([svg.Line("of the last step", history["lr"])], "Learning rate", logarithmic=False))
    if not drawn:
        return
    page.heading("Curves").markup(
        charts(
            drawn,
            "Training numbers are means over an epoch's batches, while the net learns and dropout is on; validation "
            "numbers are measured after the epoch. The learning rate is that of the epoch's last step.",
        )
    )


def _scaled(name: str, values: Sequence[Any]) -> list[Any]:
    return (
        [100 * value if isinstance(value, float) else value for value in values] if name in _PERCENT else list(values)
    )


def _layers(page: Page, facts: Facts) -> None:
    page.heading("Layers")
    norms = facts.norms
    last: dict[str, list[float]] = {}
    if len(norms.epochs):
        start = int(norms.epochs[0])
        drawn = []
        for measure, title in (
            ("gradient", "Norm of the gradient"),
            ("weight", "Norm of the weights"),
            ("largest", "Largest |w|"),
        ):
            columns = norms.of(measure)
            lines = [
                svg.Line(path, values, colour, start)
                for colour, (path, values) in zip(svg.ramp(len(columns)), columns.items(), strict=True)
            ]
            drawn.append(svg.line_chart(lines, title))
            for path, values in columns.items():
                last.setdefault(path, []).append(values[-1])
        page.markup(
            charts(
                drawn,
                "By layer and epoch, from the input (blue) to the output (red); epoch 0 is the net as it was drawn. "
                "Gradients are those of each epoch's last step, after clipping.",
            )
        )
    elif facts.history.get("loss"):
        page.text("Norms by layer were not recorded: train with callbacks=[RunReport()].")
    rows: list[list[Any]] = []
    for path, layer in facts.net.named_layers():
        own = [v for v in vars(layer).values() if hasattr(v, "trainable")]
        if not any(True for _ in layer.children()):
            size = sum(parameter.size for parameter in own)
            frozen = " (frozen)" if own and not any(parameter.trainable for parameter in own) else ""
            measured: list[Any] = [*last.get(path or "net", [None] * 3)]
            rows.append([path or "net", type(layer).__name__ + frozen, detail(layer), size or None, *measured])
    head = ("layer", "class", "size", "parameters", "|gradient|", "|weights|", "largest |w|")
    page.table(rows, head)
    if len(rows) <= _BOXES:
        loss = facts.settings.get("loss") or {}
        page.heading("The net's graph").markup(charts([graph_svg(facts.net, str(loss.get("loss", "loss")))]))


def _settings(page: Page, facts: Facts) -> None:
    page.heading("Settings")
    own = {name: value for name, value in facts.settings.items() if name not in ("net", "fit", "arguments")}
    own |= {name: value for name, value in (facts.settings.get("fit") or {}).items() if name not in _PROGRESS}
    page.table([[name.replace("_", " "), _setting(value)] for name, value in own.items()], ("setting", "value"))
    arguments = facts.settings.get("arguments")
    if isinstance(arguments, Mapping):
        options = [[f"--{name.replace('_', '-')}", _setting(value)] for name, value in arguments.items()]
        page.heading("Options of the command line", 3).table(options, ("option", "value"))
    page.heading("Data, machine and time")
    data, seconds = facts.data, [value for value in facts.history.get("seconds", ()) if value is not None]
    rows: list[list[Any]] = [["data", data.name], ["training rows", data.shapes or None]]
    rows.append(["sha256 of the training rows", data.sha256 or data.unhashed])
    rows.append(["seed", str(facts.settings.get("seed"))])
    rows += [[name, value] for name, value in facts.environment.items()]
    if seconds:
        count = (facts.settings.get("fit") or {}).get("rows")
        rows.append(["time of all epochs", f"{sum(seconds):.4g} s"])
        told = f"{sum(seconds) / len(seconds):.4g} s ({min(seconds):.4g} to {max(seconds):.4g})"
        rows.append(["time of an epoch, mean (range)", told])
        if count and sum(seconds):
            rows.append(["training rows a second", f"{count * len(seconds) / sum(seconds):,.0f}"])
    page.table(rows, ("what", "value"))


def _setting(value: Any) -> str:
    return "–" if value is None else call(value)


_ENCODE = 'x = anyfw.data.Columns.from_config(net.metadata["columns"]).encode("rows.csv")\n'


def _reproduce(page: Page, facts: Facts) -> None:
    page.heading("Run it again")
    if facts.command:
        page.text("The same training, to the bit on the same kind of machine with as many threads:")
        page.code(facts.command)
    else:
        page.text(
            "Train with the settings above, the same rows in the same order, and the same seed: initial weights, "
            "batch order and dropout masks follow from it."
        )
    if facts.folder is None:
        return
    quoted, place = shlex.quote(facts.folder), facts.folder
    table = facts.net.metadata.get("columns") is not None
    if facts.command:
        page.text("Measure it, use it, go on where it stopped, make this page anew:").code(
            f"anyfw eval {quoted}\nanyfw predict {quoted} {'rows.csv' if table else 'rows.npy'}\n"
            f"anyfw train --resume {quoted}\nanyfw report {quoted}"
        )
    page.text("In Python, the trained net, and the trainer as its latest checkpoint left it:").code(
        f"import anyfw\n\nnet = anyfw.load({place + '/model.safetensors'!r})\n"
        f"{_ENCODE if table else ''}y = net(net.backend.asarray(x, net.dtype))\n\n"
        f"trainer = anyfw.Trainer.resume({place!r})\n"
        "trainer.fit(train, epochs=5)  # five further epochs; without epochs= it finishes an interrupted fit"
    )
