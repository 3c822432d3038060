"""OPENBLAS_CORETYPE is set where the processor needs it, before NumPy loads, and nowhere else."""

import os
import subprocess
import sys

import pytest

from anyfw.core import blas_choice
from anyfw.core.errors import ConfigError

FULL = "fpu avx2 " + " ".join(sorted(blas_choice.FLAGS))

# id, vendor, flags, environment, what OPENBLAS_CORETYPE is then
CASES = [
    ("AMD with AVX-512", "AuthenticAMD", FULL, {}, "SKYLAKEX"),
    ("said twice", "AuthenticAMD", FULL, {"ANYFW_BLAS": "auto"}, "SKYLAKEX"),
    ("without the flags", "AuthenticAMD", "fpu avx2", {}, None),
    ("one flag short", "AuthenticAMD", FULL.replace("avx512vl", ""), {}, None),
    ("Intel", "GenuineIntel", FULL, {}, None),
    ("keep", "AuthenticAMD", FULL, {"ANYFW_BLAS": "keep"}, None),
    ("the user's own", "AuthenticAMD", FULL, {"OPENBLAS_CORETYPE": "ZEN"}, "ZEN"),
    ("not x86", None, "asimd sve", {}, None),
]

_PROGRAM = """
import pathlib, sys
from anyfw.core import blas_choice
blas_choice.CPUINFO = pathlib.Path(sys.argv[1])
assert "numpy" not in sys.modules
from anyfw.cli import main
main(["summary", "no such net"])
"""


@pytest.fixture
def clean(monkeypatch):
    for name in ("ANYFW_BLAS", "OPENBLAS_CORETYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(blas_choice, "_made", None)
    return monkeypatch


def write(path, vendor, flags):
    lines = [
        "processor\t: 0",
        *([f"vendor_id\t: {vendor}"] if vendor else []),
        f"flags\t\t: {flags}",
        "",
        "processor\t: 1",
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("vendor", "flags", "environment", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_choice(clean, tmp_path, vendor, flags, environment, expected):
    clean.setattr(blas_choice, "CPUINFO", write(tmp_path / "cpuinfo", vendor, flags))
    for name, value in environment.items():
        clean.setenv(name, value)
    clean.delitem(sys.modules, "numpy")
    clean.setenv("OPENBLAS_CORETYPE", os.environ.get("OPENBLAS_CORETYPE", ""))  # so that what is set is undone
    if "OPENBLAS_CORETYPE" not in environment:
        del os.environ["OPENBLAS_CORETYPE"]
    blas_choice.choose_kernels()
    assert os.environ.get("OPENBLAS_CORETYPE") == expected
    told = "OPENBLAS_CORETYPE=SKYLAKEX by anyfw's command line" if expected == "SKYLAKEX" else "left as it is"
    assert blas_choice.story().startswith(told)


def test_too_late_once_numpy_is_loaded(clean, tmp_path):
    clean.setattr(blas_choice, "CPUINFO", write(tmp_path / "cpuinfo", "AuthenticAMD", FULL))
    assert "numpy" in sys.modules
    blas_choice.choose_kernels()
    assert "OPENBLAS_CORETYPE" not in os.environ
    assert blas_choice.story() == "left as it is: NumPy was loaded before the command line could choose"


@pytest.mark.parametrize("broken", ["absent", "a folder", "empty", "no colons"])
def test_an_odd_cpuinfo_is_no_failure(clean, tmp_path, broken):
    path = tmp_path / "cpuinfo"
    if broken == "a folder":
        path.mkdir()
    elif broken != "absent":
        path.write_bytes(b"" if broken == "empty" else b"\xff\xfe nothing\n")
    clean.setattr(blas_choice, "CPUINFO", path)
    clean.delitem(sys.modules, "numpy")
    blas_choice.choose_kernels()
    assert "OPENBLAS_CORETYPE" not in os.environ
    assert blas_choice.story() == "left as it is: the system does not tell of an x86 CPU and its flags"


def test_another_value_is_refused(clean):
    clean.setenv("ANYFW_BLAS", "fast")
    with pytest.raises(ConfigError, match="ANYFW_BLAS: expected one of auto, keep, got 'fast'"):
        blas_choice.choose_kernels()


@pytest.mark.parametrize(
    ("flags", "value", "expected"), [(FULL, "auto", "SKYLAKEX"), ("fpu avx2", "auto", "None"), (FULL, "keep", "None")]
)
def test_the_command_line_sets_it_before_numpy_loads(tmp_path, flags, value, expected):
    path = write(tmp_path / "cpuinfo", "AuthenticAMD", flags)
    # Kernels that this processor lacks would crash, so what is loaded as NumPy tells the setting and ends.
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"} | {"ANYFW_BLAS": value}
    stub = tmp_path / "numpy.py"
    stub.write_text("import os, sys\nprint(os.environ.get('OPENBLAS_CORETYPE'), flush=True)\nos._exit(0)\n")
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")]), os.getcwd()]
    )
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [expected], done.stderr


def test_the_command_line_refuses_another_value():
    environment = os.environ | {"ANYFW_BLAS": "fast"}
    done = subprocess.run(
        [sys.executable, "-m", "anyfw", "doctor"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: ANYFW_BLAS: expected one of auto, keep, got 'fast'." in done.stderr
