"""A run's folder: config.json, history.json, checkpoints, in the end model.safetensors; report.html where asked for."""

import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from anyfw.core.atomic import hold
from anyfw.core.beside import beside
from anyfw.core.errors import AnyfwError, ConfigError, OutputError
from anyfw.core.files import prove, remove_stale, save_model, write_json
from anyfw.core.version import __version__

if TYPE_CHECKING:
    from anyfw.train.trainer import Trainer

_log = logging.getLogger("anyfw")

CONFIG, HISTORY, MODEL, REPORT = "config.json", "history.json", "model.safetensors", "report.html"
_CHECKPOINT = re.compile(r"checkpoint-(\d{9})\.safetensors")


@dataclass
class Checkpointing:
    """When a checkpoint is due: at every epoch, or after so many steps or minutes, or never."""

    text: str | None
    steps: int | None = None
    minutes: float | None = None
    _last_step: int = 0
    _last_time: float = field(default_factory=time.monotonic)

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """From "epoch", "500steps", "5min" or None.

        Raises:
            ConfigError: anything else.
        """
        if text in (None, "epoch"):
            return cls(text)
        found = re.fullmatch(r"(\d+)(steps|min)", str(text))
        if found is None or int(found[1]) < 1:
            raise ConfigError(f"checkpoint_every: expected 'epoch', '500steps', '5min' or None, got {text!r}.")
        number = int(found[1])
        return cls(text, steps=number) if found[2] == "steps" else cls(text, minutes=float(number))

    def due(self, step: int) -> bool:
        """Whether to write one after this step; says so once."""
        late = self.minutes is not None and time.monotonic() - self._last_time >= 60 * self.minutes
        if late or (self.steps is not None and step - self._last_step >= self.steps):
            self._last_step, self._last_time = step, time.monotonic()
            return True
        return False

    def due_at_epoch(self, step: int) -> bool:
        """Whether to write one after the epoch that ended with this step."""
        return self.text == "epoch" or self.due(step)


class RunFolder:
    """The files of one run.

    Args:
        path: the folder.
        keep: how many checkpoints stay.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self.path, self.keep = path, keep
        self.claimed = False
        self._proof: Callable[[], None] | None = None
        self._held: Callable[[], None] | None = None

    def claim(self, trainer: "Trainer") -> None:
        """Make the folder and write config.json; a folder that holds something else is refused.

        Raises:
            OutputError: it is not empty, cannot be written, or another process trains in it.
        """
        if not self.claimed:
            try:
                if self.path.exists() and any(self.path.iterdir()):
                    raise OutputError(
                        f"'{self.path}' is not empty. Go on with that run: --resume {self.path} (Trainer.resume); "
                        "replace it: --overwrite; or choose another folder."
                    )
                self.path.mkdir(parents=True, exist_ok=True)
            except OutputError:
                raise
            except OSError as error:
                raise OutputError(
                    f"'{self.path}' cannot be written: {error.strerror}. Choose another folder."
                ) from error
            self.claimed = True
        self._hold()
        remove_stale(self.path)
        write_json(self.path / CONFIG, describe(trainer))

    def _hold(self) -> None:
        # Two processes in one run would delete each other's checkpoints.
        if self._held is None:
            try:
                self._held = hold(self.path)
            except BlockingIOError as error:
                raise OutputError(
                    f"'{self.path}': another process is training in this folder. Wait for it, stop it, or choose "
                    "another folder."
                ) from error

    def release(self) -> None:
        """Let others train in the folder."""
        if self._held is not None:
            self._held()
            self._held = None

    def checkpoint(self, trainer: "Trainer") -> None:
        """Write the trainer's whole state; the oldest beyond `keep` go, once the new one is proved readable.

        So do those of later steps, at once: the run went back to one before them, and `resume` shall not take their
        branch. The proof runs beside the training.
        """
        from anyfw.train.checkpoint import write

        self.wait()
        latest = self.path / f"checkpoint-{trainer.step:09d}.safetensors"
        write(latest, trainer)
        found = checkpoints(self.path)
        present = found.index(latest)
        for later in found[:present]:
            later.unlink(missing_ok=True)
        self._proof = beside(lambda: self._prove(latest, found[present + self.keep :]))

    def way_back(self) -> str:
        """How to go on from what is on disk, as a sentence; empty where there is nothing yet."""
        try:
            there = bool(checkpoints(self.path))
        except OSError:
            there = False
        return f" Go on with: anyfw train --resume {self.path}, or Trainer.resume({str(self.path)!r})." if there else ""

    def wait(self) -> None:
        """Wait until the latest checkpoint is proved."""
        proof, self._proof = self._proof, None
        if proof is not None:
            proof()

    def _prove(self, latest: Path, old: list[Path]) -> None:
        try:
            prove(latest)
        except AnyfwError as error:
            _log.warning("The checkpoint just written cannot be read back, older ones stay: %s", error)
            return
        for path in old:
            with suppress(OSError):  # one that cannot be removed harms nobody
                path.unlink(missing_ok=True)

    def write_history(self, trainer: "Trainer") -> None:
        """Write history.json."""
        write_json(self.path / HISTORY, trainer.history.as_dict())

    def finish(self, trainer: "Trainer") -> None:
        """Write model.safetensors, the best weights where there were validation rows, and the final checkpoint."""
        state = trainer.best_state if trainer.best_state is not None else trainer.net.state_dict()
        save_model(self.path / MODEL, trainer.net.config(), state, trainer.net.metadata)
        if trainer.checkpointing.text is not None:
            self.checkpoint(trainer)
        self.wait()


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the latest first."""
    found = [path for path in folder.iterdir() if _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.name, reverse=True)


def describe(trainer: "Trainer") -> dict[str, Any]:
    """What config.json and a checkpoint tell of a run: enough to rebuild its trainer."""
    stopping = trainer.early_stopping
    return {
        "anyfw": __version__,
        "net": trainer.net.config(),
        "loss": trainer.loss.config(),
        "optimizer": trainer.optimizer.config(),
        "metrics": [metric.config() for metric in trainer.metrics],
        "early_stopping": None
        if stopping is None
        else {name: getattr(stopping, name) for name in ("patience", "monitor", "min_delta", "mode")},
        "dtype": trainer.net.dtype,
        "backend": trainer.net.backend.spec,
        "seed": trainer.seed,
        "clip_norm": trainer.clip_norm,
        "clip_value": trainer.clip_value,
        "accumulate": trainer.accumulate,
        "on_device": trainer.on_device,
        "graph": trainer.graph,
        "checkpoint_every": trainer.checkpointing.text,
        "keep": trainer.folder.keep if trainer.folder else 2,
        "fit": asdict(trainer.plan) if trainer.plan else None,
        **trainer.note,
    }
