"""Files as `torch.save` writes them, byte by byte and without PyTorch, so that each byte can be a wrong one."""

import struct
import zlib
from dataclasses import dataclass

import numpy as np

# Pickles, of protocol 2

PROTO = b"\x80\x02"
HOOKS = b"ccollections\nOrderedDict\n)R"


def whole(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def name(module, what):
    return b"c" + module.encode() + b"\n" + what.encode() + b"\n"


def row(*parts):
    return b"(" + b"".join(parts) + b"t"


def shape(*numbers):
    return row(*map(whole, numbers))


def items(**values):
    return b"(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def call(function, *arguments):
    return function + row(*arguments) + b"R"


def storage(key="0", kind="FloatStorage", count=6, *, old=False):
    return row(text("storage"), name("torch", kind), text(key), text("cpu"), whole(count), b"N" if old else b"") + b"Q"


def tensor(source=None, offset=0, sizes=(2, 3), strides=(3, 1), *, grad=b"\x89", hooks=HOOKS, more=()):
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    source = storage() if source is None else source
    return call(rebuild, source, whole(offset), shape(*sizes), shape(*strides), grad, hooks, *more)


# The zip archive

NUMBERS = np.arange(6, dtype="<f4").tobytes()


@dataclass
class Entry:
    """An entry of a zip archive, and what its headers say of it besides the truth."""

    name: str
    data: bytes
    method: int = 0
    flags: int = 0x800
    mode: int = 0
    size: int | None = None  # of what it unpacks to
    stored: int | None = None
    offset: int | None = None
    checksum: int | None = None
    inner_name: str | None = None  # in the header before the data


def zipped(*entries):
    body, directory = b"", b""
    for one in entries:
        raw, inner = one.name.encode(), (one.inner_name or one.name).encode()
        stored = len(one.data) if one.stored is None else one.stored
        size = len(one.data) if one.size is None else one.size
        checksum = zlib.crc32(one.data) if one.checksum is None else one.checksum
        offset = len(body) if one.offset is None else one.offset
        common = struct.pack("<HHHHIII", one.flags, one.method, 0, 0x21, checksum, stored, size)
        body += b"PK\x03\x04" + b"\0\0" + common + struct.pack("<HH", len(inner), 0) + inner + one.data
        directory += b"PK\x01\x02" + b"\0\x03\0\0" + common
        directory += struct.pack("<HHHHHII", len(raw), 0, 0, 0, 0, one.mode << 16, offset) + raw
    tail = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + tail


def archive(value, *more, numbers=NUMBERS, order=b"little", checksum=None):
    """As `torch.save` writes a value, given as the instructions that make it."""
    files = {"data.pkl": PROTO + value + b".", "byteorder": order, "data/0": numbers, "version": b"3\n"}
    return zipped(*(Entry(f"archive/{name}", data, checksum=checksum) for name, data in files.items()), *more)


# The row of pickles of earlier versions

MAGIC = whole(0x1950A86A20F9469CFC6C)
VERSION = whole(1001)
SIZES = b"}" + items(protocol_version=VERSION, little_endian=b"\x88", type_sizes=b"}")


def sequence(value, *, magic=MAGIC, version=VERSION, sizes=SIZES, keys=("0",), count=6, numbers=NUMBERS):
    listed = b"](" + b"".join(map(text, keys)) + b"e"
    pickles = b"".join(PROTO + part + b"." for part in (magic, version, sizes, value, listed))
    return pickles + struct.pack("<q", count) + numbers


# One of each, with all kinds of values

CHECKPOINT = b"}" + items(
    model=HOOKS
    + items(**{"0.weight": tensor(), "0.turned": tensor(None, 0, (3, 2), (1, 3)), "0.last": tensor(None, 5, (), ())})
    + b"}"
    + items(_metadata=HOOKS)
    + b"b",
    epoch=whole(3),
    rates=b"](" + b"G?\xe0\0\0\0\0\0\0" + b"Ne",
    options=row(b"\x88", b"\x89", text("é"), whole(2**40), whole(-1)),
    parameter=call(name("torch._utils", "_rebuild_parameter"), tensor(), b"\x88", HOOKS),
    size=call(name("torch", "Size"), shape(2, 3)),
    device=call(name("torch", "device"), text("cuda"), whole(1)),
    dtype=name("torch", "bfloat16"),
    milestones=call(name("collections", "Counter"), b"}" + whole(30) + whole(1) + b"s"),
)


def checkpoint_values():
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    return {
        "model": {"0.weight": numbers, "0.turned": numbers.T, "0.last": np.float32(5)},
        "epoch": 3,
        "rates": [0.5, None],
        "options": (True, False, "é", 2**40, -1),
        "parameter": numbers,
        "size": (2, 3),
        "device": "cuda:1",
        "dtype": "bfloat16",
        "milestones": {30: 1},
    }


def old(value):
    """The same instructions, with storages as earlier versions name them."""
    return value.replace(storage(), storage(old=True))


def same(found, expected):
    """Whether both are of the same containers with the same values, to the bit."""
    if isinstance(expected, np.ndarray | np.generic):
        return (
            isinstance(found, np.ndarray)
            and (found.dtype, found.shape) == (expected.dtype, expected.shape)
            and found.tobytes() == expected.tobytes()
        )
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list | tuple):
        both = zip(found, expected, strict=False)
        return type(found) is type(expected) and len(found) == len(expected) and all(same(*pair) for pair in both)
    return type(found) is type(expected) and found == expected
