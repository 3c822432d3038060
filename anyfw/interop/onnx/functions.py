"""As much of the Array API standard as `Value`s know: a reference of `anyfw.ops`, given one, writes its nodes.

That is for what onnxruntime has no kernel of in float64: Elu, Selu, Softplus, Erf. Each has one formula.
"""

from anyfw.interop.onnx.value import Operand, Value


def abs(x: Value, /) -> Value:  # noqa: A001 - the standard's name
    """|x|."""
    return x.graph.node("Abs", x)


def copysign(x: Value, y: Value, /) -> Value:
    """|x| with the sign of y; 0 where y is 0, which the standard gives the sign of the zero."""
    return abs(x) * y.graph.node("Sign", y)


def exp(x: Value, /) -> Value:
    """e^x."""
    return x.graph.node("Exp", x)


def expm1(x: Value, /) -> Value:
    """e^x - 1, without cancellation near 0: with t = tanh(x / 2) it is 2 t / (1 - t); for x up to 30."""
    t = x.graph.node("Tanh", 0.5 * x)
    return 2.0 * t / (1.0 - t)


def log1p(x: Value, /) -> Value:
    """log(1 + x); of a small x as many digits as 1 + x keeps."""
    return x.graph.node("Log", 1.0 + x)


def maximum(x: Value, y: Operand, /) -> Value:
    """The larger of both."""
    return x.graph.node("Max", x, y)


def minimum(x: Value, y: Operand, /) -> Value:
    """The smaller of both."""
    return x.graph.node("Min", x, y)


def tanh(x: Value, /) -> Value:
    """The hyperbolic tangent."""
    return x.graph.node("Tanh", x)


def where(condition: Value, x: Operand, y: Operand, /) -> Value:
    """X where the condition holds, else y; one of them is a `Value`."""
    return condition.graph.node("Where", condition, x, y)
