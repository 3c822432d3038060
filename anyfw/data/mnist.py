"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28 pixels of 0 ... 255.

Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
"""

import hashlib
import logging
import os
import sys
from pathlib import Path

from anyfw.core.errors import FileFormatError, MissingFileError
from anyfw.data import idx, mirrors
from anyfw.data.dataset import Dataset

_log = logging.getLogger("anyfw")
CLASS_NAMES = tuple("0123456789")


def load() -> Dataset:
    """MNIST from `ANYFW_DATA_DIR` (or its folder `mnist`), else the user's cache, else downloaded into it.

    The content is checked by sha256, wherever it came from, so that nothing else can pass for MNIST.

    Raises:
        MissingFileError: found nowhere, and no mirror delivered it; the message lists what was tried.
        FileFormatError: the files in `ANYFW_DATA_DIR` are corrupt, or are another data set.
        OutputError: the cache cannot be written.
    """
    given = os.environ.get("ANYFW_DATA_DIR", "")
    folders = [Path(given, "mnist"), Path(given)] if given else []
    for folder in folders:
        if not idx.missing_files(folder):
            return _read(folder)
    tried = [] if given else ["ANYFW_DATA_DIR: not set"]
    tried += [_reason(folder) for folder in folders]
    cache = cache_folder() / "mnist"
    if not idx.missing_files(cache):
        try:
            found = _read(cache)
            if given:
                _log.warning("ANYFW_DATA_DIR=%s holds no MNIST; it is read from %s.", given, cache)
            return found
        except FileFormatError as error:
            tried.append(str(error))
    else:
        tried.append(_reason(cache))
    mirrors.fetch_mnist(cache, tried)
    return _read(cache)


def cache_folder() -> Path:
    """Where anyfw keeps what it downloads: `XDG_CACHE_HOME`, else the platform's folder for caches.

    Raises:
        MissingFileError: the user has no home folder.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if Path(named).is_absolute():
        return Path(named, "anyfw")
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local", "anyfw", "cache")
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "anyfw"
        return Path.home() / ".cache" / "anyfw"
    except RuntimeError as error:
        raise MissingFileError(
            "Cache: this user has no home folder. Name a folder in XDG_CACHE_HOME, or in ANYFW_DATA_DIR."
        ) from error


def _reason(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder}: no such folder"
    return f"{folder}: missing {', '.join(idx.missing_files(folder))}"


def _read(folder: Path) -> Dataset:
    arrays = idx.read_folder(folder)
    for file, array in zip(mirrors.FILES, arrays, strict=True):
        digest = hashlib.sha256(idx.header(array.shape))
        digest.update(array.reshape(-1).data)
        if digest.hexdigest() != file.raw_sha256:
            raise FileFormatError(
                f"{idx.existing_file(folder, file.name)}: this is not MNIST's file (its sha256 differs). "
                f"To train on other data with these file names, name the folder instead of 'mnist': {folder}"
            )
    x, y, x_test, y_test = arrays
    return Dataset.from_arrays("mnist", (x, y), (x_test, y_test), class_names=CLASS_NAMES)
