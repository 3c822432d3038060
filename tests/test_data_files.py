"""Data in files: idx, npz and digits; truncated, corrupt and hostile ones too."""

import gzip
import hashlib
import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from anyfw.core.errors import AnyfwError, DataError, FileFormatError, MissingFileError
from anyfw.data import load, read_idx
from anyfw.data.expansion import ALWAYS_ALLOWED
from anyfw.data.idx import FILE_NAMES
from anyfw.data.npz import read_npy

IMAGES = (np.arange(4 * 6, dtype=np.uint8) * 10).reshape(4, 2, 3)
LABELS = np.array([1, 0, 2, 1], dtype=np.uint8)
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    code = CODES[array.dtype.str[1:]]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "drawings"
    folder.mkdir()
    for name in FILE_NAMES:
        write(folder / name, idx_bytes(IMAGES if "images" in name else LABELS))
    return folder


# --- idx


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize("dtype", CODES)
def test_idx_is_read_in_every_type(tmp_path, dtype, pack):
    expected = (np.arange(12).reshape(3, 4) - (0 if dtype == "u1" else 6)).astype(dtype)
    array = read_idx(write(tmp_path / "file", pack(idx_bytes(expected))))
    assert array.dtype == np.dtype(dtype)
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, expected)


WHOLE = idx_bytes(IMAGES)
BAD_IDX = {
    "empty": (b"", "the bytes of an empty file"),
    "another format": (b"\x89PNG\r\n", "expected an idx file .* got the bytes 89 50 4e 47"),
    "unknown type": (b"\0\0\x07\x01" + WHOLE[4:], "got the bytes 00 00 07 01"),
    "no axes": (b"\0\0\x08\x00", "1 to 8 axes"),
    "too many axes": (b"\0\0\x08\xff" + WHOLE[4:], "1 to 8 axes"),
    "cut in the header": (WHOLE[:9], "truncated within its header"),
    "cut in the values": (WHOLE[:-1], r"truncated: expected 40 bytes for shape \(4, 2, 3\), got 39"),
    "too long": (WHOLE + b"\0", "longer than its header says"),
    "no rows": (struct.pack(">4B3I", 0, 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "at least one value"),
    "absurd size": (struct.pack(">4B8I", 0, 0, 8, 8, *[2**32 - 1] * 8) + b"\0" * 99, "truncated"),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_bad_idx_files_are_refused(tmp_path, case):
    content, message = BAD_IDX[case]
    with pytest.raises(FileFormatError, match=message):
        read_idx(write(tmp_path / "file", content))


BAD_GZIP = {
    "cut": (gzip.compress(WHOLE)[:-12], "truncated or corrupt"),
    "cut in the checksum": (gzip.compress(WHOLE)[:-3], "truncated or corrupt"),
    "only its magic": (b"\x1f\x8b", "truncated or corrupt"),
    "content cut": (gzip.compress(WHOLE[:-1]), "truncated: expected 24 bytes of values, got 23"),
    "content too long": (gzip.compress(WHOLE + b"\0"), "longer than its header says"),
    "bomb": (gzip.compress(WHOLE + bytes(2**24)), "longer than its header says"),
    "absurd size": (gzip.compress(struct.pack(">4B2I", 0, 0, 8, 2, 2**32 - 1, 2**32 - 1)), "announces"),
    "announced bomb": (
        gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, ALWAYS_ALLOWED) + bytes(ALWAYS_ALLOWED), 1),
        "expected content of at most 100 times",
    ),
}


@pytest.mark.parametrize("case", BAD_GZIP)
def test_bad_gzipped_idx_files_are_refused_without_taking_memory(tmp_path, case):
    content, message = BAD_GZIP[case]
    path = write(tmp_path / "file.gz", content)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=message):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_a_flipped_bit_in_an_idx_file_is_an_error_or_a_value_never_a_crash(tmp_path, pack):
    content = pack(WHOLE)
    unharmed = 0
    for position in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        path = write(tmp_path / "file", bytes(flipped))
        try:
            array = read_idx(path)
        except FileFormatError:
            continue
        unharmed += np.array_equal(array, IMAGES)
        assert pack is bytes or np.array_equal(array, IMAGES), position
    assert unharmed < 100


def test_a_missing_or_unreadable_idx_file(tmp_path):
    with pytest.raises(MissingFileError, match="none: cannot be read"):
        read_idx(tmp_path / "none")
    with pytest.raises(MissingFileError, match="cannot be read"):
        read_idx(tmp_path)


