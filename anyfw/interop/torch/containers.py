"""The two containers that `torch.save` writes: a zip archive since PyTorch 1.6, and a row of pickles before."""

import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

from anyfw.interop.torch.names import SAVE_STATE
from anyfw.interop.torch.pickles import MAX_BYTES, Machine
from anyfw.interop.torch.storages import DAMAGED, MAX_INDEX, Numbers, RefusedError, empty, read_into, stored_bytes

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_UTF8, _ENCRYPTED = 0x800, 0x1
_AFTER_DIRECTORY = 1 << 17  # its end has at most 64 KiB, and is looked for twice
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True)
class _Entry:
    """Where the bytes of an entry are; a checksum of 0 was not written."""

    start: int
    size: int
    checksum: int


def read_archive(file: BinaryIO) -> Any:
    """The value in a zip archive: the pickle FOLDER/data.pkl, and a storage in each FOLDER/data/NUMBER.

    Nothing is ever extracted to a disk. Entries are stored as they are, one after the other, each under one name.

    Raises:
        RefusedError: an archive of another kind, damaged, or with a directory beyond `MAX_INDEX`.
    """
    entries = _entries(file)
    if "data.pkl" not in entries:
        raise RefusedError("a zip archive without FOLDER/data.pkl, so not one of torch.save. Is it an .npz?")
    order = _bytes(file, entries["byteorder"], 10) if "byteorder" in entries else b"little"
    if order != b"little":
        raise RefusedError(f"its byte order is {order!r}, and b'little' is read. Save it on a little-endian machine.")

    def storage(kind: str, key: str, count: int) -> Numbers:
        entry, wanted = entries.get(f"data/{key}"), stored_bytes(kind, count)
        if entry is None or entry.size != wanted:
            found = "none" if entry is None else f"{entry.size} bytes"
            raise RefusedError(f"storage {key}: expected {wanted} bytes, got {found}. Copy or save it again.")
        numbers = empty(kind, count)
        file.seek(entry.start)
        read_into(file, kind, numbers, lambda raw: _check(f"data/{key}", raw, entry))
        return numbers

    machine = Machine(_bytes(file, entries["data.pkl"], MAX_BYTES), storage)
    value = machine.run()
    if machine.place != len(machine.data):
        raise RefusedError(f"data.pkl goes on after its end. {DAMAGED}")
    return value


def read_sequence(file: BinaryIO, size: int) -> Any:
    """The value in a file of five pickles: a magic number, a version, sizes of types, the value, the storages' keys.

    After them come the storages in the order of their keys, each with its number of elements before it.

    Raises:
        RefusedError: a pickle of another kind, or damaged.
    """
    room = size

    def storage(kind: str, key: str, count: int) -> Numbers:
        nonlocal room
        room -= stored_bytes(kind, count)
        if room < 0:
            raise RefusedError(f"truncated: storage {key} of {count} elements does not fit. Copy or save it again.")
        return empty(kind, count)

    # Never more than there is: room is made before it is read.
    machine = Machine(file.read(min(size, MAX_BYTES)), storage)
    if machine.run() != _MAGIC:
        raise RefusedError(f"a pickle, but not one of torch.save. {SAVE_STATE}.")
    version, sizes = machine.run(), machine.run()
    if version != _VERSION or type(sizes) is not dict or sizes.get("little_endian") is not True:
        raise RefusedError(f"expected version {_VERSION}, little-endian. Load and save it with a newer PyTorch.")
    value, keys = machine.run(), machine.run()
    if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) != len(keys):
        raise RefusedError(f"its list of storages is none. {DAMAGED}")
    if set(keys) != set(machine.storages):
        raise RefusedError(f"its list of storages does not name those that its tensors use. {DAMAGED}")
    file.seek(machine.place)
    for key in keys:
        known, count = machine.storages[key], int.from_bytes(file.read(8), "little")
        if count != known.numbers.size:
            raise RefusedError(
                f"storage {key}: expected {known.numbers.size} elements, got {count}. Copy or save it again."
            )
        read_into(file, known.kind, known.numbers)
    return value


