"""What the layers of a net tell of its input."""

from collections.abc import Iterable

from anyfw.core.layer import Layer


def input_features(layers: Iterable[Layer]) -> tuple[int, ...] | None:
    """The last axes of the input that the first of these layers tells that knows any; None where none does."""
    for layer in layers:
        for name in ("in_features", "num_features", "normalized_shape"):
            features = getattr(layer, name, None)
            if isinstance(features, int):
                return (features,)
            if isinstance(features, tuple) and all(isinstance(axis, int) for axis in features):
                return features
    return None
