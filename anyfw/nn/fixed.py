"""What layers without parameters have in common."""

from anyfw.core.arrays import Array
from anyfw.core.layer import Layer


class Fixed(Layer):
    """Abstract: a layer without parameters that pushes once in each `forward(train=True)`.

    Before the first layer that learns, nobody needs its gradient: `accumulate` only forgets what forward saved,
    whatever dy is. Containers count on that, and stop the backward pass at the first layer that learns.
    """

    _learns_nothing = True

    def accumulate(self, dy: Array, /) -> None:  # noqa: ARG002 - there is nothing to add it to
        """Forget what forward saved."""
        self.pop()
