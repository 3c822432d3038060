"""Files of PyTorch and safetensors, read without PyTorch: what is accepted, and all that is refused."""

import json
import pickletools
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib

import numpy as np
import pytest

from anyfw.core.errors import FileFormatError, MissingFileError
from anyfw.interop import torch as bridge
from anyfw.interop.torch import names, pickles
from tests import torch_files as t
from tests.test_mutations import loads_safely
from tests.torch_files import Entry, archive, call, items, name, row, sequence, shape, storage, tensor, text, whole


def read(tmp_path, raw):
    (tmp_path / "f.pt").write_bytes(raw)
    return bridge.read(tmp_path / "f.pt")


# What is accepted


@pytest.mark.parametrize("raw", [archive(t.CHECKPOINT), sequence(t.old(t.CHECKPOINT))], ids=["zip", "before 1.6"])
def test_a_checkpoint_is_read(tmp_path, raw):
    found = read(tmp_path, raw)
    assert t.same(found, t.checkpoint_values())
    found["model"]["0.weight"][1, 2] = 7.0
    assert found["model"]["0.turned"][2, 1] == found["model"]["0.last"] == found["parameter"][1, 2] == 7.0, "shared"


KINDS = {
    "DoubleStorage": ("<f8", np.array([1.5, -0.0, np.inf])),
    "FloatStorage": ("<f4", np.array([1.5, -2.0, np.inf], np.float32)),
    "HalfStorage": ("<f2", np.array([1.5, -2.0, np.inf], np.float16)),
    "LongStorage": ("<i8", np.array([1, -(2**63), 2**63 - 1])),
    "IntStorage": ("<i4", np.array([1, -(2**31), 2**31 - 1], np.int32)),
    "ShortStorage": ("<i2", np.array([1, -(2**15), 2**15 - 1], np.int16)),
    "CharStorage": ("<i1", np.array([1, -128, 127], np.int8)),
    "ByteStorage": ("<u1", np.array([1, 0, 255], np.uint8)),
}


@pytest.mark.parametrize("kind", names.STORAGES)
def test_each_dtype(tmp_path, kind):
    if kind == "BFloat16Storage":  # the upper halves of float32: 1, -2, a NaN with its bits
        raw, expected = struct.pack("<3H", 0x3F80, 0xC000, 0x7FA5), np.array([0x3F800000, 0xC0000000, 0x7FA50000], "u4")
        expected = expected.view("f4")
    elif kind == "BoolStorage":
        raw, expected = bytes([0, 1, 2]), np.array([False, True, True])
    else:
        stored, expected = KINDS[kind]
        raw = expected.astype(stored).tobytes()
    value = tensor(storage(kind=kind, count=3), 0, (3,), (1,))
    assert t.same(read(tmp_path, archive(value, numbers=raw)), expected)
    value = tensor(storage(kind=kind, count=3, old=True), 0, (3,), (1,))
    assert t.same(read(tmp_path, sequence(value, count=3, numbers=raw)), expected)
    short = {"Double": "F64", "Float": "F32", "Half": "F16", "Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8"}
    short |= {"Byte": "U8", "Bool": "BOOL", "BFloat16": "BF16"}
    assert t.same(read(tmp_path, safetensors(short[kind.removesuffix("Storage")], [3], raw)), {"w": expected})


VIEWS = {
    "the whole": (0, (2, 3), (3, 1)),
    "transposed": (0, (3, 2), (1, 3)),
    "every second": (1, (3,), (2,)),
    "one number": (4, (), ()),
    "an axis of length 1 with any stride": (2, (1, 2), (10**9, 1)),
    "empty": (0, (0, 3), (3, 1)),
    "empty, at the end": (6, (3, 0), (1, 1)),
    "windows that overlap": (0, (3, 2), (2, 1)),
    "repeated, not more than there are": (0, (2, 3), (0, 1)),
}


@pytest.mark.parametrize("case", VIEWS)
def test_each_view(tmp_path, case):
    offset, sizes, strides = VIEWS[case]
    numbers = np.arange(6, dtype=np.float32)
    steps = [4 * stride for stride in strides]
    expected = (
        np.lib.stride_tricks.as_strided(numbers[offset:], sizes, steps) if 0 not in sizes else np.empty(sizes, "f4")
    )
    assert t.same(read(tmp_path, archive(tensor(None, offset, sizes, strides))), expected)


