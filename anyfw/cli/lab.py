"""`anyfw lab`: the lesson's questions, answered by trainings, on one page."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Annotated

from tyro.conf import Positional, arg

from anyfw.cli.console import BackendName, Json, Result, progress_kind
from anyfw.cli.open import choose_backend
from anyfw.core.backend import use_backend


@dataclass(frozen=True)
class Options:
    """Train small perceptrons by the dozen to answer four questions with numbers.

    Does the activation matter? Are two or three layers needed? What goes wrong as layers are added? How do the
    largest weights move? The page also shows decision boundaries, fits, over- and underfitting, the shapes of
    the losses, and the computational graph. It takes minutes; --quick takes seconds and says little.

    examples:
      anyfw lab
      anyfw lab --quick --out runs/first-look

    Args:
        data: a known name, an .npz, or a folder of idx files, with class labels.
        out: the folder of index.html and lab.json, the numbers; a page that is there is replaced.
        quick: small nets and few rows, to see that it works.
        epochs: of each training.
        seed: of weights, rows and noise.
        progress: auto or lines (one for each training), or none.
    """

    data: Positional[
        Annotated[str | None, arg(metavar="DATA", help_behavior_hint="(default: mnist; digits with --quick)")]
    ] = None
    out: Annotated[str, arg(metavar="FOLDER")] = "runs/lab"
    quick: Annotated[bool, arg(help_behavior_hint="")] = False
    epochs: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 5)")] = None
    seed: Annotated[int, arg(metavar="N")] = 0
    progress: Annotated[str, arg(metavar="KIND")] = "auto"
    backend: BackendName = None
    json: Json = False


def run(options: Options) -> Result:
    """Run the lab and print its answers."""
    from anyfw.report import lab  # here, so that --help is not slowed by what draws pictures

    shown = progress_kind(options.progress) is not False
    with use_backend(choose_backend(options.backend)):
        found = lab.run(
            options.out,
            seed=options.seed,
            quick=options.quick,
            epochs=options.epochs,
            data=options.data,
            progress=shown,
        )
    lines = [
        f"{one['question']}\n{fill(one['answer'], 96, initial_indent='  ', subsequent_indent='  ')}\n"
        for one in found["answers"].values()
    ]
    page = Path(options.out, lab.PAGE)
    data = {**found, "out": options.out, "page": str(page)}
    return Result("\n".join([*lines, f"page        {page}  ({found['seconds']:.0f} s)"]), data)
