"""Where a run goes: a free folder, or one whose earlier run is replaced."""

import re
from pathlib import Path

from anyfw.core.atomic import remove_stale
from anyfw.core.errors import OutputError
from anyfw.train import Trainer
from anyfw.train.run_folder import CONFIG, HISTORY, MODEL, REPORT, RunFolder, checkpoints


class Replacing(RunFolder):
    """A folder whose earlier run goes at the moment the new one begins, and not before."""

    def claim(self, trainer: Trainer) -> None:
        """Delete the earlier run's files, then claim the folder as usual."""
        if not self.claimed and self.path.is_dir():
            remove_run(self.path)
            self.claimed = True
        super().claim(trainer)


def free_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3, ... that is empty or not there."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip(".") or "run"
    number, folder = 1, Path("runs", plain)
    while folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        number += 1
        folder = Path("runs", f"{plain}-{number}")
    return folder


def remove_run(folder: Path) -> None:
    """Delete a run's files, and nothing else.

    Raises:
        OutputError: there is something else in the folder.
    """
    remove_stale(folder)
    own = [*checkpoints(folder), *(folder / name for name in (REPORT, MODEL, HISTORY, CONFIG))]
    others = sorted(path.name for path in folder.iterdir() if path not in own)
    if others:
        raise OutputError(
            f"'{folder}' holds more than a run ({', '.join(others[:3])}): --overwrite deletes none of it. "
            "Choose another folder."
        )
    for path in own:
        path.unlink(missing_ok=True)
