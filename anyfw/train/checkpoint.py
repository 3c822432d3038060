"""Checkpoints: everything that training depends on, in one safetensors file, and the way back."""

import logging
import platform
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from anyfw import losses, metrics, nn, optim
from anyfw.core.backend import Backend
from anyfw.core.errors import AnyfwError, FileFormatError, MissingFileError
from anyfw.core.files import read_tensors, write_tensors
from anyfw.core.parameter import to_host
from anyfw.core.version import __version__
from anyfw.train.callbacks import Callback, EarlyStopping
from anyfw.train.history import History
from anyfw.train.run_folder import checkpoints, describe

if TYPE_CHECKING:
    from anyfw.train.trainer import Trainer

_log = logging.getLogger("anyfw")
Tensors = dict[str, NDArray[Any]]
Kind = TypeVar("Kind", bound="Trainer")


def write(path: Path, trainer: "Trainer") -> None:
    """Write a trainer's state to one file, atomically.

    Raises:
        OutputError: it cannot be written; what was there before is untouched.
    """
    tensors = _prefixed("net", trainer.net.state_dict())
    optimizer = trainer.optimizer.state_dict()
    tensors |= _prefixed("optimizer", optimizer.pop("state"))
    tensors |= _prefixed("best", trainer.best_state or {})
    if trainer.batch_losses is not None:
        tensors["epoch.losses"] = np.array(to_host(trainer.batch_losses))
    for i, metric in enumerate(trainer.metrics):
        tensors |= _prefixed(f"metric.{i}", {name: np.array(to_host(x)) for name, x in metric.state().items()})
    callback_states = []
    for i, callback in enumerate(trainer.callbacks):
        state = callback.state_dict()
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        tensors |= _prefixed(f"callback.{i}", arrays)
        callback_states.append({name: value for name, value in state.items() if name not in arrays})
    names = {parameter: name for name, parameter in trainer.net.named_parameters()}
    metadata = {
        "kind": "checkpoint",
        "run": describe(trainer),
        "metadata": dict(trainer.net.metadata),
        "counters": trainer.counters(),
        "forwards": trainer.net.shared.forwards,
        "learnt": [names[parameter] for parameter in trainer.optimizer.parameters],
        "flags": {path: [p.trainable, p.decay] for path, p in trainer.net.named_parameters()},
        "optimizer": optimizer,
        "best": [trainer.best.best, trainer.best.best_epoch],
        "history": trainer.history.as_dict(),
        "callbacks": callback_states,
        "environment": environment(trainer.net.backend),
    }
    write_tensors(path, tensors, metadata)


def environment(backend: Backend) -> dict[str, str]:
    """What decides the last bits of a run besides its state, by name."""
    machine = {"anyfw": __version__, "Python": platform.python_version(), "machine": platform.machine()}
    return {**machine, "backend": backend.spec, **backend.provenance()}


def restore(
    kind: type[Kind],
    path: str | PathLike[str],
    own: Mapping[str, Sequence[Any]],
    callbacks: Sequence[Callback],
    backend: Backend,
    progress: bool | str | None,
) -> Kind:
    """Rebuild a trainer from a run's folder or a checkpoint file; a damaged latest one gives way to the one before.

    Raises:
        MissingFileError: there is no checkpoint.
        FileFormatError: there is none that can be read.
    """
    folder, tensors, metadata = _latest(Path(path))
    run = metadata["run"]
    net = nn.from_config(run["net"], own["layers"])
    net.load_state_dict(_under("net", tensors))
    net.to(backend, run["dtype"])
    parameters = dict(net.named_parameters())
    for name, parameter in parameters.items():
        parameter.trainable, parameter.decay = metadata["flags"][name]
    learnt = [parameters[name] for name in metadata["learnt"]]
    net.metadata = metadata["metadata"]
    stopping = run["early_stopping"]
    trainer = kind(
        net,
        losses.from_config(run["loss"], own["losses"]),
        optim.from_config(run["optimizer"], learnt, own["optimizers"], own["schedules"]),
        metrics=[metrics.from_config(config, own["metrics"]) for config in run["metrics"]],
        callbacks=callbacks,
        seed=run["seed"],
        clip_norm=run["clip_norm"],
        clip_value=run["clip_value"],
        accumulate=run["accumulate"],
        out=folder,
        checkpoint_every=run["checkpoint_every"],
        keep=run["keep"],
        early_stopping=None if stopping is None else EarlyStopping(**stopping),
        progress=progress,
        on_device=run["on_device"],
        graph=run.get("graph", "auto"),
    )
    _load(trainer, tensors, metadata)
    _tell_differences(metadata.get("environment", {}), environment(backend))
    return trainer


def _tell_differences(then: Mapping[str, str], now: Mapping[str, str]) -> None:
    changed = [f"{name} {then[name]} is now {now[name]}" for name in now if name in then and then[name] != now[name]]
    if changed:
        _log.warning("This run goes on, but its last bits may differ from an unbroken one: %s.", ", ".join(changed))


def _load(trainer: "Trainer", tensors: Tensors, metadata: Mapping[str, Any]) -> None:
    backend, dtype = trainer.net.backend, trainer.net.dtype
    trainer.optimizer.load_state_dict({**metadata["optimizer"], "state": _under("optimizer", tensors)})
    trainer.net.shared.rewind(metadata["forwards"])
    trainer.best.best, trainer.best.best_epoch = metadata["best"]
    trainer.best_state = _under("best", tensors) or None
    trainer.history = History(metadata["history"])
    batch_losses = tensors.get("epoch.losses")
    trainer.take_counters(
        metadata["counters"], None if batch_losses is None else backend.asarray(batch_losses.copy(), dtype)
    )
    for i, metric in enumerate(trainer.metrics):
        metric.load_state({name: backend.asarray(x.copy()) for name, x in _under(f"metric.{i}", tensors).items()})
    for i, state in enumerate(metadata["callbacks"]):
        whole = {**state, **_under(f"callback.{i}", tensors)}
        if i < len(trainer.callbacks):
            trainer.callbacks[i].load_state_dict(whole)
        elif whole:
            _log.warning("Callback %d of this run had a state, which is left out: resume(..., callbacks=).", i + 1)
    run = metadata["run"]
    trainer.note = {name: value for name, value in run.items() if name not in describe(trainer)}
    if trainer.folder is not None:
        trainer.folder.claimed = True


def _latest(path: Path) -> tuple[Path, Tensors, dict[str, Any]]:
    if path.is_dir():
        folder, candidates = path, checkpoints(path)
    else:
        folder, candidates = path.parent, [path]
    if not candidates:
        raise MissingFileError(f"'{path}' holds no checkpoint. Was the run started with out=?")
    problem: AnyfwError | None = None
    for candidate in candidates:
        try:
            tensors, metadata = read_tensors(candidate)
            if metadata.get("kind") != "checkpoint":
                raise FileFormatError(f"'{candidate}' is no checkpoint. A model file is read by anyfw.load.")
        except FileFormatError as error:
            _log.warning("%s Trying the checkpoint before it.", error)
            problem = problem or error
            continue
        return folder, tensors, metadata
    assert problem is not None
    raise problem


def _prefixed(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Tensors:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(f"{prefix}."): x for name, x in tensors.items() if name.startswith(f"{prefix}.")}
