"""Nets from modules of PyTorch, and modules from nets."""

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
    "Dropout": ("p",),
    "ELU": ("alpha",),
    "Flatten": ("start_dim", "end_dim"),
    "GELU": ("approximate",),
    "Identity": (),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine", "bias"),
    "LeakyReLU": ("negative_slope",),
    "Linear": ("in_features", "out_features", "bias"),
    "LogSoftmax": ("dim",),
    "RMSNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "ReLU": (),
    "SELU": (),
    "SiLU": (),
    "Sigmoid": (),
    "Softmax": ("dim",),
    "Softplus": ("beta", "threshold"),
    "Tanh": (),
}
# What PyTorch lacks, and `layers` has.
_OURS = {"Parallel": ("combine", "axis"), "Rescale": ("scale", "shift"), "Residual": ()}
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
        backend: where the net is to be; by default as `anyfw.get_backend()` says.

    Raises:
        MissingExtraError: PyTorch is not installed.
        ConfigError: a module or an option that anyfw has not; the message names its path.
        PlacementError: parameters of other dtypes, or of several.
    """
    import_torch()
    built: dict[int, Layer] = {}
    net = _layer(module, "", built)
    _check_shared(module, "module")
    dtype = _dtype(module)
    if dtype is not None:
        net.to(backend, dtype)
    elif backend is not None:
        net.to(backend)
    return net


def to_module(net: Layer) -> "torch.nn.Module":
    """A module of PyTorch that computes what a net computes, with copies of its values, on the CPU, in evaluation mode.

    `module(x)` is what `net(x)` gives; `module.train()` what `net.forward(x, train=True)` gives, but for the masks of
    dropout. The names in its state dict are the net's. What PyTorch lacks, `Rescale`, `Residual` and `Parallel`, are
    modules of `anyfw.interop.torch.layers`, which `from_module` knows.

    Raises:
        MissingExtraError: PyTorch is not installed.
        ConfigError: a layer of another class than anyfw's own, or a parameter in several layers.
    """
    torch = import_torch()
    state = state_dict(net)
    module = _module(net, "", {})
    _check_shared(net, "net")
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
    from anyfw.interop.torch import layers

    torch, kind, who = import_torch(), type(module).__name__, _who("from_module", module, path)
    _check_options(module, who)
    children = [_layer(child, _join(path, name), built) for name, child in _children(module)]
    if type(module) is torch.nn.Sequential:
        return nn.Sequential(*children)
    home, known = (layers, _OURS) if kind in _OURS else (torch.nn, _ARGUMENTS)
    if kind not in known or type(module) is not getattr(home, kind, None):
        raise ConfigError(
            f"{who}: anyfw has no such layer. Known: Sequential, {', '.join(sorted(_ARGUMENTS))}. "
            "Build the net by hand, then load_state_dict(net, module)."
        )
    try:
        layer: Layer = getattr(nn, kind)(*children, **_arguments(module, known[kind]))
    except AnyfwError as error:
        raise ConfigError(f"{who}: an option that anyfw has not: {error}") from error
    own = {name: value for name, value in module.state_dict().items() if "." not in name}
    for name, stored in vars(layer).items():
        if isinstance(stored, nn.Parameter):
            stored.trainable = getattr(module, name).requires_grad
    if own:
        load_state_dict(layer, own)
    return layer


def _module(layer: Layer, path: str, built: dict[int, Any]) -> Any:
    if id(layer) not in built:
        built[id(layer)] = _new_module(layer, path, built)
    return built[id(layer)]


def _new_module(layer: Layer, path: str, built: dict[int, Any]) -> Any:
    from anyfw.interop.torch import layers

    torch, kind = import_torch(), type(layer).__name__
    children = [_module(child, _join(path, name), built) for name, child in layer.children()]
    if type(layer) is nn.Sequential:
        return torch.nn.Sequential(*children)
    home, known = (layers, _OURS) if kind in _OURS else (torch.nn, _ARGUMENTS)
    if kind not in known or type(layer) is not getattr(nn, kind, None):
        raise ConfigError(f"{_who('to_module', layer, path)}: only anyfw's own layers have a module. Write it by hand.")
    if not hasattr(home, kind):
        raise ConfigError(f"{_who('to_module', layer, path)}: this PyTorch has no {kind}: pip install -U torch.")
    return getattr(home, kind)(*children, **_arguments(layer, known[kind]))


def _arguments(thing: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(thing, name) is not None if name == "bias" else getattr(thing, name) for name in names}


def _check_options(module: Any, who: str) -> None:
    if any(getattr(module, hooks, None) for hooks in _HOOKS):
        raise ConfigError(f"{who}: it has hooks, which change what it computes. Remove them first.")
    if getattr(module, "dim", 0) is None:
        raise ConfigError(f"{who}: expected a dim, got None, for which PyTorch guesses one. Give dim=-1.")
    if getattr(module, "affine", False) and module.bias is None:
        raise ConfigError(f"{who}: expected a bias beside the weight, got none. Give it one of zeros.")


def _check_shared(net: Any, what: str) -> None:
    # As PyTorch's and anyfw's modules have it: two layers with one parameter are not one layer at two places.
    owners: dict[int, tuple[int, str]] = {}
    for path, layer in net.named_modules() if hasattr(net, "named_modules") else net.named_layers():
        own = layer.parameters(recurse=False) if hasattr(layer, "named_modules") else _parameters(layer)
        for parameter in own:
            owner, first = owners.setdefault(id(parameter), (id(layer), path))
            if owner != id(layer):
                raise ConfigError(
                    f"The layers '{first}' and '{path}' of this {what} have one parameter, which a copy would make two "
                    "of. Put one layer at both places."
                )


def _parameters(layer: Layer) -> list[nn.Parameter]:
    return [value for value in vars(layer).values() if isinstance(value, nn.Parameter)]


def _dtype(module: Any) -> str | None:
    found: dict[str, str] = {}
    for name, value in module.state_dict().items():
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
