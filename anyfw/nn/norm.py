"""Normalisation layers."""

import math
from collections.abc import Sequence

from anyfw.core.arrays import Array, dtype_name, is_floating, namespace
from anyfw.core.errors import ConfigError, PlacementError, ShapeError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Buffer, Parameter
from anyfw.ops import normalize as ops

# The spacing of floating-point numbers at 1: PyTorch's eps of an RMSNorm that was given none.
_SPACING = {"float32": 2.0**-23, "float64": 2.0**-52}


class BatchNorm1d(Layer):
    """y = weight (x - mean) / sqrt(variance + eps) + bias, with each feature's mean and variance over the batch.

    Training uses the batch's own statistics and moves the running ones towards them (the running variance is that
    of n - 1); inference uses the running ones, or the batch's where none are tracked.

    Args:
        num_features: at least 1.
        eps: added to the variance.
        momentum: the step of the running statistics from 0 to 1; None keeps the mean of all batches so far.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics.

    Shapes:
        x and y: (batch, num_features) or (batch, num_features, time); all parameters and buffers (num_features,),
        but num_batches_tracked ().

    Raises:
        ConfigError: a setting outside its range.
        ShapeError: in forward, another shape, or one value only for each feature in training.

    Source: Ioffe and Szegedy, arXiv:1502.03167.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        _expect_settings("BatchNorm1d", (num_features,), eps)
        if momentum is not None and not 0.0 <= momentum <= 1.0:
            raise ConfigError(f"BatchNorm1d: expected a momentum from 0 to 1 or None, got {momentum}.")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        shape = (num_features,)
        self.weight = Parameter(shape, "ones") if affine else None
        self.bias = Parameter(shape, "zeros") if affine else None
        self.running_mean = Buffer(shape, "zeros") if track_running_stats else None
        self.running_var = Buffer(shape, "ones") if track_running_stats else None
        self.num_batches_tracked = Buffer((), "zeros", dtype="int64") if track_running_stats else None

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """Normalise by the batch in training, by the running statistics in inference."""
        self._expect_shape(x, train)
        weight, bias = _data(self.weight), _data(self.bias)
        if not train and self.running_mean is not None and self.running_var is not None:
            return ops.batch_norm_inference(x, weight, bias, self.running_mean.data, self.running_var.data, self.eps)
        y, mean, variance, rstd = ops.batch_norm(x, weight, bias, self.eps)
        if train:
            self._track(mean, variance, math.prod(x.shape) / self.num_features)
            self.push(x, mean, rstd)
        return y

    def backward(self, dy: Array, /) -> Array:
        """The gradients by x, weight and bias; derived at `ops.batch_norm_grad`."""
        x, mean, rstd = self.pop()
        dx, dweight, dbias = ops.batch_norm_grad(dy, x, _data(self.weight), mean, rstd)
        _add(self.weight, dweight)
        _add(self.bias, dbias)
        return dx

    def _track(self, mean: Array, variance: Array, n: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        # Local names: `+=` on the property `data` would go through its setter, which copies by the host.
        count, running_mean, running_var = (
            stored.data for stored in (self.num_batches_tracked, self.running_mean, self.running_var)
        )
        count += 1
        if self.momentum is None:
            step = 1.0 / namespace(mean).astype(count, mean.dtype)
        else:
            step = self.momentum
        for running, new in ((running_mean, mean), (running_var, variance * (n / (n - 1.0)))):
            running *= 1.0 - step
            running += step * new

    def _expect_shape(self, x: Array, train: bool) -> None:
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            raise ShapeError(
                f"{self.who}: expected (batch, {self.num_features}) or (batch, {self.num_features}, time), "
                f"got shape {tuple(x.shape)}."
            )
        _expect_dtype(self, x)
        if train and math.prod(x.shape) <= self.num_features:
            raise ShapeError(
                f"{self.who}: expected more than one value for each feature in training, got shape {tuple(x.shape)}. "
                "Use a larger batch, or leave out the last, smaller one: fit(..., drop_last=True)."
            )


class LayerNorm(Layer):
    """y = weight (x - mean) / sqrt(variance + eps) + bias, with mean and variance of each sample's last axes.

    Args:
        normalized_shape: the last axes, or the last one's length.
        eps: added to the variance.
        elementwise_affine: whether there is a weight, and with `bias` also a bias.
        bias: see there.

    Shapes:
        x and y: (..., *normalized_shape); weight and bias: normalized_shape.

    Raises:
        ConfigError: a setting outside its range.
        ShapeError: in forward, other last axes.

    Source: Ba, Kiros and Hinton, arXiv:1607.06450.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape)
        _expect_settings("LayerNorm", self.normalized_shape, eps)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._bias = bias
        self.weight = Parameter(self.normalized_shape, "ones") if elementwise_affine else None
        self.bias = Parameter(self.normalized_shape, "zeros") if elementwise_affine and bias else None

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """Normalise each sample."""
        rows = _rows(self, x, self.normalized_shape)
        y, mean, rstd = ops.layer_norm(rows, _flat(self.weight), _flat(self.bias), self.eps)
        if train:
            self.push(rows, mean, rstd)
        return _like(y, x)

    def backward(self, dy: Array, /) -> Array:
        """The gradients by x, weight and bias; derived at `ops.layer_norm_grad`."""
        rows, mean, rstd = self.pop()
        dx, dweight, dbias = ops.layer_norm_grad(_like(dy, rows), rows, _flat(self.weight), mean, rstd)
        _add(self.weight, dweight)
        _add(self.bias, dbias)
        return _like(dx, dy)

    def arguments(self) -> dict[str, object]:
        """The attribute `bias` is the parameter; the argument says whether there is one."""
        return {**super().arguments(), "bias": self._bias}


