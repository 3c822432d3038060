"""cuBLASLt's interface on the CPU, for NumPy arrays: `lt.cpp`, compiled by g++."""

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from anyfw.backends.cupy.products import LtProducts
from tests.played.player import COMPILER


@cache
def library() -> ctypes.CDLL:
    assert COMPILER is not None
    target = Path(tempfile.mkdtemp(prefix="anyfw-cuda-")) / "lt.so"
    source = Path(__file__).with_name("lt.cpp")
    command = [COMPILER, "-std=c++17", "-O1", "-shared", "-fPIC", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]
    return ctypes.CDLL(str(target))


class PlayedProducts(LtProducts):
    """Products of NumPy arrays; remembers what was asked for."""

    def __init__(self) -> None:
        room = SimpleNamespace(empty=np.empty, asarray=np.array, asnumpy=np.asarray)
        super().__init__(library(), room, lambda x: x.ctypes.data, lambda: 0)
        self.done: list[str] = []

    def __call__(self, out, a, b, **options) -> bool:
        for x in (out, a, b, options.get("vector"), options.get("aux")):
            assert x is None or x.flags.c_contiguous
        done = super().__call__(out, a, b, **options)
        if done:
            self.done.append(options.get("epilogue", ""))
        return done