def test_a_folder_of_idx_files_loads(folder):
    for name in FILE_NAMES[:2]:
        write(folder / f"{name}.gz", gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    data = load(folder)
    assert (data.name, data.image_shape, data.class_names) == ("drawings", (2, 3), ("0", "1", "2"))
    assert data.train[0].tolist() == IMAGES.reshape(4, 6).tolist()
    assert data.test[1].tolist() == LABELS.tolist()
    assert data.scale == 1 / 255
    assert load(str(folder) + os.sep).name == "drawings"


def test_a_folder_that_lacks_files_says_which(folder):
    (folder / FILE_NAMES[3]).unlink()
    with pytest.raises(MissingFileError, match="missing t10k-labels-idx1-ubyte"):
        load(folder)


def test_images_without_their_labels_are_refused(folder):
    write(folder / FILE_NAMES[1], idx_bytes(LABELS[:3]))
    with pytest.raises(FileFormatError, match=r"one label for each image, got 4 rows in train-images.* and 3"):
        load(folder)


# --- npz


TABLE = {"x": np.arange(40.0).reshape(20, 2), "y": np.arange(20) % 2}
PARTS = {"x_train": TABLE["x"], "y_train": TABLE["y"], "x_test": TABLE["x"][:4], "y_test": TABLE["y"][:4]}


def npz_bytes(arrays, save=np.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def zip_bytes(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy_bytes(header, values=b"", version=(1, 0)):
    header = header.encode() + b"\n"
    return (
        b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(header)) + header + values
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_test_rows_is_taken_as_it_is(tmp_path, save):
    data = load(write(tmp_path / "mine.npz", npz_bytes({**PARTS, "comment": np.array("x")}, save)))
    assert (data.name, len(data.train[0]), len(data.test[0]), data.notes) == ("mine", 20, 4, ())
    np.testing.assert_array_equal(data.train[0], TABLE["x"])


def test_npz_without_test_rows_has_a_fifth_held_out_and_says_so(tmp_path):
    data = load(str(write(tmp_path / "mine.npz", npz_bytes(TABLE))))
    assert (len(data.train[0]), len(data.test[0])) == (16, 4)
    assert data.notes == ("'mine' has no test rows: 4 of its 20 rows (20 %) held out for testing.",)


def test_npz_of_images_in_fortran_order(tmp_path):
    images = np.asfortranarray(np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2))
    data = load(write(tmp_path / "mine.npz", npz_bytes({"x": images, "y": TABLE["y"]})))
    rows = np.concatenate([data.train[0], data.test[0]])
    assert sorted(rows.tolist()) == images.reshape(20, 4).tolist()


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 100), }"
NEGATIVE = "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1), }"
BAD_NPZ = {
    "not a zip": (b"x,y\n1,2\n", FileFormatError, "not an .npz file"),
    "empty": (b"", FileFormatError, "not an .npz file"),
    "an .npy": (npy_bytes(HUGE), FileFormatError, "not an .npz file"),
    "truncated": (npz_bytes(TABLE)[:-30], FileFormatError, "not an .npz file"),
    "no keys": (zip_bytes({}), FileFormatError, "got none"),
    "wrong keys": (npz_bytes({"a": LABELS}), FileFormatError, "x_train y_train x_test y_test or x y, got a"),
    "half the keys": (npz_bytes({"x_train": IMAGES, "y_train": LABELS}), FileFormatError, "got x_train y_train"),
    "objects": (
        npz_bytes({**TABLE, "y": np.array(["a", 1] * 10, dtype=object)}),
        DataError,
        "'y' is an object array, which would run code",
    ),
    "text": (npz_bytes({**TABLE, "y": np.array(["a", "b"] * 10)}), DataError, "expected numbers"),
    "member is no array": (zip_bytes({"x": b"hello", "y": b"hello"}), FileFormatError, "'x' is not a NumPy array"),
    "member is empty": (zip_bytes({"x": b"", "y": b""}), FileFormatError, "'x' is not a NumPy array"),
    "absurd shape": (zip_bytes({"x": npy_bytes(HUGE), "y": b""}), FileFormatError, "'x' announces 8000000000"),
    "negative shape": (zip_bytes({"x": npy_bytes(NEGATIVE, bytes(8)), "y": b""}), FileFormatError, "'x'"),
    "structured": (
        npz_bytes({**TABLE, "x": np.zeros(20, dtype="f8,i4")}),
        FileFormatError,
        "'x' is not a plain NumPy array",
    ),
    "leading zeros": (
        zip_bytes({"x": npy_bytes(HUGE.replace("1000000000000, 100", "0007,"), bytes(56)), "y": b""}),
        FileFormatError,
        "'x' is not a NumPy array",
    ),
    "unknown dtype": (zip_bytes({"x": npy_bytes(HUGE.replace("f8", "f3")), "y": b""}), FileFormatError, "'x'"),
    "unknown version": (zip_bytes({"x": npy_bytes(HUGE, version=(9, 0)), "y": b""}), FileFormatError, "plain"),
    "hostile header": (zip_bytes({"x": npy_bytes("(" * 9000), "y": b""}), FileFormatError, "'x'"),
    "unfinished header": (zip_bytes({"x": npy_bytes("{'descr': '''"), "y": b""}), FileFormatError, "'x'"),
    "code in the header": (zip_bytes({"x": npy_bytes("__import__('os')"), "y": b""}), FileFormatError, "'x'"),
    "bomb": (
        zip_bytes({"x": bytes(ALWAYS_ALLOWED), "y": b"0"}, zipfile.ZIP_DEFLATED),
        FileFormatError,
        "expected content of at most 100 times",
    ),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz_files_are_refused_without_taking_memory(tmp_path, case):
    content, error, message = BAD_NPZ[case]
    path = write(tmp_path / "bad.npz", content)
    tracemalloc.start()
    try:
        with pytest.raises(error, match=message):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_in_an_npz_file_is_an_error_or_harmless(tmp_path, save):
    content = npz_bytes(TABLE, save)
    refused = 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path = write(tmp_path / "bad.npz", bytes(flipped))
        try:
            data = load(path)
        except AnyfwError:
            refused += 1
        else:
            rows = np.concatenate([data.train[0], data.test[0]])
            assert sorted(rows.tolist()) == TABLE["x"].tolist(), place
    assert refused > len(content) / 4


def test_every_truncation_of_an_npz_file_is_refused(tmp_path):
    content = npz_bytes(TABLE, np.savez_compressed)
    for length in range(len(content)):
        with pytest.raises(FileFormatError):
            load(write(tmp_path / "bad.npz", content[:length]))


def test_npy_is_read_as_it_was_written(tmp_path):
    for array in (TABLE["x"], np.asfortranarray(IMAGES), np.array(3.5)):
        np.save(tmp_path / "mine.npy", array)
        found = read_npy(tmp_path / "mine.npy")
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", FileFormatError, "not a NumPy array"),
        (b"x,y\n1,2\n", FileFormatError, "not a NumPy array"),
        (npy_bytes(HUGE, bytes(64)), FileFormatError, "announces 8000000000.* truncated or corrupt"),
        (npy_bytes(NEGATIVE, bytes(8)), FileFormatError, "not a plain NumPy array"),
        (npy_bytes("(" * 9000), FileFormatError, "not a plain NumPy array"),
        (npy_bytes(HUGE.replace("(1000", f"({'-' * 4000}1000")), FileFormatError, "not a plain NumPy array"),
        (npy_bytes(HUGE.replace("<f8", "|O")), DataError, "object array, which would run code"),
    ],
    ids=["empty", "text", "absurd shape", "negative shape", "nested header", "hostile header", "objects"],
)
def test_bad_npy_files_are_refused(tmp_path, content, error, message):
    with pytest.raises(error, match=f"bad.npy: the file .*{message}"):
        read_npy(write(tmp_path / "bad.npy", content))


