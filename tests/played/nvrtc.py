"""NVRTC, NVIDIA's compiler of CUDA text, which needs no GPU: the wheel `nvidia-cuda-nvrtc-cu12` has it."""

import ctypes
from importlib.util import find_spec
from pathlib import Path


def library() -> ctypes.CDLL | None:
    """The library of the wheel; None where it is not installed."""
    try:
        found = find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        found = None
    folders = [] if found is None else list(found.submodule_search_locations or ())
    paths = [path for folder in folders for path in Path(folder, "lib").glob("libnvrtc.so.*")]
    return ctypes.CDLL(str(paths[0])) if paths else None


def compile_text(nvrtc: ctypes.CDLL, text: str, options: tuple[str, ...]) -> str:
    """The PTX of a text; an AssertionError with the compiler's words where it finds an error."""
    program = ctypes.c_void_p()
    made = nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    assert made == 0, made
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = nvrtc.nvrtcCompileProgram(program, len(options), given)
    words = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
    assert status == 0, words
    assert not words.strip(), words  # a warning
    ptx = _text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx


def _text(size_of, text_of, program) -> str:
    size = ctypes.c_size_t()
    size_of(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    text_of(program, buffer)
    return buffer.value.decode()
