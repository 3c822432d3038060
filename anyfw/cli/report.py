"""`anyfw report`: the page of a run, made anew from what its folder holds."""

import webbrowser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from anyfw.cli import tables, task
from anyfw.cli.console import BackendName, Json, Result, note
from anyfw.cli.open import choose_backend, load_data, tell
from anyfw.cli.train_options import command_line
from anyfw.core.errors import AnyfwError, ConfigError
from anyfw.data import Arrays, Dataset
from anyfw.data.tables.frames import is_table
from anyfw.report import fingerprint
from anyfw.report import run_answers as answers
from anyfw.report.findings import look
from anyfw.report.run_facts import Facts
from anyfw.report.run_page import make_page
from anyfw.report.run_read import StoredRun, read_run
from anyfw.report.run_report import LOOKED_AT
from anyfw.train.run_folder import REPORT


@dataclass(frozen=True)
class Options:
    """Write report.html of a run anew, from what the run's folder holds and its data set.

    The page needs no network and holds no script: it can be passed on as it is.

    examples:
      anyfw report runs/mnist --open
      anyfw report runs/mine other.npz

    Args:
        run: the folder of a run.
        data: a known name, an .npz, a folder of idx files or a table, to measure the net on.
        open: show the page in a browser.
    """

    run: Positional[Annotated[str, arg(metavar="RUN")]]
    data: Positional[
        Annotated[str | None, arg(metavar="DATA", help_behavior_hint="(default: what it was trained on)")]
    ] = None
    open: Annotated[bool, arg(help_behavior_hint="")] = False
    backend: BackendName = None
    json: Json = False


def run(options: Options) -> Result:
    """Read the run, measure its net where its data can be had, write the page."""
    folder = Path(options.run)
    if folder.is_file():
        raise ConfigError(f"{folder}: expected the folder of a run, got a file.")
    stored = read_run(folder, choose_backend(options.backend))
    facts = replace(stored.facts, command=command_line(stored.facts.settings))
    name = options.data or facts.data.name
    if name is None:
        note("This run does not tell what it was trained on: its net is not measured. Name DATA to measure it.")
    else:
        facts = _measured(stored, facts, name, required=options.data is not None)
    page = folder / REPORT
    make_page(facts).write(page)
    if options.open:
        webbrowser.open(page.absolute().as_uri())
    good = answers.how_good(facts.held, facts.history)
    gap = answers.overfitted(facts.learnt, facts.held, facts.history, facts.kept)
    found = {"report": str(page), "how_good": good.verdict, "overfitted": f"{gap.verdict} {gap.reason}"}
    scores = {} if facts.held is None else {"rows": facts.held.rows, "loss": facts.held.loss, **facts.held.metrics}
    lines = [good.verdict, f"  overfitted  {gap.verdict} {gap.reason}", f"  report      {page}"]
    return Result("\n".join(lines), {**found, **scores, "epochs": len(facts.history.get("loss", ()))})


def _measured(stored: StoredRun, facts: Facts, name: str, *, required: bool) -> Facts:
    try:
        dataset = _dataset(stored, facts, name)
    except AnyfwError as error:
        if required:
            raise
        note(f"warning: the net is not measured, since its data cannot be loaded: {error}")
        return facts
    net, loss, measured = stored.net, stored.loss, stored.metrics
    facts = facts if name == facts.data.name else replace(facts, measured_on=name)
    held = None if dataset.test is None else look("test", net, loss, measured, Arrays(*dataset.test))
    if not len(dataset.train[0]):  # another table than the one that was trained on
        return replace(facts, held=held)
    train, _ = task.rows(dataset, *_split(facts))
    learnt = look("training", net, loss, (), Arrays(*train), most=LOOKED_AT)
    now = fingerprint(train)
    known = facts.data.sha256
    if known is not None and known != now:
        note(f"warning: the training rows are not those that this run was trained on (sha256 {now[:12]}..., then "
             f"{known[:12]}...).")  # fmt: skip
    rows = f"not recorded; of the rows as they are now: {now}"
    shapes = facts.data.shapes or f"x {train[0].shape} {train[0].dtype}, y {train[1].shape} {train[1].dtype}"
    return replace(
        facts,
        held=held,
        learnt=learnt,
        data=replace(facts.data, shapes=shapes, unhashed=rows),
        class_names=facts.class_names or dataset.class_names,
        image_shape=facts.image_shape or dataset.image_shape,
    )


def _dataset(stored: StoredRun, facts: Facts, name: str) -> Dataset:
    if not is_table(name):
        return load_data(name)
    net, (valid, seed) = stored.net, _split(facts)
    return tell(tables.read_for_net(net.metadata, facts.folder, name, net.dtype, valid=valid, seed=seed))


def _split(facts: Facts) -> tuple[float, int]:
    # The share of the rows that were set aside for validation, and the seed that chose them.
    arguments: Any = facts.settings.get("arguments") or {}
    return arguments.get("valid", 0.0), arguments.get("seed", 0)
