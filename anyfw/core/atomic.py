"""Writing a file so that the old one or the whole new one is there, whatever happens meanwhile."""

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from anyfw.core.errors import AnyfwError, FileFormatError, MissingFileError, OutputError

# On Windows an open file cannot be deleted, which protects it as well as a lock does.
if sys.platform != "win32":
    import fcntl

StrPath = str | os.PathLike[str]

_REASONS = {
    errno.ENOSPC: "the disk is full. Free some room and save again",
    errno.EDQUOT: "the disk quota is used up. Free some room and save again",
    errno.EFBIG: "it is larger than files may be here",
    errno.EROFS: "the disk is read-only. Choose another folder",
    errno.EACCES: "permission is denied. Choose another folder, or change its owner or mode",
    errno.EPERM: "permission is denied. Choose another folder, or change its owner or mode",
    errno.ENOENT: "its folder does not exist. Create it first",
    errno.ENOTDIR: "its folder is a file. Choose another folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def write_atomic(path: StrPath, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that at every moment, also after a power cut, the old one or the whole new one is there.

    Args:
        path: the file; its folder must exist. A symbolic link keeps pointing where it points.
        data: the content, or a function that writes it into the open file.

    Raises:
        OutputError: the folder is missing, not writable or full; the old file is as it was.
    """
    if "\0" in os.fspath(path):
        raise OutputError(f"{path!r}: cannot be written: no name of a file holds a null character.")
    # Replacing a link would leave its target stale.
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        raise OutputError(f"{path}: cannot be written: it is a folder. Give the name of a file.")
    # Next to the target, since a rename is atomic on one disk only; a name of ours, since a crash leaves it there.
    temporary = target.parent / f".anyfw-{secrets.token_hex(8)}.tmp"
    try:
        try:
            _write_and_replace(temporary, target, data)
            _sync_folder(target.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except AnyfwError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {_reason(error)}.") from error


def open_to_read(path: StrPath) -> BinaryIO:
    """Open a regular file.

    Raises:
        MissingFileError: there is no such file, or it cannot be opened.
        FileFormatError: a folder, a device or a pipe.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise FileFormatError(f"{path}: expected a file, got a {'folder' if stat.S_ISDIR(mode) else 'device'}.")
        return open(path, "rb")
    except AnyfwError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"{path}: there is no such file (looked in {Path(path).absolute().parent}).") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise MissingFileError(f"{path}: cannot be read: {_reason(error)}.") from error


def hold(folder: StrPath) -> Callable[[], None]:
    """Hold a folder against other processes that hold it; returns what lets it go. A process that ends lets go.

    Raises:
        BlockingIOError: another one holds it.
    """
    if sys.platform == "win32":  # which opens no folders
        return lambda: None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return lambda: None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:  # network disks may have no locks
        pass
    return lambda: os.close(handle)


def remove_stale(folder: StrPath) -> int:
    """Delete the temporary files that killed processes left in a folder; return how many.

    One that is being written right now, by whatever process, is left alone. A folder that is not there has none.
    """
    removed = 0
    for temporary in Path(folder).glob(".anyfw-*.tmp"):
        with contextlib.suppress(OSError), temporary.open("r+b") as file:
            _lock(file)
            if sys.platform == "win32":
                file.close()
            temporary.unlink()
            removed += 1
    return removed


def _write_and_replace(temporary: Path, target: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    with temporary.open("xb") as file:
        with contextlib.suppress(OSError):  # network disks may have no locks
            _lock(file)
        if callable(data):
            data(file)
        else:
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        if os.path.exists(target):
            with contextlib.suppress(OSError):  # the mode is a courtesy
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        # Windows renames no open file; elsewhere the lock is held until the file has its name.
        if sys.platform == "win32":
            file.close()
        os.replace(temporary, target)


def _lock(file: BinaryIO) -> None:
    if sys.platform != "win32":
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(folder: Path) -> None:
    # Only then does the new name survive a power cut.
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders; its journal keeps renames
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # disks that sync no folders
            raise
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return _REASONS.get(number, str(error)) if number is not None else str(error)