def safetensors(dtype, sizes, raw, *, end=None):
    return header(json.dumps({"w": place(dtype, sizes, 0, len(raw) if end is None else end)})) + raw


def header(json_text):
    raw = json_text.encode()
    return len(raw).to_bytes(8, "little") + raw


def place(dtype, sizes, start, end):
    return {"dtype": dtype, "shape": sizes, "data_offsets": [start, end]}


def two(first, second, raw=b"0000"):
    return header(json.dumps({"a": first, "b": second})) + raw


def of_w(**changes):
    return header(json.dumps({"w": {**place("F32", [1], 0, 4), **changes}})) + b"0000"


def test_safetensors_may_be_empty_and_of_no_axes(tmp_path):
    assert t.same(read(tmp_path, safetensors("F32", [], struct.pack("<f", 2.5))), {"w": np.float32(2.5)})
    assert t.same(read(tmp_path, safetensors("BF16", [0, 3], b"")), {"w": np.empty((0, 3), np.float32)})
    assert t.same(read(tmp_path, safetensors("U8", [2**60, 0], b"")), {"w": np.empty((2**60, 0), np.uint8)})


def test_safetensors_in_another_order_than_their_names(tmp_path):
    listed = {
        "__metadata__": {"format": "pt"},
        "b": place("U8", [1], 0, 1),
        "c": place("F32", [0], 1, 1),
        "a": place("I8", [2], 1, 3),
    }
    found = read(tmp_path, header(json.dumps(listed) + "   ") + bytes([7, 1, 255]))
    expected = {"a": np.array([1, -1], np.int8), "b": np.array([7], np.uint8), "c": np.empty(0, np.float32)}
    assert t.same(found, expected)


