"""What `anyfw train` takes, and a run's settings as a command line again."""

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any

from tyro.conf import Positional, arg

from anyfw.cli import build, tables
from anyfw.cli.console import BackendName, Json


@dataclass(frozen=True)
class Options(build.Shape, tables.TableOptions):
    """Train a perceptron on DATA, keep it in a folder, and measure it on the test rows.

    DATA is a known name (mnist, digits, moons, circles, spirals, blobs, curve), a table with a
    header (.csv, .tsv, .parquet) and --target, an .npz with x_train y_train x_test y_test (or x y:
    20 % of the rows are then held out for testing, as of tables), or a folder with MNIST's four idx
    files. Integer y make a classification, floating y a regression. Sizes, class counts and scaling
    are read from the data.

    examples:
      anyfw train mnist
      anyfw train digits --hidden 64 64 --dropout 0.2 --valid 0.1
      anyfw train houses.csv --target price --drop id
      anyfw train data.npz --epochs 50 --valid 0.1 --early-stopping 5 --out runs/mine
      anyfw train --resume runs/mine

    Args:
        data: a known name, a table, an .npz, or a folder of idx files.
        optimizer: sgd, adam, adamw, rmsprop, adagrad.
        lr: the highest learning rate of the schedule.
        schedule: constant, onecycle, cosine, step (a tenth after each third of the epochs), exponential (down to
            1 %), plateau (a tenth after 3 epochs without progress).
        epochs: passes over the training rows.
        batch_size: rows of a step.
        seed: of initial weights, batch order, dropout and validation rows.
        out: the folder of the run; a non-empty one is refused.
        valid: the share of the training rows that is set aside, by class; the best epoch on them is kept.
        early_stopping: stop after so many epochs without progress on the validation rows.
        weight_decay: pull of the weights towards 0.
        momentum: of sgd and rmsprop.
        clip_norm: the largest norm of the gradient.
        dtype: float32 or float64.
        checkpoint_every: epoch, 500steps, 5min, or none.
        keep: how many checkpoints stay.
        resume: go on with a run that was interrupted, with the settings that it has.
        overwrite: replace the run in the folder of --out.
        progress: auto (a bar on a terminal, else lines), bar, lines, none.
        serve: show the report while it trains, in a browser on this machine, on this port or a free one.
    """

    data: Positional[Annotated[str | None, arg(metavar="DATA", help_behavior_hint="")]] = None
    optimizer: Annotated[str, arg(metavar="NAME")] = "adam"
    lr: Annotated[float, arg(metavar="RATE")] = 3e-3
    schedule: Annotated[str, arg(metavar="NAME")] = "onecycle"
    epochs: Annotated[int, arg(metavar="N")] = 5
    batch_size: Annotated[int, arg(metavar="ROWS")] = 128
    seed: Annotated[int, arg(metavar="N")] = 0
    out: Annotated[
        str | None, arg(metavar="FOLDER", help_behavior_hint="(default: runs/NAME, or the next free one)")
    ] = None
    valid: Annotated[float, arg(metavar="SHARE")] = 0.0
    early_stopping: Annotated[int | None, arg(metavar="EPOCHS", help_behavior_hint="(default: off)")] = None
    weight_decay: Annotated[float | None, arg(metavar="RATE", help_behavior_hint="(default: the optimizer's)")] = None
    momentum: Annotated[float | None, arg(metavar="SHARE", help_behavior_hint="(default: the optimizer's)")] = None
    clip_norm: Annotated[float | None, arg(metavar="NORM", help_behavior_hint="(default: off)")] = None
    dtype: Annotated[str, arg(metavar="NAME")] = "float32"
    checkpoint_every: Annotated[str, arg(metavar="WHEN")] = "epoch"
    keep: Annotated[int, arg(metavar="N")] = 2
    resume: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="")] = None
    overwrite: Annotated[bool, arg(help_behavior_hint="")] = False
    backend: BackendName = None
    progress: Annotated[str, arg(metavar="KIND")] = "auto"
    serve: Annotated[tuple[int, ...] | None, arg(metavar="[PORT]", help_behavior_hint="")] = None
    json: Json = False


def command_line(settings: Mapping[str, Any]) -> str | None:
    """The `anyfw train` that trains the same again, from what config.json holds; None where another program did."""
    name, arguments = settings.get("data"), settings.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        return None
    words = ["anyfw", "train", name, "--seed", str(arguments.get("seed", 0))]
    defaults = {field.name: field.default for field in fields(Options) if field.default is not MISSING}
    for option, value in arguments.items():
        chosen = tuple(value) if isinstance(value, list | tuple) else value
        if option == "seed" or option not in defaults or chosen == defaults[option]:
            continue
        values = [str(one) for one in (chosen if isinstance(chosen, tuple) else () if chosen is True else (chosen,))]
        flag = f"--{option.replace('_', '-')}"
        # A value with a dash at its beginning would be taken for an option.
        dashed = len(values) == 1 and values[0].startswith("-")
        words += [f"{flag}={values[0]}"] if dashed else [flag, *values]
    return shlex.join(words)
