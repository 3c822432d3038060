"""Loading a net from the file that `net.save(path)` wrote."""

from collections.abc import Iterable
from os import PathLike

from anyfw.core.errors import AnyfwError, FileFormatError, UnknownNameError
from anyfw.core.files import read_model
from anyfw.core.layer import Layer
from anyfw.core.parameter import Buffer
from anyfw.nn import from_config


def load(path: str | PathLike[str], layers: Iterable[type[Layer]] = ()) -> Layer:
    """Rebuild a net from a model file; it is placed by its first use, or by `.to`.

    No code in the file is run, and nothing is imported by a name in it: layers are built from anyfw's own classes
    and those given here. Sizes are compared with the tensors in the file before any array is made.

    Args:
        path: what `net.save` wrote.
        layers: classes of your own that may occur in it.

    Raises:
        MissingFileError: there is no such file.
        FileFormatError: truncated, corrupt, of another kind or a newer format, or layers and values do not fit.
        UnknownNameError: a layer that is neither anyfw's nor among `layers`.
    """
    config, state, metadata = read_model(path)
    try:
        net = from_config(config, layers)
        for name, stored in net.named_stored():
            whole = isinstance(stored, Buffer) and stored.dtype is not None and stored.dtype.startswith("int")
            if name in state and state[name].dtype.kind != ("i" if whole else "f"):
                raise FileFormatError(
                    f"'{name}': expected {'integers' if whole else 'floating-point numbers'}, got {state[name].dtype}."
                )
        net.load_state_dict(state)
    except UnknownNameError as error:
        error.args = (f"{path}: {error} Pass a class of your own as load(path, layers=(ItsName,)).",)
        raise
    except AnyfwError as error:
        raise FileFormatError(f"{path}: its layers and values do not fit: {error}") from error
    except Exception as error:  # a class of the user's raises anything when its arguments are not what it expects
        raise FileFormatError(f"{path}: its layers cannot be built: {type(error).__name__}: {error}") from error
    net.metadata = metadata
    return net
