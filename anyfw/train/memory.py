"""What a training step that did not fit was made of."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from anyfw.core.arrays import arrays_in, nbytes
from anyfw.core.errors import OutOfMemoryError
from anyfw.train.feed import Feed, Resident

if TYPE_CHECKING:
    from anyfw.train.trainer import Trainer

_NAMED = 5


def out_of_memory(trainer: "Trainer", feed: Feed) -> OutOfMemoryError:
    """The error for a step that ran out of memory: where, at which batch size, what is largest, and what to do.

    What forward had kept for backward until then is counted by layer.
    """
    net, plan = trainer.net, trainer.plan
    assert plan is not None
    held = sorted(_held(trainer, feed), key=lambda found: -found[1])
    largest = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in held[:_NAMED] if size)
    memory = net.backend.memory()
    left = "" if memory is None else f" ({memory[0] / 1e6:,.0f} of {memory[1] / 1e6:,.0f} MB free)"
    advice = [f"Use a batch_size below {plan.batch_size}, with accumulate={2 * trainer.accumulate} for the same step"]
    if isinstance(feed, Resident):
        advice.append("leave the data on the host (on_device=False)")
    return OutOfMemoryError(
        f"A step does not fit into the memory of {net.backend.spec}{left} at batch_size {plan.batch_size}. "
        f"Largest so far: {largest}. {', or '.join(advice)}."
    )


def _held(trainer: "Trainer", feed: Feed) -> Iterator[tuple[str, int]]:
    parameters = list(trainer.net.parameters())
    yield "parameters", sum(nbytes(parameter.data) for parameter in parameters)
    yield "gradients", sum(nbytes(parameter.data) for parameter in parameters if parameter.trainable)
    yield "optimizer state", sum(map(nbytes, trainer.optimizer.state_arrays()))
    if isinstance(feed, Resident):
        yield "data", sum(nbytes(column) for column in feed.columns)
    counted: set[int] = set()
    for _, layer in trainer.net.named_layers():
        new = {id(array): nbytes(array) for array in arrays_in(layer._saved) if id(array) not in counted}
        counted |= new.keys()
        yield f"saved by {layer.who}", sum(new.values())
