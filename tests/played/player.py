"""A stand-in for a GPU: the kernels' own text, compiled by g++ against `block.h`, launched on NumPy arrays.

Every launch works on copies of its arrays with a margin on both sides: what is read there is NaN, and what is written
there is an error. A GPU runs the blocks of a grid in any order; here their order is turned round from launch to launch.
"""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from anyfw.backends.cupy.kernels.launch import source

COMPILER = shutil.which("g++")
HEADER = Path(__file__).with_name("block.h")
# Bytes before and after each array.
_MARGIN = 16384

_KERNEL = re.compile(r'extern "C" __global__ void\s+(\w+)\s*\(([^)]*)\)')


class Player:
    """Launches kernels as `Launch` says, and remembers their names.

    Args:
        folder: where the compiled text is put.
        change: made to the text before it is compiled, for tests that must fail.
    """

    def __init__(self, folder: Path, change=lambda text: text) -> None:
        self.folder, self.change = folder, change
        self.launched: list[str] = []
        self._libraries: dict[str, tuple[ctypes.CDLL, dict[str, list[str]]]] = {}

    def __call__(self, dtype, name, grid, block, *arguments) -> None:
        if dtype not in self._libraries:
            self._libraries[dtype] = self._compile(dtype)
        library, kernels = self._libraries[dtype]
        types = kernels[name]
        assert len(types) == len(arguments), f"{name} takes {len(types)} arguments, got {len(arguments)}"
        slots, framed = [], []
        for kind, argument in zip(types, arguments, strict=True):
            slots.append(_slot(name, kind, argument, framed))
        values = (ctypes.c_void_p * len(slots))(*(ctypes.addressof(slot) for slot in slots))
        sizes = [*grid, 1, 1][:3], [*block, 1, 1][:3]
        assert all(1 <= n <= most for n, most in zip(sizes[0], (2**31 - 1, 65535, 65535), strict=True)), (name, grid)
        assert np.prod(sizes[1]) <= 1024, (name, block)
        whole = getattr(library, f"launch_{name}")(
            (ctypes.c_uint * 6)(*sizes[0], *sizes[1]), values, len(self.launched) % 2
        )
        assert whole, f"{name}: some threads wait at a barrier that others never reach"
        for number, (original, frame) in enumerate(framed):
            _unframe(name, number, original, frame)
        self.launched.append(name)

    def _compile(self, dtype):
        text = self.change(source(dtype))
        expanded = _run([COMPILER, "-E", "-P", "-x", "c++", "-"], text)
        kernels = {
            name: [re.sub(r"\s*\w+$", "", parameter.strip()) for parameter in parameters.split(",")]
            for name, parameters in _KERNEL.findall(expanded)
        }
        launchers = [_launcher(name, types) for name, types in kernels.items()]
        program = "\n".join([f'#include "{HEADER}"', text, "static void** values;", *launchers])
        library = self.folder / f"kernels-{dtype}.so"
        # Products and sums as they are written: what NVRTC contracts into one rounding differs in the last bit only.
        _run(
            [
                COMPILER,
                "-std=c++17",
                "-O1",
                "-shared",
                "-fPIC",
                "-ffp-contract=off",
                "-x",
                "c++",
                "-",
                "-o",
                str(library),
            ],
            program,
        )
        return ctypes.CDLL(str(library)), kernels


def _run(command, text: str) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]
    return done.stdout


def _launcher(name: str, types: list[str]) -> str:
    arguments = ", ".join(f"*({kind}*)values[{i}]" for i, kind in enumerate(types))
    return f"""
static void body_{name}() {{ {name}({arguments}); }}
extern "C" int launch_{name}(const unsigned int* sizes, void** given, int backwards) {{
  gridDim = {{sizes[0], sizes[1], sizes[2]}};
  blockDim = {{sizes[3], sizes[4], sizes[5]}};
  values = given;
  block::body = body_{name};
  unsigned int blocks = gridDim.x * gridDim.y * gridDim.z;
  for (unsigned int i = 0; i < blocks; ++i) {{
    unsigned int b = backwards ? blocks - 1 - i : i;
    blockIdx = {{b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y}};
    if (!block::run(blockDim.x * blockDim.y * blockDim.z)) return 0;
  }}
  return 1;
}}"""


_ELEMENTS = {
    "float": "float32",
    "double": "float64",
    "long long": "int64",
    "bool": "bool",
    "unsigned int": None,
    "unsigned long long": None,
}


def _slot(name, kind: str, argument, framed):
    if not kind.endswith("*"):
        assert type(argument) is {"long long": int, "double": float}[kind], (name, kind, argument)
        return (ctypes.c_longlong if kind == "long long" else ctypes.c_double)(argument)
    if argument is None:
        return ctypes.c_void_p(0)
    assert isinstance(argument, np.ndarray), (name, kind, argument)
    assert argument.flags.c_contiguous, (name, kind)
    element = kind.removeprefix("const ").removesuffix("*").strip()
    element = _ELEMENTS[element]
    assert element is None or str(argument.dtype) == element, f"{name}: {argument.dtype} is given as {kind}"
    for original, frame in framed:
        if original is argument:  # one array under two names is one place
            return ctypes.c_void_p(frame.ctypes.data + _MARGIN)
    margin = _margin(len(framed))
    frame = np.concatenate([margin, argument.reshape(-1).view(np.uint8), margin])
    framed.append((argument, frame))
    return ctypes.c_void_p(frame.ctypes.data + _MARGIN)


def _margin(number: int):
    # NaN as floats, negative as integers, and in each array another, so that a copy of one into another shows.
    return np.full(_MARGIN // 4, 0xFFFF0001 + number, dtype=np.uint32).view(np.uint8)


def _unframe(name, number, original, frame) -> None:
    inner = frame[_MARGIN : len(frame) - _MARGIN]
    margin = _margin(number)
    assert (frame[:_MARGIN] == margin).all(), f"{name} wrote before the beginning of an array"
    assert (frame[len(frame) - _MARGIN :] == margin).all(), f"{name} wrote past the end of an array"
    if inner.tobytes() != original.tobytes():
        original[...] = inner.view(original.dtype).reshape(original.shape)
