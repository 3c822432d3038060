"""PyTorch: its files without it, and with it state dicts, nets and arrays both ways.

Not run on a GPU: that `as_tensor` and `as_array` share CuPy's memory is the same code as for NumPy's, and only that was
tried.

    read(path)                       what torch.save or safetensors wrote, as NumPy arrays; needs no torch
    state_dict(net)                  a net's values as tensors: module.load_state_dict(state_dict(net))
    load_state_dict(net, source)     the values of a module, of a state dict, or of what `read` gave
    from_module(module)              an anyfw net from a torch.nn.Sequential
    to_module(net)                   a torch.nn.Module from an anyfw net
    as_tensor(x), as_array(tensor)   the same memory, by DLPack
"""

from anyfw.interop.torch.arrays import as_array, as_tensor
from anyfw.interop.torch.files import read
from anyfw.interop.torch.modules import from_module, to_module
from anyfw.interop.torch.states import load_state_dict, state_dict

__all__ = ["as_array", "as_tensor", "from_module", "load_state_dict", "read", "state_dict", "to_module"]
