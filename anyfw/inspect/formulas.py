"""What each public layer and loss computes, as lines of NumPy, for `trace` to print beside the numbers.

In the templates {x} and {y} are a layer's input and output, {dy} and {dx} the gradients of the loss by them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

HostArray = NDArray[Any]
Extra = tuple[str, str, HostArray]  # name, formula, value


@dataclass(frozen=True)
class Formula:
    """Templates for one layer.

    Attributes:
        y: the output.
        dx: the gradient by the input.
        grads: those by the parameters, by the parameter's name.
    """

    y: str
    dx: str
    grads: Mapping[str, str] = field(default_factory=dict)


_U = "(sqrt(2 / pi) * ({x} + 0.044715 * {x}**3))"
_CENTRED = "({g} - {g}.mean({axes}, keepdims=True) - {n} * ({g} * {n}).mean({axes}, keepdims=True)) / {s}"

LAYERS: dict[str, Formula] = {
    "Linear": Formula(
        "{x} @ {weight}.T{plus_bias}",
        "{dy} @ {weight}",
        {"weight": "{dy}{y_rows}.T @ {x}{x_rows}", "bias": "{dy}{y_rows}.sum(0)"},
    ),
    "ReLU": Formula("maximum({x}, 0)", "{dy} * ({y} > 0)"),
    "LeakyReLU": Formula(
        "where({x} > 0, {x}, {layer.negative_slope} * {x})", "{dy} * where({x} > 0, 1, {layer.negative_slope})"
    ),
    "ELU": Formula(
        "where({x} > 0, {x}, {layer.alpha} * (exp({x}) - 1))", "{dy} * where({x} > 0, 1, {y} + {layer.alpha})"
    ),
    "SELU": Formula(
        "1.05070099 * where({x} > 0, {x}, 1.67326324 * (exp({x}) - 1))",
        "{dy} * where({x} > 0, 1.05070099, {y} + 1.75809934)",
    ),
    "GELU": Formula("{x} * Phi({x})", "{dy} * (Phi({x}) + {x} * phi({x}))"),
    "GELU tanh": Formula(
        f"{{x}} * (1 + tanh{_U}) / 2",
        f"{{dy}} * ((1 + tanh{_U}) + {{x}} * (1 - tanh{_U}**2) * sqrt(2 / pi) * (1 + 0.134145 * {{x}}**2)) / 2",
    ),
    "SiLU": Formula("{x} * sigmoid({x})", "{dy} * sigmoid({x}) * (1 + {x} * (1 - sigmoid({x})))"),
    "Softplus": Formula("log(1 + exp({layer.beta} * {x})) / {layer.beta}", "{dy} * sigmoid({layer.beta} * {x})"),
    "Softplus linear": Formula(
        "where({layer.beta} * {x} > {layer.threshold}, {x}, log(1 + exp({layer.beta} * {x})) / {layer.beta})",
        "{dy} * where({layer.beta} * {x} > {layer.threshold}, 1, sigmoid({layer.beta} * {x}))",
    ),
    "Sigmoid": Formula("1 / (1 + exp(-{x}))", "{dy} * {y} * (1 - {y})"),
    "Tanh": Formula("tanh({x})", "{dy} * (1 - {y}**2)"),
    "Softmax": Formula(
        "exp({x}) / exp({x}).sum({layer.dim}, keepdims=True)",
        "{y} * ({dy} - ({dy} * {y}).sum({layer.dim}, keepdims=True))",
    ),
    "LogSoftmax": Formula(
        "{x} - log(exp({x}).sum({layer.dim}, keepdims=True))",
        "{dy} - exp({y}) * {dy}.sum({layer.dim}, keepdims=True)",
    ),
    "Identity": Formula("{x}", "{dy}"),
    "Rescale": Formula("{x} * {layer.scale} + {layer.shift}", "{dy} * {layer.scale}"),
    "Flatten": Formula("{x}.reshape{y_shape}", "{dy}.reshape{x_shape}"),
    "Dropout": Formula("{x} * {mask} / {keep}", "{dy} * {mask} / {keep}"),
    "BatchNorm1d": Formula(
        "{n}{times_weight}{plus_bias}", _CENTRED, {"weight": "({dy} * {n}).sum({axes})", "bias": "{dy}.sum({axes})"}
    ),
    "LayerNorm": Formula(
        "{n}{times_weight}{plus_bias}", _CENTRED, {"weight": "({dy} * {n}).sum({lead})", "bias": "{dy}.sum({lead})"}
    ),
    "RMSNorm": Formula(
        "{n}{times_weight}",
        "({g} - {n} * ({g} * {n}).mean({axes}, keepdims=True)) / {s}",
        {"weight": "({dy} * {n}).sum({lead})"},
    ),
}


def _category_columns(layer: Any) -> Formula:
    start, numbers = layer.numbers, layer.numbers
    parts, grads = [f"{{x}}[:, :{numbers}]"], {}
    for i, (count, width) in enumerate(zip(layer.counts, layer.widths, strict=True)):
        one_hot = f"(round({{x}}[:, {numbers + i}:{numbers + i + 1}]) == arange({count}))"
        parts.append(f"{one_hot} @ {{weight_{i}}}" if width else f"{one_hot} * 1.0")
        stop = start + (width or count)
        if width:
            grads[f"weight_{i}"] = f"{one_hot}.T @ {{dy}}[:, {start}:{stop}]"
        start = stop
    dx = f"concatenate([{{dy}}[:, :{numbers}], 0 * {{x}}[:, {numbers}:]], -1)"
    return Formula(f"concatenate([{', '.join(parts)}], -1)", dx, grads)


# Those whose templates depend on more of the layer than its numbers.
SPELT: dict[str, Callable[[Any], Formula]] = {"CategoryColumns": _category_columns}


def of_layer(layer: Any) -> Formula:
    """The layer's formulas; of a class that is not ours, what its docstrings say."""
    kind = type(layer)
    name = kind.__name__
    if name == "GELU" and layer.approximate == "tanh":
        name = "GELU tanh"
    # Above PyTorch's own threshold the two branches agree to more digits than are printed.
    if name == "Softplus" and layer.threshold < 20.0:
        name = "Softplus linear"
    if kind.__module__.startswith("anyfw.nn.") and name in LAYERS:
        return LAYERS[name]
    if kind.__module__.startswith("anyfw.nn.") and name in SPELT:
        return SPELT[name](layer)
    return Formula(_said(kind.__doc__, kind.__name__), _said(kind.backward.__doc__, f"{kind.__name__}.backward"))


