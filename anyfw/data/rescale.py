"""The numbers for `nn.Rescale(scale, shift)`, the first layer of a network on raw inputs."""

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import DataError
from anyfw.data.base import HostArray

Factor = float | NDArray[np.float64]


def fit_rescale(x: HostArray, *, image: bool = False) -> tuple[Factor, Factor]:
    """`(scale, shift)` such that x * scale + shift suits a network; fit it on training rows only.

    - uint8: scale 1/255 and shift 0, whatever the values.
    - bool: scale 1 and shift 0.
    - other tables: each feature to mean 0 and standard deviation 1 over the rows; a feature that never
      changes is left alone (scale 1, shift 0).
    - other images (`image=True`): all pixels by one mean and one standard deviation, which keeps the picture.

    Shapes: x (rows, features); results are numbers, or float64 of shape (features,) for tables.

    Raises:
        DataError: values too large, or too close together, for a standard deviation in float64.

    >>> fit_rescale(np.array([[1.0, 7.0], [3.0, 7.0]]))
    (array([1., 1.]), array([-2.,  0.]))
    """
    if x.dtype == np.uint8:
        return 1.0 / 255.0, 0.0
    if x.dtype == np.bool_:
        return 1.0, 0.0
    # Equal ends, not a deviation of 0, mark a feature that never changes: the mean of equal values rounds.
    axis = None if image else 0
    constant = np.asarray(x.max(axis=axis) == x.min(axis=axis))
    with np.errstate(all="ignore"):
        mean = np.where(constant, 0.0, x.mean(axis=axis, dtype=np.float64))
        scale = 1.0 / np.where(constant, 1.0, x.std(axis=axis, dtype=np.float64))
        shift = -mean * scale + 0.0
    usable = np.isfinite(scale) & np.isfinite(shift) & (scale > 0)
    if not usable.all():
        which = "x" if image else f"x, feature {int(np.argmin(usable))}"
        raise DataError(
            f"{which}: expected values of which float64 can hold the variance, got values too large or too "
            "close together. Change their unit."
        )
    if image:
        return float(scale), float(shift)
    return scale, shift
