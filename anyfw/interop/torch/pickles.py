"""Values out of a pickle without running it: a closed machine for what `torch.save` writes of plain data.

A pickle is a program. Python's own machine for it looks up any name that the program says and calls it, so that a file
can do whatever Python can. This machine has no instruction for that: names are compared with a list and never looked
up, and what they stand for is done here.

Accepted
    Protocol: 2, which `torch.save` writes unless it is told otherwise.
    Instructions: PROTO STOP MARK; NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE;
        EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS;
        BINPUT LONG_BINPUT BINGET LONG_BINGET; GLOBAL REDUCE BUILD BINPERSID.
    GLOBAL: `CALLS` and `STORAGES` in `anyfw.interop.torch.names`, and PyTorch's dtypes, which become their names.
    REDUCE: of `CALLS` only. BUILD: of an OrderedDict with "_metadata", as a state dict has; it is dropped.
    BINPERSID: ("storage", one of `STORAGES`, key, location, number of elements), for files before PyTorch 1.6 with a
        None after it.
    Keys of dicts: texts of at most 10,000 characters, and whole numbers of 64 bits.

Bounds
    A pickle of 64 MiB, a million instructions, of which a tensor of a state dict takes 30, and a call for each 6 bytes:
    whatever they are, they make at most 250 MB of small objects beside the pickle and the numbers, and take seconds.
    Texts of 16 MiB in all. One rare character makes four bytes of each other one in its text, so that they take 64 MiB.
    Containers in containers to a depth of 100, in which cycles end, too. A million places, or 4 times as many as
    instructions, for values to stand in, shared ones counted in each: whoever walks through the result comes to an end.
    The machine does not recurse.

Source: the documentation of Python's `pickletools`; "Serialization semantics" in PyTorch's notes.
"""

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from anyfw.interop.torch.names import CALLS, DTYPES, MOST_ARGUMENTS, SAVE_STATE, STORAGES, Name, advice
from anyfw.interop.torch.storages import DAMAGED, Numbers, RefusedError, Storage

MAX_BYTES = 1 << 26
_MAX_STEPS = 1_000_000
_MAX_TEXT = 1 << 24  # bytes of all texts
_LEAST_BYTES = 6  # that a call takes, with its arguments
_MAX_DEPTH = 100
_MAX_NAME = 200  # bytes of a module's or a class's name
# Other keys could be made to collide, or take long to compare, so that a small file would take hours.
_MAX_KEY = 10_000

_PLAIN = {type(None), bool, int, float, str}
_CONTAINERS = {tuple, list, dict, OrderedDict}

OpenStorage = Callable[[str, str, int], Numbers]