def extras(layer: Any, path: str, name: str, x: HostArray, y: HostArray) -> tuple[list[Extra], dict[str, Any]]:
    """Intermediate values that the layer's formulas name, and what else their templates need.

    Args:
        layer, path: the layer and where it is in the net.
        name, x, y: its input's name, its input and its output.
    """
    kind = type(layer).__name__
    at = f"[{path}]" if path else ""
    if kind == "Dropout":
        keep = 1.0 - layer.p
        # Where x is 0 the mask shows nowhere.
        mask = np.where((y != 0) | ((x == 0) & (keep > 0)), 1.0, 0.0)
        text = f"1, or 0 with probability {layer.p:g}"
        return [(f"mask{at}", text, mask)], {"mask": f"mask{at}", "keep": f"{keep or 1.0:g}"}
    if kind not in ("BatchNorm1d", "LayerNorm", "RMSNorm"):
        return [], {}
    lead: int | tuple[int, ...] = 0
    axes: int | tuple[int, ...]
    if kind == "BatchNorm1d":
        axes = 0 if x.ndim == 2 else (0, 2)
    else:
        inner = len(layer.normalized_shape)
        axes = -1 if inner == 1 else tuple(range(-inner, 0))
        lead = 0 if x.ndim - inner == 1 else tuple(range(x.ndim - inner))
    eps = layer.eps if layer.eps is not None else float(np.finfo(x.dtype).eps)
    mean = x.mean(axis=axes, keepdims=True)
    if kind == "RMSNorm":
        s = np.sqrt((x**2).mean(axis=axes, keepdims=True) + eps)
        found = [(f"s{at}", f"sqrt(({name}**2).mean({axes}, keepdims=True) + {eps:g})", s)]
        found.append((f"n{at}", f"{name} / s{at}", x / s))
    else:
        s = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
        found = [
            (f"m{at}", f"{name}.mean({axes}, keepdims=True)", mean),
            (f"s{at}", f"sqrt({name}.var({axes}, keepdims=True) + {eps:g})", s),
            (f"n{at}", f"({name} - m{at}) / s{at}", (x - mean) / s),
        ]
    return found, {"n": f"n{at}", "s": f"s{at}", "axes": axes, "lead": lead}


def _said(docstring: str | None, otherwise: str) -> str:
    lines = (docstring or "").strip().splitlines()
    return lines[0].rstrip(".").removeprefix("y = ") if lines else otherwise


@dataclass(frozen=True)
class LossFormula:
    """A loss spelt out for one batch: intermediate values, then value and gradient."""

    extras: tuple[Extra, ...]
    value: str
    dy: str