@pytest.mark.parametrize("dtype", ["BF16", "BOOL", "F32"])
def test_a_large_tensor_takes_its_own_memory_and_32_mib(dtype, tmp_path):
    count = 12_000_001  # several parts, and a rest
    stored = {"BF16": "<u2", "BOOL": "u1", "F32": "<f4"}[dtype]
    raw = (np.arange(count) % 251).astype(stored)
    (tmp_path / "f.safetensors").write_bytes(safetensors(dtype, [count], raw.tobytes()))
    bridge.read(tmp_path / "f.safetensors")  # imports what it needs
    tracemalloc.start()
    found = bridge.read(tmp_path / "f.safetensors")["w"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = {"BF16": raw.astype(np.uint32) << 16, "BOOL": raw != 0, "F32": raw}[dtype]
    assert np.array_equal(found.view(expected.dtype), expected)
    assert peak < found.nbytes + (33 << 20)


def test_what_torch_does_not_write_and_costs_nothing(tmp_path):
    kept = b"}r\xff\xff\xff\xff" + items(a=whole(1))
    assert read(tmp_path, archive(kept)) == {"a": 1}, "the last place of a memo of 4 billion"
    assert read(tmp_path, archive(b"}", Entry("archive/data/9", b"ab"))) == {}, "a storage that nothing uses"


def test_files_without_checksums_are_read(tmp_path):
    # As torch.serialization.set_crc32_options(False) makes them.
    assert t.same(read(tmp_path, archive(t.CHECKPOINT, checksum=0)), t.checkpoint_values())


def test_the_lists_in_the_docstring_are_those_of_the_machine():
    told = pickles.__doc__.partition("Instructions:")[2].partition("GLOBAL:")[0]
    codes = {one.name: one.code.encode("latin-1") for one in pickletools.opcodes}
    assert {codes[word] for word in re.findall(r"[A-Z][A-Z0-9_]+", told)} == {*pickles._INSTRUCTIONS, b"."}
    assert {str(one) for one in names.CALLS} == {
        "collections.OrderedDict",
        "collections.Counter",
        "torch.Size",
        "torch.device",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
    }


def test_torch_is_not_imported(tmp_path):
    (tmp_path / "f.pt").write_bytes(archive(t.CHECKPOINT))
    program = (
        "import sys; sys.modules['torch'] = None; from anyfw.interop import torch as bridge; "
        f"print(bridge.read({str(tmp_path / 'f.pt')!r})['epoch'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


# What is refused

SYSTEM = name("os", "system")
ECHO = row(text("echo boom"))


def opcode(what, *after):
    code = next(one.code for one in pickletools.opcodes if one.name == what).encode("latin-1")
    return code + b"".join(after)


def laughs(depth):
    # Each list holds the one before it ten times.
    lists = (b"](" + (b"h" + bytes([i])) * 10 + b"eq" + bytes([i + 1]) for i in range(depth))
    return b"(]q\0" + b"".join(lists) + b"t"


ENTRIES = [Entry("a/data.pkl", t.PROTO + tensor() + b"."), Entry("a/data/0", t.NUMBERS)]
BAD = "made of other than"
PICKLES = {
    # Code
    "GLOBAL os.system": (SYSTEM + ECHO + b"R", "names 'os.system', and only tensors"),
    "GLOBAL posix.system": (name("posix", "system") + ECHO + b"R", "names 'posix.system'"),
    "GLOBAL builtins.eval": (name("builtins", "eval") + ECHO + b"R", "names 'builtins.eval'"),
    "GLOBAL builtins.getattr": (name("builtins", "getattr"), "names 'builtins.getattr'"),
    "GLOBAL with dots": (name("torch", "serialization.os.system"), "names 'torch.serialization.os.system'"),
    "GLOBAL torch.load": (name("torch", "load"), "names 'torch.load'"),
    "GLOBAL of a pickle in a pickle": (name("torch.storage", "_load_from_bytes"), "'torch.storage._load_from_bytes'"),
    "GLOBAL of a module": (name("torch.nn.modules.linear", "Linear"), "a whole module.*which is code"),
    "GLOBAL of a class of the user's": (name("__main__", "Net"), "whole module.*model.state_dict"),
    "GLOBAL of NumPy": (name("numpy._core.multiarray", "_reconstruct"), "values of NumPy.*value.item"),
    "GLOBAL that is long": (b"c" + b"a" * 10**6 + b"\nb\n", "a name at byte 3 does not end"),
    "GLOBAL without an end": (b"cos", "does not end"),
    "GLOBAL that is not ASCII": (b"c\xf0\x9f\nx\n", r"names '\\xf0\\x9f\.x'"),
    "STACK_GLOBAL": (
        text("os") + text("system") + opcode("STACK_GLOBAL"),
        r"STACK_GLOBAL \(of protocol 4\) at byte 20",
    ),
    "INST": (b"(" + text("echo") + opcode("INST", b"os\nsystem\n"), r"INST \(of protocol 0\)"),
    "OBJ": (b"(" + t.HOOKS + opcode("OBJ"), r"OBJ \(of protocol 1\)"),
    "NEWOBJ": (name("collections", "OrderedDict") + b")" + opcode("NEWOBJ"), r"NEWOBJ \(of protocol 2\)"),
    "NEWOBJ_EX": (b")}" + opcode("NEWOBJ_EX"), "NEWOBJ_EX"),
    "EXT1": (opcode("EXT1", b"\x01"), r"EXT1 \(of protocol 2\)"),
    "EXT2": (opcode("EXT2", b"\x01\0"), "EXT2"),
    "EXT4": (opcode("EXT4", b"\x01\0\0\0"), "EXT4"),
    "PERSID": (opcode("PERSID", b"os.system\n"), "PERSID"),
    "NEXT_BUFFER": (opcode("NEXT_BUFFER"), "NEXT_BUFFER"),
    "REDUCE of a text": (text("os.system") + ECHO + b"R", "calls what cannot be called"),
    "REDUCE of a storage": (name("torch", "FloatStorage") + b")R", "calls what cannot be called"),
    "REDUCE of a tensor": (tensor() + b")R", "calls what cannot be called"),
    "REDUCE with a list": (name("collections", "OrderedDict") + b"]R", "calls what cannot be called"),
    "REDUCE of OrderedDict with items": (call(name("collections", "OrderedDict"), b"]"), "made of something"),
    "BUILD of a dict": (b"}}" + items(a=b"N") + b"b", "changes a dict"),
    "BUILD of a list": (b"]}b", "changes a list"),
    "BUILD of a tensor": (tensor() + b"}b", "changes a ndarray"),
    "BUILD of a name": (name("torch", "FloatStorage") + b"}b", "changes a name"),
    "BUILD of methods": (t.HOOKS + b"}" + items(items=text("boom")) + b"b", "changes a OrderedDict"),
    "BUILD of slots": (t.HOOKS + row(b"N", b"}") + b"b", "changes a OrderedDict"),
    "hooks": (tensor(hooks=t.HOOKS + items(a=b"N")), "backward hooks, which are code"),
    "hooks that are none": (tensor(hooks=b"N"), "backward hooks"),
    # Other kinds of numbers
    "complex numbers": (storage(kind="ComplexFloatStorage"), "complex numbers.*view_as_real"),
    "quantised numbers": (storage(kind="QInt8Storage"), "quantised numbers.*dequantize"),
    "a quantised tensor": (name("torch._utils", "_rebuild_qtensor"), "quantised"),
    "uint16": (name("torch._utils", "_rebuild_tensor_v3"), "uint16 or float8"),
    "a sparse tensor": (name("torch._utils", "_rebuild_sparse_tensor"), "names 'torch._utils._rebuild_sparse_tensor'"),
    "lazy negation": (tensor(more=(b"}" + items(neg=b"\x88"),)), "negated lazily"),
    # References to storages
    "a reference to a module": (row(text("module"), b"N", b"N", b"N") + b"Q", "refers to something that is no storage"),
    "a reference by a text": (text("0") + b"Q", "no storage"),
    "a reference to another type": (
        row(text("storage"), name("collections", "OrderedDict"), text("0"), text("cpu"), whole(6)) + b"Q",
        "no storage",
    ),
    "a reference to a view": (
        row(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), whole(6), shape(1)) + b"Q",
        "no storage",
    ),
    "a key that climbs": (tensor(storage("../../etc/passwd")), "has the key '../../etc/passwd'"),
    "a key of other digits": (tensor(storage("٠")), "has the key"),
    "a key that is not there": (tensor(storage("1")), "storage 1: expected 24 bytes, got none"),
    "a negative number of elements": (tensor(storage(count=-6)), "-6 elements, which cannot be"),
    "elements without end": (tensor(storage(count=2**100)), "which cannot be"),
    "more elements than there are": (tensor(storage(count=7)), "storage 0: expected 28 bytes, got 24 bytes"),
    "a terabyte of elements": (tensor(storage(count=2**38)), "expected 1099511627776 bytes, got 24"),
    "fewer elements than there are": (tensor(storage(count=5)), "expected 20 bytes, got 24"),
    "one storage of two kinds": (row(tensor(), tensor(storage(kind="IntStorage"))), "two dtypes or sizes"),
    "a storage alone": (storage(), "it holds a storage that is no part of a tensor"),
    "a name alone": (name("torch", "FloatStorage"), "it holds a name"),
    # Views
    "an offset beyond the end": (tensor(None, 6, (1,), (1,)), "element 6 of a storage that has 6"),
    "a size beyond the end": (tensor(None, 0, (3, 3), (3, 1)), "element 8 of a storage that has 6"),
    "a stride beyond the end": (tensor(None, 0, (2, 3), (4, 1)), "element 6 of"),
    "an offset past all integers": (tensor(None, 2**63, (1,), (1,)), "whole numbers from 0"),
    "an offset that wraps around": (tensor(None, 2**62 - 1, (2,), (2**61,)), "of a storage that has 6"),
    "a negative offset": (tensor(None, -1, (1,), (1,)), "offset of a tensor is made of other than whole"),
    "a negative stride": (tensor(None, 5, (6,), (-1,)), "strides of a tensor"),
    "a negative size": (tensor(None, 0, (-1, -6), (1, 1)), "shape of a tensor"),
    "sizes whose product wraps around": (tensor(None, 0, (2**32, 2**32, 6), (0, 0, 1)), "repeats the 6 numbers"),
    "a number repeated without end": (tensor(None, 0, (10**12,), (0,)), "repeats the 6.*tensor.clone"),
    "windows that overlap hugely": (tensor(None, 0, (3, 4), (1, 1)), "repeats the 6"),
    "empty of an exabyte": (tensor(None, 0, (0, 2**40, 2**40), (0, 0, 0)), "an empty tensor is larger"),
    "more strides than axes": (tensor(None, 0, (6,), (1, 1)), "1 axes and 2 strides"),
    "33 axes": (tensor(None, 0, (1,) * 33, (1,) * 33), "33 axes"),
    "True as a size": (
        call(name("torch._utils", "_rebuild_tensor_v2"), storage(), whole(0), row(b"\x88"), shape(1), b"\x89", t.HOOKS),
        "shape of a tensor",
    ),
    "a list as a shape": (
        call(name("torch._utils", "_rebuild_tensor_v2"), storage(), whole(0), b"]", b")", b"\x89", t.HOOKS),
        "shape of a tensor",
    ),
    "a tensor of a tensor": (tensor(tensor()), f"a tensor is {BAD}"),
    "a tensor of nothing": (call(name("torch._utils", "_rebuild_tensor_v2")), f"a tensor is {BAD}"),
    "a tensor of too much": (tensor(more=(b"}", b"N", b"N")), f"a tensor is {BAD}"),
    "requires_grad that is a text": (tensor(grad=text("yes")), f"a tensor is {BAD}"),
    "a parameter of a text": (
        call(name("torch._utils", "_rebuild_parameter"), text("w"), b"\x88", t.HOOKS),
        f"a parameter is {BAD}",
    ),
    "a size of numbers": (call(name("torch", "Size"), whole(1), whole(2)), f"a torch.Size is {BAD}"),
    "a device of a list": (call(name("torch", "device"), b"]"), f"a torch.device is {BAD}"),
    "a counter of a list": (call(name("collections", "Counter"), b"]"), f"a Counter is {BAD}"),
    # Bombs
    "a number of 2 GB": (opcode("LONG4", b"\xff\xff\xff\x7f"), r"LONG4 \(of protocol 2\)"),
    "a text of 4 GB": (b"X\xff\xff\xff\xff" + b"a", "texts of more than 16777216 bytes"),
    "a text that is cut short": (b"X\xff\xff\0\0" + b"a", "truncated: expected 65535 bytes"),
    "17 texts of a megabyte": (b"](" + text("a" * 2**20) * 17 + b"e", "texts of more than 16777216 bytes"),
    "a text of 2^60 bytes": (opcode("BINUNICODE8", b"\0\0\0\0\0\0\0\x10"), "BINUNICODE8"),
    "bytes of 2^60 bytes": (opcode("BYTEARRAY8", b"\0\0\0\0\0\0\0\x10"), "BYTEARRAY8"),
    "a frame of 2^60 bytes": (opcode("FRAME", b"\0\0\0\0\0\0\0\x10"), "FRAME"),
    "lists that hold ten times the one before": (laughs(30), "hold each other without end"),
    "a list that holds itself": (b"]q\0h\0a", "hold each other without end"),
    "a dict that holds itself": (b"}q\0" + text("a") + b"h\0s", "hold each other without end"),
    "a tuple in its own list": (b"]q\0h\0\x85q\x01a", "hold each other without end"),
    "100,000 lists in each other": (b"]" * 100_000 + b"a" * 99_999, "100 deep"),
    "100,000 tuples in each other": (b")" + b"\x85" * 100_000, "100 deep"),
    "100,000 dicts in each other": ((b"}" + text("a")) * 100_000 + b"N" + b"s" * 100_000, "100 deep"),
    "two million instructions": (b"]" + b"Na" * 1_000_000, "more than 1000000 instructions"),
    "a tensor made again and again": (
        name("torch._utils", "_rebuild_tensor_v2")
        + b"q\0"
        + row(storage(), *map(whole, (0, 1, 1)))
        + b"q\1"
        + b"]("
        + (name("collections", "Counter") + b"q\2}\x85q\3" + b"h\2h\3R" * 10_000)
        + b"e",
        "more tensors than so few bytes",
    ),
    "keys that collide": (b"}" + whole(2**61 - 1) + b"Ns" + whole(2**62 - 2 + 2**63) + b"Ns", "a key is a int"),
    "a key that is slow to compare": (b"}" + text("a" * 20_000) + b"Ns", "at most 10000 characters"),
    "a key that hashes without end": (b"}))\x86q\0h\0\x86Ns", "a key is a tuple"),
    "a key that is a number": (b"}G?\xe0\0\0\0\0\0\0Ns", "a key is a float"),
    # Instructions without their values
    "nothing": (b"", "lacks its values"),
    "two values": (b"NN", "ends with values left over"),
    "a mark left over": (b"N(", "lacks its values"),
    "TUPLE without its mark": (b"Nt", "lacks its mark"),
    "TUPLE1 beyond a mark": (b"N(\x85", "lacks its values"),
    "BINPUT of nothing": (b"q\0", "lacks its values"),
    "BINGET of nothing": (b"h\x07", "asks for value 7, which it never kept"),
    "APPEND to a dict": (b"}Na", "appends to a dict"),
    "APPENDS to a tensor": (tensor() + b"(Ne", "appends to a ndarray"),
    "SETITEM of a list": (b"]" + whole(0) + b"Ns", "sets items of a list"),
    "SETITEMS of an odd number": (b"}(" + text("a") + b"u", "sets items of a dict"),
    "a text that is none": (b"X\x01\0\0\0\xff", "is not UTF-8"),
    "no instruction": (b"\xff", "instruction ff at byte 2"),
    "protocol 4": (b"\x80\x04N", "expected a pickle of protocol 2.*got 4. Save without pickle_protocol"),
    "more after its end": (b"N.N", "goes on after its end"),
}


def packed(entry, size):
    return Entry(entry, zlib.compress(bytes(size))[2:-4], 8, size=size)


def directory(count, *, long):
    """An archive of one entry that is listed again and again."""
    head, listed = b"PK\3\4" + bytes(26), (b"PK\1\2" + bytes(24) + b"\1" + bytes(17) + b"a") * count
    where = struct.pack("<QQ", len(listed), len(head))
    if not long:
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, len(listed), len(head), 0)
    else:
        end = struct.pack("<4sQ2H2L2Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count) + where
        end += struct.pack("<4sLQL", b"PK\6\7", 0, len(head + listed), 1)
        end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return head + listed + end


FILES = {
    # Zip archives
    "an entry that is compressed": (t.zipped(ENTRIES[0], packed("a/x", 2**20)), "'a/x' is compressed"),
    "a bomb": (
        lambda: t.zipped(ENTRIES[0], packed("a/data/0", 2**28)),
        "compressed, as torch.save never does",
    ),
    "an entry that says it is larger": (t.zipped(ENTRIES[0], Entry("a/data/0", t.NUMBERS, size=2**31)), "compressed"),
    "an entry that is encrypted": (t.zipped(ENTRIES[0], Entry("a/data/0", t.NUMBERS, flags=1)), "encrypted"),
    "two entries of one name": (t.zipped(*ENTRIES, ENTRIES[1]), "two entries of the name 'a/data/0'"),
    "a long list of entries": (lambda: directory(100_000, long=False), "its list of entries has more than 4194304"),
    "a long list of entries, zip64": (lambda: directory(100_000, long=True), "its list of entries has more than 41943"),
    "one entry, zip64": (lambda: directory(1, long=True), "'a' has a name"),
    "a list of entries beyond the file": (
        t.zipped(*ENTRIES)[:-10] + struct.pack("<IIH", 2**31, 0, 0), "truncated or corrupt|list of entries",
    ),
    "two names for one place": (t.zipped(*ENTRIES, Entry("a/data/0", t.NUMBERS, offset=0)), "'a/data/0'"),
    "an entry over another": (
        t.zipped(ENTRIES[0], Entry("a/data/0", t.NUMBERS, size=40, stored=40), Entry("a/data/1", t.NUMBERS)),
        "overlaps another one",
    ),
    "an entry beyond the end": (
        t.zipped(ENTRIES[0], Entry("a/data/0", t.NUMBERS, size=2**30, stored=2**30)), "ends beyond the file",
    ),
    "an entry elsewhere": (t.zipped(ENTRIES[0], Entry("a/data/0", t.NUMBERS, offset=7)), "beyond the file|not where"),
    "an entry at the end of all": (
        t.zipped(ENTRIES[0], Entry("a/data/0", t.NUMBERS, offset=2**32 - 2)), "beyond the file",
    ),
    "an entry of two names": (
        t.zipped(ENTRIES[0], Entry("a/data/0", t.NUMBERS, inner_name="a/data/7")), "not where it is said to be",
    ),
    "a symbolic link": (
        t.zipped(*ENTRIES, Entry("a/link", b"/etc/passwd", mode=0o120777)), "'a/link' is a symbolic link",
    ),
    "a name that climbs": (t.zipped(*ENTRIES, Entry("a/../../evil", b"")), "'a/../../evil' has a name"),
    "a name from the root": (t.zipped(*ENTRIES, Entry("/etc/passwd", b"")), "'/etc/passwd' has a name"),
    "a name of Windows": (t.zipped(*ENTRIES, Entry("a\\..\\evil", b"")), "has a name that torch.save never writes"),
    "a name with a null character": (t.zipped(*ENTRIES, Entry("a/data/1\0.txt", b"")), "has a name"),
    "a name that is not UTF-8": (
        t.zipped(*ENTRIES, Entry("a/data/12", b"")).replace(b"data/12", b"data/\xff2"), "not where|corrupt",
    ),
    "two folders": (t.zipped(ENTRIES[0], Entry("b/data/0", t.NUMBERS)), "of one folder"),
    "no data.pkl": (t.zipped(Entry("a/x.npy", b"")), "without FOLDER/data.pkl.*npz"),
    "data.pkl of 65 MiB": (lambda: t.zipped(Entry("a/data.pkl", b"N" * (65 << 20))), "bytes at most has 68157440"),
    "TorchScript": (t.zipped(*ENTRIES, Entry("a/constants.pkl", b"")), "TorchScript archive, which is a program"),
    "the other byte order": (archive(tensor(), order=b"big"), "byte order is b'big'"),
    "a byte order of a megabyte": (archive(tensor(), order=b"little" * 200_000), "10 bytes at most has 1200000"),
    "another checksum": (
        t.zipped(ENTRIES[0], Entry("a/data/0", t.NUMBERS, checksum=1)), "checksum of data/0 does not match",
    ),
    "a flipped bit": (archive(tensor()).replace(t.NUMBERS, b"\x01" + t.NUMBERS[1:]), "checksum of data/0"),
    "an archive that is cut short": (archive(tensor())[:-30], "truncated or corrupt"),
    # Files from before PyTorch 1.6
    "a plain pickle": (t.PROTO + t.HOOKS + b".", "a pickle, but not one of torch.save"),
    "a pickle that runs code": (t.PROTO + SYSTEM + ECHO + b"R.", "names 'os.system'"),
    "another version": (sequence(tensor(), version=whole(1002)), "expected version 1001, little-endian"),
    "a big-endian machine": (
        sequence(tensor(), sizes=b"}" + items(little_endian=b"\x89")), "expected version 1001, little-endian",
    ),
    "code in the middle": (sequence(SYSTEM + ECHO + b"R"), "names 'os.system'"),
    "storages without end": (
        sequence(tensor(storage(count=2**55, old=True))), "truncated: storage 0 of 36028797018963968 elements",
    ),
    "a storage of another size": (sequence(t.old(tensor()), count=5), "storage 0: expected 6 elements, got 5"),
    "a storage that is cut short": (sequence(t.old(tensor()))[:-1], "expected 24 bytes of numbers, got 23"),
    "storages that are not listed": (sequence(t.old(tensor()), keys=()), "does not name those"),
    "storages that are not used": (sequence(t.old(tensor()), keys=("0", "1")), "does not name those"),
    "a storage listed twice": (sequence(t.old(tensor()), keys=("0", "0")), "list of storages is none"),
    "a view of a storage": (
        sequence(tensor(row(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), whole(6), shape(1))
                        + b"Q")), "no storage",
    ),
    # safetensors
    "numbers of 8 bits": (safetensors("F8_E4M3", [2], b"ab"), "expected numbers of one of F64.*got F8_E4M3"),
    "an unknown dtype": (safetensors("F7", [2], b"ab"), "got F7"),
    "offsets beyond the file": (safetensors("F32", [1000], b"0000", end=4000), "truncated: expected 4075"),
    "a shape of a petabyte": (safetensors("F32", [2**30, 2**20], b"0000"), "corrupt"),
    "a shape that wraps around": (safetensors("F32", [2**63, 2], b""), "corrupt"),
    "a header that is none": (header("{nothing}"), "corrupt: its header cannot be read"),
    "a header that is not UTF-8": ((4).to_bytes(8, "little") + b'{"\xff"', "corrupt: its header cannot be read"),
    "a header 100,000 deep": (header('{"w":' * 100_000), "corrupt: its header cannot be read"),
    "a header of a number of 5000 digits": (header('{"w":' + "9" * 5000 + "}"), "corrupt: its header"),
    "100,000 empty tensors": (
        lambda: header(json.dumps({str(i): place("U8", [0], 0, 0) for i in range(100_000)})),
        "its header has [0-9]+ bytes, and 4194304 are read",
    ),
    "a tensor named twice": (header('{"w":{},"w":{}}'), "one name twice"),
    "a tensor that is a list": (header('{"w":[]}'), "no dtype, shape and place of 'w'"),
    "a tensor without its place": (header('{"w":{"dtype":"U8","shape":[0]}}'), "no dtype, shape and place"),
    "a dtype that is a number": (of_w(dtype=4), "no dtype, shape and place"),
    "True as a length": (of_w(shape=[True]), "no dtype, shape and place"),
    "a length that is no whole number": (of_w(shape=[1.0]), "no dtype, shape and place"),
    "lengths below 0": (of_w(shape=[-1, -1]), "no dtype, shape and place"),
    "33 axes of safetensors": (of_w(shape=[1] * 33), "no dtype, shape and place"),
    "three offsets": (of_w(data_offsets=[0, 4, 4]), "no dtype, shape and place"),
    "offsets the other way round": (of_w(data_offsets=[4, 0]), "bytes 4 to 0"),
    "tensors that overlap": (two(place("U8", [3], 0, 3), place("U8", [2], 2, 4)), "'b' is uint8.*ends at 3"),
    "tensors of one place": (two(place("U8", [4], 0, 4), place("U8", [4], 0, 4)), "'b' is uint8.*ends at 4"),
    "a gap between tensors": (two(place("U8", [1], 0, 1), place("U8", [2], 2, 4)), "'b' is uint8.*ends at 1"),
    "a gap at the start": (of_w(shape=[], dtype="U8", data_offsets=[3, 4]), "bytes 3 to 4, after one that ends at 0"),
    "bytes after the last": (safetensors("U8", [2], b"000", end=2), "corrupt: expected .* bytes, got"),
    "a last tensor that is cut short": (safetensors("U8", [4], b"000", end=4), "truncated: expected .* bytes, got"),
    "empty of an exabyte in safetensors": (safetensors("F32", [0, 2**40, 2**40], b""), "corrupt: 'w' has the shape"),
    # Neither
    "nothing at all": (b"", "begins with b''. Was it cut short?"),
    "a text": (b"version https://git-lfs.github.com", "begins with b'version https://"),
    "a header of a terabyte": ((2**40).to_bytes(8, "little") + b"{", "expected a file of torch.save or safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*PICKLES, *FILES])
def test_what_is_refused(case, tmp_path):
    raw, message = FILES[case] if case in FILES else (archive(PICKLES[case][0]), PICKLES[case][1])
    path = tmp_path / "f.pt"
    path.write_bytes(raw() if callable(raw) else raw)
    caught = []

    def read_and_tell(path):
        try:
            bridge.read(path)
        except FileFormatError as error:
            caught.append(error)
            raise

    started = time.process_time()
    assert not loads_safely(read_and_tell, path)
    assert time.process_time() - started < 20.0
    (error,) = caught
    assert re.search(rf"^{re.escape(str(path))}: .*(?:{message})", str(error)), error
    assert len(str(error)) < len(str(path)) + 400
    assert type(error) is FileFormatError


@pytest.mark.parametrize("code", [one for one in pickletools.opcodes if one.code.encode("latin-1") not in
                                  {*pickles._INSTRUCTIONS, b"."}], ids=lambda one: one.name)  # fmt: skip
def test_every_other_instruction_is_refused(code, tmp_path):
    with pytest.raises(FileFormatError, match=rf"its instruction {code.name} \(of protocol {code.proto}\) at byte 2"):
        read(tmp_path, archive(code.code.encode("latin-1") + bytes(16)))


def test_every_prefix_of_a_file_is_refused(tmp_path):
    for whole_file in (archive(tensor()), sequence(t.old(tensor())), safetensors("F32", [6], t.NUMBERS)):
        for end in range(len(whole_file)):
            with pytest.raises(FileFormatError):
                read(tmp_path, whole_file[:end])


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(MissingFileError, match="there is no such file"):
        bridge.read(tmp_path / "none.pt")
    with pytest.raises(FileFormatError, match="expected a file, got a folder"):
        bridge.read(tmp_path)