class RMSNorm(Layer):
    """y = weight x / sqrt(mean(x^2) + eps), with the mean of each sample's last axes.

    Args:
        normalized_shape: the last axes, or the last one's length.
        eps: added to the mean; None is the spacing of the dtype's numbers at 1.
        elementwise_affine: whether there is a weight.

    Shapes:
        x and y: (..., *normalized_shape); weight: normalized_shape.

    Raises:
        ConfigError: a setting outside its range.
        ShapeError: in forward, other last axes.

    Source: Zhang and Sennrich, arXiv:1910.07467.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape)
        _expect_settings("RMSNorm", self.normalized_shape, 0.0 if eps is None else eps)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(self.normalized_shape, "ones") if elementwise_affine else None

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """Normalise each sample."""
        rows = _rows(self, x, self.normalized_shape)
        eps = _SPACING[dtype_name(x)] if self.eps is None else self.eps
        y, rstd = ops.rms_norm(rows, _flat(self.weight), eps)
        if train:
            self.push(rows, rstd)
        return _like(y, x)

    def backward(self, dy: Array, /) -> Array:
        """The gradients by x and weight; derived at `ops.rms_norm_grad`."""
        rows, rstd = self.pop()
        dx, dweight = ops.rms_norm_grad(_like(dy, rows), rows, _flat(self.weight), rstd)
        _add(self.weight, dweight)
        return _like(dx, dy)


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _expect_settings(layer: str, shape: tuple[int, ...], eps: float) -> None:
    if not shape or any(width < 1 for width in shape):
        raise ConfigError(f"{layer}: expected widths of at least 1, got {shape}.")
    if not 0.0 <= eps < math.inf:
        raise ConfigError(f"{layer}: expected eps of at least 0, got {eps}.")


def _expect_dtype(layer: Layer, x: Array) -> None:
    if not is_floating(x):
        raise PlacementError(f"{layer.who}: expected {layer.dtype}, got {dtype_name(x)}. Cast the input.")


def _rows(layer: Layer, x: Array, shape: tuple[int, ...]) -> Array:
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ShapeError(
            f"{layer.who}: expected last axes {shape}, got shape {tuple(x.shape)}. Is a layer missing before it?"
        )
    _expect_dtype(layer, x)
    return namespace(x).reshape(x, (-1, math.prod(shape)))


def _like(y: Array, x: Array) -> Array:
    return y if y.shape == x.shape else namespace(y).reshape(y, x.shape)


def _data(parameter: Parameter | None) -> Array | None:
    return None if parameter is None else parameter.data


def _flat(parameter: Parameter | None) -> Array | None:
    if parameter is None or len(parameter.shape) == 1:
        return _data(parameter)
    return namespace(parameter.data).reshape(parameter.data, (-1,))


def _add(parameter: Parameter | None, grad: Array) -> None:
    if parameter is not None:
        parameter.add_grad(_like(grad, parameter))