class Machine:
    """Runs one pickle after the other in `data`.

    Args:
        data: where the pickles are.
        open_storage: given dtype, key and number of elements, the numbers of a storage, or room for them.
    """

    def __init__(self, data: bytes, open_storage: OpenStorage) -> None:
        self.data, self.open_storage = data, open_storage
        self.place = self.steps = self.calls = self.texts = 0
        self.storages: dict[str, Storage] = {}

    def run(self) -> Any:
        """The value of the pickle at `place`, which then is after it.

        Raises:
            RefusedError: what is not in the lists above, beyond the bounds, truncated, or no pickle.
        """
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        while (code := self.take(1)) != b".":
            self.steps += 1
            if self.steps > _MAX_STEPS:
                raise RefusedError(f"it has more than {_MAX_STEPS} instructions. Save fewer values in one file.")
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise RefusedError(f"its instruction {_title(code)} at byte {self.place - 1} is not read. {DAMAGED}")
            instruction(self)
        value = self.pop()
        if self.stack or self.marks:
            raise RefusedError(f"it ends with values left over. {DAMAGED}")
        _check_tree(value, max(1_000_000, 4 * self.steps))
        return value

    # What instructions are made of

    def take(self, count: int) -> bytes:
        """The next bytes."""
        place = self.place + count
        if place > len(self.data):
            raise RefusedError(f"truncated: expected {count} bytes at byte {self.place}. Copy or save it again.")
        found, self.place = self.data[self.place : place], place
        return found

    def number(self, size: int, *, signed: bool = False) -> int:
        """The next bytes as a whole number."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> str:
        """The next text that ends with a newline."""
        end = self.data.find(b"\n", self.place, self.place + _MAX_NAME)
        if end < 0:
            raise RefusedError(f"a name at byte {self.place} does not end. {DAMAGED}")
        return self.take(end + 1 - self.place)[:-1].decode("ascii", "backslashreplace")

    def text(self) -> str:
        """The next text, with its length before it."""
        count = self.number(4)
        self.texts += count
        if self.texts > _MAX_TEXT:
            raise RefusedError(f"it has texts of more than {_MAX_TEXT} bytes. Save fewer texts beside the tensors.")
        raw = self.take(count)
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise RefusedError(f"a text before byte {self.place} is not UTF-8. {DAMAGED}") from None

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def top(self) -> Any:
        """The value on top of the stack, above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise RefusedError(f"an instruction before byte {self.place} lacks its values. {DAMAGED}")
        return self.stack[-1]

    def pop(self) -> Any:
        """Take the value on top off the stack."""
        value = self.top()
        del self.stack[-1]
        return value

    def pop_last(self, count: int) -> tuple[Any, ...]:
        """Take several."""
        return tuple([self.pop() for _ in range(count)][::-1])

    def pop_to_mark(self) -> list[Any]:
        """Take all above the last mark, and the mark."""
        if not self.marks:
            raise RefusedError(f"an instruction before byte {self.place} lacks its mark. {DAMAGED}")
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    # Instructions of several lines

    def protocol(self) -> None:
        """PROTO."""
        version = self.number(1)
        if version != 2:
            raise RefusedError(
                f"expected a pickle of protocol 2, as torch.save writes, got {version}. Save without pickle_protocol."
            )

    def get(self, index: int) -> None:
        """BINGET and its long form."""
        if index not in self.memo:
            raise RefusedError(f"it asks for value {index}, which it never kept. {DAMAGED}")
        self.push(self.memo[index])

    def append(self, values: list[Any]) -> None:
        """APPEND, APPENDS."""
        target = self.top()
        if type(target) is not list:
            raise RefusedError(f"it appends to a {type(target).__name__}. {DAMAGED}")
        target += values

    def set_items(self, values: list[Any]) -> None:
        """SETITEM, SETITEMS."""
        target = self.top()
        if type(target) not in (dict, OrderedDict) or len(values) % 2:
            raise RefusedError(f"it sets items of a {type(target).__name__}. {DAMAGED}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not ((type(key) is str and len(key) <= _MAX_KEY) or (type(key) is int and -(2**63) <= key < 2**63)):
                raise RefusedError(
                    f"a key is a {_kind(key)}: expected a text of at most {_MAX_KEY} characters, or an int of 64 bits."
                )
            target[key] = value

    def name(self) -> None:
        """GLOBAL."""
        name = Name(self.line(), self.line())
        if name.module == "torch" and name.name in DTYPES:
            self.push(name.name)
        elif name in CALLS or (name.module == "torch" and name.name in STORAGES):
            self.push(name)
        else:
            raise RefusedError(advice(name))

    def reduce(self) -> None:
        """REDUCE."""
        function, arguments = self.pop_last(2)
        if type(function) is not Name or function not in CALLS or type(arguments) is not tuple:
            raise RefusedError(f"it calls what cannot be called before byte {self.place}. {DAMAGED}")
        self.calls += 1
        if self.calls * _LEAST_BYTES > self.place:
            raise RefusedError(f"it makes more tensors than so few bytes can describe. {DAMAGED}")
        self.push(CALLS[function](*arguments[:MOST_ARGUMENTS]))

    def build(self) -> None:
        """BUILD."""
        state, target = self.pop(), self.top()
        if type(target) is not OrderedDict or type(state) is not dict or list(state) != ["_metadata"]:
            raise RefusedError(f"it changes a {_kind(target)} in a way that plain values never need. {SAVE_STATE}.")

    def storage(self) -> None:
        """BINPERSID."""
        found = self.pop()
        if type(found) is tuple and len(found) == 6 and found[5] is None:
            found = found[:5]
        if not (
            type(found) is tuple
            and [type(part) for part in found] == [str, Name, str, str, int]
            and found[0] == "storage"
            and found[1].name in STORAGES
        ):
            raise RefusedError(f"it refers to something that is no storage before byte {self.place}. {SAVE_STATE}.")
        kind, key, count = STORAGES[found[1].name], found[2], found[4]
        if not (key.isascii() and key.isdecimal() and len(key) <= 20 and 0 <= count < 2**60):
            raise RefusedError(f"a storage has the key {key[:40]!r} and {count} elements, which cannot be. {DAMAGED}")
        if key not in self.storages:
            self.storages[key] = Storage(kind, self.open_storage(kind, key, count))
        known = self.storages[key]
        if (known.kind, known.numbers.size) != (kind, count):
            raise RefusedError(f"storage {key} is said to be of two dtypes or sizes. {DAMAGED}")
        self.push(known)


def _put(machine: Machine, index: int) -> None:
    machine.memo[index] = machine.top()


_INSTRUCTIONS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": Machine.protocol,
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.number(4, signed=True)),
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"\x8a": lambda m: m.push(m.number(m.number(1), signed=True)),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"X": lambda m: m.push(m.text()),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"\x85": lambda m: m.push(m.pop_last(1)),
    b"\x86": lambda m: m.push(m.pop_last(2)),
    b"\x87": lambda m: m.push(m.pop_last(3)),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.append([m.pop()]),
    b"e": lambda m: m.append(m.pop_to_mark()),
    b"}": lambda m: m.push({}),
    b"s": lambda m: m.set_items(list(m.pop_last(2))),
    b"u": lambda m: m.set_items(m.pop_to_mark()),
    b"q": lambda m: _put(m, m.number(1)),
    b"r": lambda m: _put(m, m.number(4)),
    b"h": lambda m: m.get(m.number(1)),
    b"j": lambda m: m.get(m.number(4)),
    b"c": Machine.name,
    b"R": Machine.reduce,
    b"b": Machine.build,
    b"Q": Machine.storage,
}


def _check_tree(root: Any, most: int) -> None:
    queue, places = [(root, 0)], 0
    while queue:
        value, depth = queue.pop()
        if type(value) in _PLAIN or type(value) is np.ndarray:
            continue
        if type(value) not in _CONTAINERS:
            raise RefusedError(f"it holds a {_kind(value)} that is no part of a tensor. {SAVE_STATE}.")
        places += len(value)
        if depth == _MAX_DEPTH or places > most:
            raise RefusedError(f"its containers hold each other without end, or {_MAX_DEPTH} deep. {DAMAGED}")
        inner = value.values() if isinstance(value, dict) else value
        queue += [(item, depth + 1) for item in inner if type(item) not in _PLAIN]


def _kind(value: object) -> str:
    return {Storage: "storage", Name: "name"}.get(type(value), type(value).__name__)


def _title(code: bytes) -> str:
    from pickletools import opcodes

    names = {one.code: f"{one.name} (of protocol {one.proto})" for one in opcodes}
    return names.get(code.decode("latin-1"), code.hex())
