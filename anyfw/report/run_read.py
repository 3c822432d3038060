"""What a run's folder tells of it, when its training is over or was ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from anyfw import losses, metrics
from anyfw.core.backend import Backend, get_backend
from anyfw.core.errors import FileFormatError, MissingFileError
from anyfw.core.files import read_json
from anyfw.core.layer import Layer
from anyfw.losses import Loss
from anyfw.metrics import Metric
from anyfw.nn.files import load
from anyfw.report.run_facts import Facts
from anyfw.report.run_report import RunReport
from anyfw.train import Trainer
from anyfw.train.run_folder import CONFIG, HISTORY, MODEL, checkpoints


@dataclass(frozen=True)
class StoredRun:
    """A run as its folder holds it: the facts, and its net with the weights that were kept, to be measured."""

    facts: Facts
    net: Layer
    loss: Loss
    metrics: Sequence[Metric]


def read_run(folder: str | PathLike[str], backend: str | Backend | None = None) -> StoredRun:
    """Read config.json, history.json, the model, and from the latest checkpoint the norms of the layers.

    Raises:
        MissingFileError: no run there, or one with neither a model nor a checkpoint.
        FileFormatError: files that are damaged.
        UnknownNameError: layers, losses or metrics of the user's own; use `write_report` with their trainer.
    """
    place, backend = Path(folder), get_backend(backend)
    if not (place / CONFIG).is_file():
        raise MissingFileError(f"{folder}: no run: there is no {CONFIG} in this folder.")
    settings = _columns(place / CONFIG)
    _check(place / CONFIG, all(isinstance(settings.get(key) or {}, dict) for key in ("fit", "arguments", "loss")))
    finished = (place / MODEL).is_file()
    if checkpoints(place):
        recorded = RunReport()
        trainer = Trainer.resume(place, callbacks=[recorded], backend=backend, progress=False)
        net, loss, measured = trainer.net, trainer.loss, trainer.metrics
        facts = recorded.facts(trainer)
        if trainer.best_state is not None:
            net.load_state_dict(trainer.best_state)
    elif finished:
        net = load(place / MODEL).to(backend)
        loss = losses.from_config(settings.get("loss", {}))
        measured = [metrics.from_config(config) for config in settings.get("metrics", ())]
        facts = Facts(place.name, "", net, settings, {}, folder=fspath(folder))
    else:
        raise MissingFileError(
            f"{folder}: this run has neither a model nor a checkpoint yet. Start it over: anyfw train --resume {folder}"
        )
    if finished:
        net.load_state_dict(load(place / MODEL).state_dict())
    history = _columns(place / HISTORY) if (place / HISTORY).is_file() else {}
    _check(place / HISTORY, all(isinstance(values, list) for values in history.values()))
    meta, data = net.metadata, settings.get("data")
    epochs = max((len(values) for values in history.values()), default=0)
    wanted = (settings.get("fit") or {}).get("last_epoch", epochs)
    facts = replace(
        facts,
        name=str(data or place.name),
        status=f"{'Finished' if finished else 'Not finished'}: {epochs} of {wanted} epochs.",
        settings=settings,
        history=history or facts.history,
        folder=fspath(folder),
        data=replace(facts.data, name=None if data is None else str(data)),
        class_names=None if not meta.get("class_names") else tuple(map(str, meta["class_names"])),
        image_shape=None if not meta.get("image_shape") else tuple(meta["image_shape"]),
    )
    return StoredRun(facts, net, loss, measured)


def _columns(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise FileFormatError(f"{path}: expected an object, got {type(found).__name__}. Is it damaged?")
    return found


def _check(path: Path, sound: bool) -> None:
    if not sound:
        raise FileFormatError(f"{path}: not as a run writes it. Is it damaged?")