class _Bounded:
    """A file of which only so many bytes are ever read; zipfile itself reads a directory as long as it says it is."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file, self._left = file, left
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        """The next bytes; without a count those to the end of the file."""
        if count < 0:
            count = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if count > self._left:
            raise RefusedError(f"its list of entries has more than {MAX_INDEX} bytes. Save fewer tensors in one file.")
        self._left -= count
        return self._file.read(count)


def _entries(file: BinaryIO) -> dict[str, _Entry]:
    # By their names in the one folder.
    try:
        with zipfile.ZipFile(_Bounded(file, MAX_INDEX + _AFTER_DIRECTORY)) as archive:
            infos, end = archive.infolist(), archive.start_dir
    except RefusedError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, OSError, EOFError, struct.error) as why:
        raise RefusedError(f"a zip archive that is truncated or corrupt: {why!s:.100}. Copy or save it again.") from why
    if any(info.orig_filename.endswith("/constants.pkl") for info in infos):
        raise RefusedError(f"a TorchScript archive, which is a program. {SAVE_STATE}.")
    found: dict[str, _Entry] = {}
    folders = set()
    past = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        _check_plain(info)
        folder, _, name = info.orig_filename.partition("/")
        if name in found:
            raise RefusedError(f"it holds two entries of the name {_short(info)}. {DAMAGED}")
        start = _start(file, info) if past <= info.header_offset < end else end
        past = start + info.file_size
        if past > end:
            raise RefusedError(f"its entry {_short(info)} overlaps another one or ends beyond the file. {DAMAGED}")
        folders.add(folder)
        found[name] = _Entry(start, info.file_size, info.CRC)
    if len(folders) > 1:
        raise RefusedError("expected a zip archive of one folder, as torch.save writes. Was it packed by hand?")
    return found


def _check_plain(info: zipfile.ZipInfo) -> None:
    # orig_filename is as it stands in the file: zipfile cuts the other one at a null character.
    name = info.orig_filename
    parts = name.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
        raise RefusedError(f"its entry {_short(info)} has a name that torch.save never writes. {DAMAGED}")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise RefusedError(f"its entry {_short(info)} is a symbolic link. {DAMAGED}")
    if info.flag_bits & _ENCRYPTED:
        raise RefusedError(f"its entry {_short(info)} is encrypted. Save it again with torch.save.")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise RefusedError(f"its entry {_short(info)} is compressed, as torch.save never does. Save it again with it.")


def _start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    # Where the entry's bytes begin is told only by a second header, before them; it must not contradict the first.
    file.seek(info.header_offset)
    raw = file.read(_LOCAL_HEADER.size)
    if len(raw) == _LOCAL_HEADER.size:
        magic, _, flags, method, *_, name_length, extra_length = _LOCAL_HEADER.unpack(raw)
        name = file.read(name_length).decode("utf-8" if flags & _UTF8 else "cp437", "replace")
        if magic == b"PK\x03\x04" and method == zipfile.ZIP_STORED and name == info.orig_filename:
            return int(info.header_offset + _LOCAL_HEADER.size + name_length + extra_length)
    raise RefusedError(f"its entry {_short(info)} is not where it is said to be. Copy or save it again.")


def _bytes(file: BinaryIO, entry: _Entry, most: int) -> bytes:
    if entry.size > most:
        raise RefusedError(f"an entry of {most} bytes at most has {entry.size}. Save fewer values in one file.")
    file.seek(entry.start)
    raw = file.read(entry.size)
    _check("an entry", raw, entry)
    return raw


def _check(name: str, raw: bytes | memoryview, entry: _Entry) -> None:
    if entry.checksum not in (0, zlib.crc32(raw)):
        raise RefusedError(f"corrupt: the checksum of {name} does not match. Copy or save it again.")


def _short(info: zipfile.ZipInfo) -> str:
    return repr(info.orig_filename[:80])