def of_loss(loss: Any, y: str, output: HostArray, target: HostArray) -> LossFormula:
    """The loss's formulas, with y the name of the net's output and t that of the target."""
    kind = type(loss).__name__
    elementwise = _elementwise(loss, kind, y, output, target)
    if elementwise is not None:
        return elementwise
    if kind in ("CrossEntropyLoss", "NLLLoss"):
        return _classes(loss, kind, y, output, target)
    mean = " / " + str(math.prod(target.shape)) if getattr(loss, "reduction", "mean") == "mean" else ""
    if kind == "HingeLoss":
        m = f"{loss.margin:g}"
        return LossFormula(
            (),
            f"sum over samples of max(0, {m} + (largest wrong score) - (score of t)){mean}",
            f"where that is above 0: +1 at the largest wrong score, -1 at t{mean}",
        )
    return LossFormula((), _said(type(loss).__doc__, kind), f"gradient of {kind} by {y}")


def _elementwise(loss: Any, kind: str, y: str, output: HostArray, target: HostArray) -> LossFormula | None:
    reduction = getattr(loss, "reduction", "mean")
    count = {"mean": output.size, "batchmean": output.shape[0] if output.ndim else 1}.get(reduction)
    over = "" if count is None else f" / {count}"
    if kind == "MSELoss":
        return LossFormula((), f"(({y} - t)**2).sum(){over}", f"2 * ({y} - t){over}")
    if kind == "L1Loss":
        return LossFormula((), f"abs({y} - t).sum(){over}", f"sign({y} - t){over}")
    if kind == "HuberLoss":
        d = f"{loss.delta:g}"
        value = f"where(abs(e) <= {d}, e**2 / 2, {d} * (abs(e) - {d} / 2)).sum(){over}"
        error: Extra = ("e", f"{y} - t", output - target)
        return LossFormula((error,), value, f"maximum(minimum(e, {d}), -{d}){over}")
    if kind == "BCELoss":
        value = f"-(t * log({y}) + (1 - t) * log(1 - {y})).sum(){over}"
        return LossFormula((), value, f"({y} - t) / ({y} * (1 - {y})){over}")
    if kind == "BCEWithLogitsLoss":
        probability: Extra = ("p", f"sigmoid({y})", 1.0 / (1.0 + np.exp(-output)))
        w = "" if loss.pos_weight is None else f"{loss.pos_weight!r} * "
        value = f"-(t * {w}log(p) + (1 - t) * log(1 - p)).sum(){over}"
        return LossFormula((probability,), value, f"((1 - t) * p - t * {w}(1 - p)){over}" if w else f"(p - t){over}")
    if kind == "KLDivLoss" and loss.log_target:
        return LossFormula((), f"(exp(t) * (t - {y})).sum(){over}", f"-exp(t){over}")
    if kind == "KLDivLoss":
        return LossFormula((), f"where(t > 0, t * (log(t) - {y}), 0).sum(){over}", f"-t{over}")
    if kind == "HingeLoss" and target.ndim == output.ndim:
        m = f"{loss.margin:g}"
        return LossFormula((), f"maximum(0, {m} - t * {y}).sum(){over}", f"-t * (t * {y} < {m}){over}")
    return None


def _classes(loss: Any, kind: str, y: str, output: HostArray, target: HostArray) -> LossFormula:
    labels = np.issubdtype(target.dtype, np.integer)
    classes = output.shape[-1]
    smoothing = getattr(loss, "label_smoothing", 0.0)
    text, q = ("one_hot(t)", np.eye(classes)[target]) if labels else ("t", target)
    if smoothing:
        text = f"{1 - smoothing:g} * {text} + {smoothing:g} / {classes}"
        q = (1 - smoothing) * q + smoothing / classes
    count = float(math.prod(output.shape[:-1]))
    if loss.weight is not None:
        weight = np.asarray(loss.weight, dtype=float)
        text, q = f"({text}) * {[float(w) for w in weight]}", q * weight
        count = float(weight[target].sum()) if labels else count
    over = f" / {count:.6g}" if loss.reduction == "mean" else ""
    found: list[Extra] = [("q", text, q)]
    if kind == "NLLLoss":
        return LossFormula(tuple(found), f"-(q * {y}).sum(){over}", f"-q{over}")
    shifted = np.exp(output - output.max(axis=-1, keepdims=True))
    found.append(("p", f"exp({y}) / exp({y}).sum(-1, keepdims=True)", shifted / shifted.sum(axis=-1, keepdims=True)))
    gradient = "(p - q)" if loss.weight is None else "(p * q.sum(-1, keepdims=True) - q)"
    return LossFormula(tuple(found), f"-(q * log(p)).sum(){over}", f"{gradient}{over}")
