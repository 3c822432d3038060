"""Files of PyTorch and safetensors as NumPy arrays, without PyTorch."""

import os
from typing import Any

from anyfw.core.atomic import StrPath, open_to_read
from anyfw.core.errors import FileFormatError
from anyfw.interop.torch import containers
from anyfw.interop.torch.safetensors import read_safetensors
from anyfw.interop.torch.storages import RefusedError


def read(path: StrPath) -> Any:
    """The tensors in a `.pt`, `.pth` or `.safetensors` file as NumPy arrays; no code in it is run.

    What kind of file it is, its first bytes tell. A safetensors file gives a dict of arrays by name. A file of
    `torch.save` gives what was saved: an array for each tensor and parameter, in the dicts, lists and tuples that they
    were in, beside numbers, texts, True, False and None; a torch.Size is a tuple, a torch.device and a torch.dtype
    their names, a Counter a dict. `anyfw.interop.torch.pickles` lists all that is accepted.

    Dtypes are kept: float64, float32, float16, int64, int32, int16, int8, uint8, bool. bfloat16, which NumPy lacks,
    becomes float32, exactly. Tensors that shared their memory share it here, too. A tensor of a file that `torch.save`
    wrote is a view where it was one, and may be neither contiguous nor the only one that shows its numbers.

    The file is trusted in nothing: see there for the bounds. What it announces is held against its size before memory
    is allocated. The arrays take as much as the file, where it is bfloat16 twice as much, and to convert them at most
    32 MiB besides. What lists the tensors, the header of safetensors and the directory of a zip archive, has at most
    4 MiB: enough for 40,000 tensors, and never more than 130 MB in memory. Checksums are compared, where they were
    written.

    Args:
        path: what `torch.save` of PyTorch 1.6 or later wrote, or earlier ones on Python 3; or a safetensors file.

    Raises:
        MissingFileError: there is no such file, or it cannot be opened.
        FileFormatError: another format; truncated or corrupt; whole modules and other code; TorchScript; complex and
            quantised numbers; compressed or encrypted entries; tensors that reach beyond what is stored.

    Source: "Serialization semantics" in PyTorch's notes; the documentation of Python's `pickletools`; APPNOTE.TXT, the
    specification of zip files; the format of safetensors.
    """
    with open_to_read(path) as file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(16)
        file.seek(0)
        try:
            # A header may well be as long as the first bytes of another format say.
            if first[8:9] == b"{" and int.from_bytes(first[:8], "little") <= size - 8:
                return read_safetensors(file, size)
            if first.startswith(b"PK\x03\x04"):
                return containers.read_archive(file)
            if first.startswith(b"\x80"):
                return containers.read_sequence(file, size)
        except RefusedError as why:
            raise FileFormatError(f"{path}: {why}") from None
    raise FileFormatError(
        f"{path}: expected a file of torch.save or safetensors, got one that begins with {first!r}. Was it cut short?"
    )
