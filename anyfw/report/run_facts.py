"""What a run's report is made from, gathered from a trainer."""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.backend import Backend
from anyfw.core.blas_choice import cpuinfo
from anyfw.core.layer import Layer
from anyfw.report.findings import Findings
from anyfw.report.norms import LayerNorms
from anyfw.train.checkpoint import environment as place

# Rows that are hashed at once, so that a view of scattered rows is never copied as a whole.
_BLOCK = 4096


def counted(count: int, noun: str) -> str:
    """A number of things: "1 epoch", "2,000 epochs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Data:
    """The rows that were trained on.

    Attributes:
        name: of the data set, where it has one.
        shapes: of each column, in words.
        sha256: by `fingerprint`; None where it is not known, for the reason in `unhashed`.
    """

    name: str | None = None
    shapes: str = ""
    sha256: str | None = None
    unhashed: str = "not recorded"


@dataclass(frozen=True)
class Facts:
    """All that is on the page.

    Attributes:
        name: the page's title.
        status: how far the run is, in words.
        net: as it was trained; only its layers and parameters are looked at.
        settings: what config.json holds.
        history: by epoch.
        norms: of the layers, by epoch.
        held, learnt: what was found on rows kept apart and on training rows.
        measured_on: the data set of `held`, where it is another one than the run's.
        kept: the epoch whose weights are in the model, where validation rows decided.
        data: the rows.
        environment: versions and machine.
        class_names: one for each class.
        image_shape: of a row of x, where it is a picture.
        folder: of the run.
        command: the command line that trains it again.
    """

    name: str
    status: str
    net: Layer
    settings: Mapping[str, Any]
    history: Mapping[str, Sequence[Any]]
    norms: LayerNorms = field(default_factory=LayerNorms)
    held: Findings | None = None
    learnt: Findings | None = None
    measured_on: str | None = None
    kept: int | None = None
    data: Data = field(default_factory=Data)
    environment: Mapping[str, str] = field(default_factory=dict)
    class_names: Sequence[str] | None = None
    image_shape: tuple[int, ...] | None = None
    folder: str | None = None
    command: str | None = None

    @property
    def classes(self) -> list[str]:
        """The names of all classes that occur, their numbers where they have no names."""
        count = len(self.held.confusion) if self.held is not None and self.held.confusion else 0
        names = [str(name) for name in self.class_names or ()]
        return names + [str(i) for i in range(len(names), count)]


def fingerprint(columns: Sequence[NDArray[Any]]) -> str:
    """The sha256 of rows in memory: of each array its dtype and shape, then its numbers in C order.

    The same rows in another order, or in another dtype, have another one.

    Args:
        columns: x, y and, where there are some, sample weights.

    >>> fingerprint([np.arange(6.0).reshape(3, 2), np.array([0, 1, 1])])[:16]
    'bb029d2aeee67ab7'
    """
    digest = hashlib.sha256()
    for column in columns:
        digest.update(f"{column.dtype.str} {column.shape}\n".encode())
        for start in range(0, len(column), _BLOCK):
            digest.update(np.ascontiguousarray(column[start : start + _BLOCK]).data)
    return digest.hexdigest()


def machine(backend: Backend) -> dict[str, str]:
    """Versions, kernels, threads and the processor, by name."""
    model = cpuinfo().get("model name")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {**place(backend), **({"processor": model} if model else {}), "cores": str(cores)}


def call(config: Any) -> str:
    """A description of a loss, an optimizer or a schedule as the call that makes it: Adam(lr=OneCycle(0.003))."""
    if isinstance(config, Mapping):
        # The class stands under the name of its role.
        role = next((key for key in ("loss", "metric", "optimizer", "schedule", "layer") if key in config), None)
        arguments = ", ".join(f"{key}={call(value)}" for key, value in config.items() if key != role)
        return f"{config[role]}({arguments})" if role else f"{{{arguments}}}"
    if isinstance(config, list | tuple):
        return f"[{', '.join(map(call, config))}]"
    return f"{config:.6g}" if isinstance(config, float) else str(config)


def drawable(values: Sequence[Any]) -> bool:
    """Whether there is a finite number among the values."""
    return any(isinstance(value, int | float) and math.isfinite(value) for value in values)
