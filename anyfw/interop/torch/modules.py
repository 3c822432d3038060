"""Nets from modules of PyTorch, and modules from nets."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from anyfw import nn
from anyfw.core.backend import Backend
from anyfw.core.errors import AnyfwError, ConfigError, PlacementError
from anyfw.core.layer import Layer
from anyfw.interop.torch.arrays import import_torch
from anyfw.interop.torch.states import load_state_dict, state_dict

if TYPE_CHECKING:
    import torch

# What both sides call by one name, and the arguments that both keep as attributes; `bias` is kept as the parameter.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "BatchNorm1d": ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    "CategoryColumns": ("numbers", "counts", "widths"),
    "Dropout": ("p",),
    "ELU": ("alpha",),
    "Flatten": ("start_dim", "end_dim"),
    "GELU": ("approximate",),
    "Identity": (),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine", "bias"),
    "LeakyReLU": ("negative_slope",),
    "Linear": ("in_features", "out_features", "bias"),
    "LogSoftmax": ("dim",),
    "Parallel": ("combine", "axis"),
    "RMSNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "ReLU": (),
    "Rescale": ("scale", "shift"),
    "Residual": (),
    "SELU": (),
    "Sequential": (),
    "SiLU": (),
    "Sigmoid": (),
    "Softmax": ("dim",),
    "Softplus": ("beta", "threshold"),
    "Tanh": (),
}
_OURS = ("CategoryColumns", "Parallel", "Rescale", "Residual")  # which PyTorch lacks, and `layers` has
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def from_module(module: "torch.nn.Module", backend: str | Backend | None = None) -> Layer:
    """An anyfw net that computes what a module of PyTorch computes, with copies of its values.

    The module is a layer that both have by the same name, or a `torch.nn.Sequential` of such, nested as it may be: of
    another class only the constructor would be known, and not what its `forward` does. The names of a Sequential's
    modules become their numbers. A module that stands at several places is one layer there, and a parameter with
    `requires_grad=False` is not trained.

    Whether the module is in training mode plays no part: `net(x)` is what `module.eval()(x)` gives, and
    `net.forward(x, train=True)` what `module.train()(x)` gives, but for the masks of dropout, which are anyfw's own.

    Args:
        module: its parameters and buffers all float32 or all float64, which is the net's dtype then, on any device.
        backend: where the net is to be; by default as `anyfw.get_backend()` says, or, where the module has no values,
            where its first input is.

    Raises:
        MissingExtraError: PyTorch is not installed.
        ConfigError: a module or an option that anyfw has not; the message names its path.
        PlacementError: parameters of other dtypes, of several, or without values.
    """
    torch = import_torch()
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(f"from_module: expected a torch.nn.Module, got {type(module).__name__}.")
    dtype = _dtype(module)
    if any(getattr(torch.nn.modules.module, f"_global{hooks}", None) for hooks in _HOOKS):
        raise ConfigError("from_module: PyTorch has hooks on all modules, which change what they compute. Remove them.")
    _check_shared("module", ((path, one, one.parameters(recurse=False)) for path, one in module.named_modules()))
    net = _layer(module, "", {})
    if dtype is not None:
        net.to(backend, dtype)
    elif backend is not None:
        net.to(backend)
    return net


def to_module(net: Layer) -> "torch.nn.Module":
    """A module of PyTorch that computes what a net computes, with copies of its values, on the CPU, in evaluation mode.

    `module(x)` is what `net(x)` gives; `module.train()` what `net.forward(x, train=True)` gives, but for the masks of
    dropout. The names in its state dict are the net's. What PyTorch lacks, `CategoryColumns`, `Parallel`, `Rescale` and
    `Residual`, are modules of `anyfw.interop.torch.layers`, which `from_module` knows.

    Raises:
        MissingExtraError: PyTorch is not installed.
        ConfigError: a layer of another class than anyfw's own, or a parameter in several layers.
    """
    torch = import_torch()
    state = state_dict(net)
    module = _module(net, "", {})
    _check_shared("net", ((path, one, _parameters(one)) for path, one in net.named_layers()))
    module.to(getattr(torch, net.dtype))
    module.load_state_dict(state)
    parameters = dict(module.named_parameters())
    for name, parameter in net.named_parameters():
        parameters[name].requires_grad_(parameter.trainable)
    return module.eval()


def _layer(module: Any, path: str, built: dict[int, Layer]) -> Layer:
    if id(module) not in built:
        built[id(module)] = _new_layer(module, path, built)
    return built[id(module)]


def _new_layer(module: Any, path: str, built: dict[int, Layer]) -> Layer:
    kind, who = type(module).__name__, _who("from_module", module, path)
    if type(module) is not _module_class(kind):
        raise ConfigError(
            f"{who}: anyfw has no such layer. Known: {', '.join(sorted(_ARGUMENTS))}. Build the net by hand, then "
            "load_state_dict(net, module)."
        )
    _check_options(module, who)
    children = [_layer(child, _join(path, name), built) for name, child in _children(module)]
    try:
        layer: Layer = getattr(nn, kind)(*children, **_arguments(module))
    except AnyfwError as error:
        raise ConfigError(f"{who}: an option that anyfw has not: {error}") from error
    own = {name: value for name, value in module.state_dict().items() if "." not in name}
    if own:
        load_state_dict(layer, own)
    for name, parameter in module.named_parameters(recurse=False):
        getattr(layer, name).trainable = parameter.requires_grad
    return layer


def _module(layer: Layer, path: str, built: dict[int, Any]) -> Any:
    if id(layer) not in built:
        built[id(layer)] = _new_module(layer, path, built)
    return built[id(layer)]


def _new_module(layer: Layer, path: str, built: dict[int, Any]) -> Any:
    kind, who = type(layer).__name__, _who("to_module", layer, path)
    if kind not in _ARGUMENTS or type(layer) is not getattr(nn, kind):
        raise ConfigError(f"{who}: only anyfw's own layers have a module. Write one, and load it from state_dict(net).")
    found = _module_class(kind)
    if found is None:
        raise ConfigError(f"{who}: this PyTorch has no {kind}: pip install -U torch.")
    children = [_module(child, _join(path, name), built) for name, child in layer.children()]
    return found(*children, **_arguments(layer))


def _module_class(kind: str) -> Any:
    from anyfw.interop.torch import layers

    return getattr(layers if kind in _OURS else import_torch().nn, kind, None) if kind in _ARGUMENTS else None


def _arguments(thing: Any) -> dict[str, Any]:
    names = _ARGUMENTS[type(thing).__name__]
    return {name: getattr(thing, name) is not None if name == "bias" else getattr(thing, name) for name in names}


def _check_options(module: Any, who: str) -> None:
    replaced = [name for name in vars(module) if callable(getattr(type(module), name, None))]
    if replaced:
        raise ConfigError(
            f"{who}: its {', '.join(replaced)} was replaced, and anyfw knows only the class's own. Build the net by "
            "hand, then load_state_dict(net, module)."
        )
    if any(getattr(module, hooks, None) for hooks in _HOOKS):
        raise ConfigError(f"{who}: it has hooks, which change what it computes. Remove them first.")
    names = _ARGUMENTS[type(module).__name__]
    if "dim" in names and module.dim is None:
        raise ConfigError(f"{who}: expected a dim, got None, for which PyTorch guesses one. Give dim=-1.")
    if "affine" in names and module.affine and module.bias is None:
        raise ConfigError(f"{who}: expected a bias beside the weight, got none. Give it one of zeros.")


def _check_shared(net: str, layers: Iterable[tuple[str, Any, Iterable[Any]]]) -> None:
    # Two layers with one parameter are not one layer at two places.
    owners: dict[int, tuple[Any, str]] = {}
    for path, layer, parameters in layers:
        for parameter in parameters:
            owner, first = owners.setdefault(id(parameter), (layer, path))
            if owner is not layer:
                raise ConfigError(
                    f"'{first}' and '{path}' of this {net} have one parameter, which a copy would make two of. Put one "
                    "layer at both places."
                )


def _parameters(layer: Layer) -> list[nn.Parameter]:
    return [value for value in vars(layer).values() if isinstance(value, nn.Parameter)]


def _dtype(module: Any) -> str | None:
    found: dict[str, str] = {}
    for name, value in module.state_dict().items():
        if value.is_meta:
            raise PlacementError(
                f"from_module: '{name}' is on the device meta, where tensors have no values. Load or draw them first."
            )
        if value.is_floating_point() or value.is_complex():
            found.setdefault(str(value.dtype).removeprefix("torch."), name)
    if len(found) > 1 or not set(found) <= {"float32", "float64"}:
        told = ", ".join(f"{dtype} ('{name}')" for dtype, name in found.items())
        raise PlacementError(f"from_module: expected float32 or float64 throughout, got {told}. Use module.float().")
    return next(iter(found), None)


def _children(module: Any) -> list[tuple[str, Any]]:
    return [(name, child) for name, child in module._modules.items() if child is not None]


def _who(function: str, thing: Any, path: str) -> str:
    return f"{function}: {type(thing).__module__.partition('.')[0]}'s {type(thing).__name__} at '{path or '.'}'"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
