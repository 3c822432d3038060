"""cuBLASLt's interface on the CPU, for NumPy arrays: `lt.cpp`, compiled by g++."""

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from anyfw.backends.cupy.cublaslt import CublasLt
from tests.cuda.player import COMPILER


@cache
def library() -> ctypes.CDLL:
    assert COMPILER is not None
    target = Path(tempfile.mkdtemp(prefix="anyfw-cuda-")) / "lt.so"
    source = Path(__file__).with_name("lt.cpp")
    command = [COMPILER, "-std=c++17", "-O1", "-shared", "-fPIC", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]
    return ctypes.CDLL(str(target))


class PlayedProducts(CublasLt):
    """Products of NumPy arrays; remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__(library(), lambda x: x.ctypes.data, lambda: 0, lambda size: np.zeros(size // 1024, np.uint8))
        self.done: list[str] = []

    def __call__(self, out, a, b, **options) -> bool:
        for x in (out, a, b, options.get("vector"), options.get("aux")):
            assert x is None or x.flags.c_contiguous
        done = super().__call__(out, a, b, **options)
        if done:
            self.done.append(options.get("epilogue", ""))
        return done