# --- names and paths


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("missing.npz", MissingFileError, "missing.npz: cannot be read"),
        ("missing/folder", MissingFileError, "no such file or folder"),
        ("table.csv", MissingFileError, "no such file or folder"),
        ("", ValueError, "Unknown data set"),
        (3, DataError, "expected a name or a path, got int"),
    ],
)
def test_what_is_not_there(name, error, message):
    with pytest.raises(error, match=message) as caught:
        load(name)
    assert isinstance(caught.value, AnyfwError)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"expected an .npz file or a folder of idx files"):
        load(write(tmp_path / "table.txt", b"1,2\n"))


# --- digits


def test_digits_come_with_the_package():
    data = load("digits")
    assert (data.train[0].shape, data.test[0].shape, data.image_shape) == ((1437, 64), (360, 64), (8, 8))
    assert (data.train[0].dtype, data.train[0].max(), data.scale, data.shift) == (np.uint8, 16, 1 / 16, 0.0)
    assert data.class_names == tuple("0123456789")
    shares = np.bincount(data.test[1]) / np.bincount(np.concatenate([data.train[1], data.test[1]]))
    np.testing.assert_allclose(shares, 0.2, atol=1 / 174)


def test_digits_are_the_same_rows_for_ever():
    data = load("digits")
    digest = hashlib.sha256(b"".join(part.tobytes() for part in (*data.train, *data.test))).hexdigest()
    assert digest == "00988f7e2f6256d11299a02c4c1656332458d866582762438faa14d8d449cc4f"
