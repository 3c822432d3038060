"""`Recipe` and `Model`: a net as JSON-able description and NumPy arrays, which is all that an estimator pickles."""

import copy
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfw import nn
from anyfw.core.arrays import Array
from anyfw.core.backend import Backend, get_backend
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter, Stored, to_host
from anyfw.interop.sklearn import optimizer_state
from anyfw.train.measuring import EVALUATION_BATCH

if TYPE_CHECKING:
    from anyfw.train import Trainer

State = dict[str, NDArray[Any]]
# The flags of a parameter that its layer's description does not hold.
_FLAGS = ("trainable", "decay")


class Recipe:
    """How to make a net again: its description, values, and which parameters are frozen or not decayed.

    Args:
        net: what to describe.
        layers: classes of the user's own that may occur in it.
        drawn: whether to keep all values, or only those that were loaded or assigned.
    """

    def __init__(self, net: Layer, layers: Sequence[type[Layer]], *, drawn: bool) -> None:
        stored = dict(net.named_stored())
        self.config, self.layers = net.config(), tuple(layers)
        self.metadata = copy.deepcopy(dict(net.metadata))
        self.values: State = {
            path: np.array(to_host(one.data)) for path, one in stored.items() if one.drawn and (drawn or one.assigned)
        }
        self.flags = {path: _flags(one) for path, one in stored.items() if isinstance(one, Parameter)}

    def make(self) -> Layer:
        """The net, undrawn but for the values that were kept.

        Raises:
            UnknownNameError: a class that is neither public in `anyfw.nn` nor among `layers`.
        """
        net = nn.from_config(self.config, self.layers)
        if self.metadata:
            net.metadata = self.metadata
        for path, one in net.named_stored():
            if path in self.values:
                one.data = self.values[path]
            for name, value in zip(_FLAGS, self.flags.get(path, ()), strict=False):
                setattr(one, name, value)
        return net


class Model:
    """A fitted net. Live, it is where it was used last; pickled and copied, it is NumPy arrays.

    Args:
        net: drawn.
        layers: classes of the user's own that occur in it.
        random: where the order of rows comes from.
        seed: of dropout.

    Attributes:
        trainer: of `partial_fit`, which goes on where it was; None otherwise.
        makings: the settings that the trainer is made of.
        optimizer_state: of the latest training, where there is no trainer.
        order: of its latest epoch.
        progress: JSON-able: what further training starts from.
    """

    def __init__(self, net: Layer, layers: Sequence[type[Layer]], random: np.random.RandomState, seed: int) -> None:
        self._net: Layer | None = net
        self._recipe: Recipe | None = None
        self._building = threading.Lock()
        self.layers, self.seed = tuple(layers), seed
        self.dtype = net.dtype
        self.random = random
        self.trainer: Trainer | None = None
        self.order: NDArray[np.int64] | None = None
        self.optimizer_state: dict[str, Any] | None = None
        self.makings: dict[str, Any] = {}
        self.progress: dict[str, Any] = {"epochs": 0, "steps": 0, "forwards": 0, "seen": 0.0}

    @property
    def net(self) -> Layer:
        """The net itself, rebuilt where it came from a pickle."""
        if self._net is None:
            with self._building:
                self._rebuild()
        assert self._net is not None
        return self._net

    def _rebuild(self) -> None:
        # Whoever waited for the lock finds it done; whoever does not wait sees the net only when it is whole.
        if self._recipe is None:
            return
        net = self._recipe.make().draw(self.seed)
        net.to("numpy", self.dtype)
        net.shared.rewind(self.progress["forwards"])
        self._net, self._recipe = net, None

    def on(self, backend: Backend) -> Layer:
        """The net, moved there."""
        net = self.net
        return net if net.backend is backend else net.to(backend)

    def outputs(self, rows: Any, backend: Backend, meaning: Any = None) -> NDArray[Any]:
        """The net's outputs for host rows, in batches; sparse ones become dense by the batch.

        Args:
            rows: shape (rows, features), an array or in CSR format.
            backend: where to compute.
            meaning: a function of outputs on the device; None leaves them as they are.

        Shapes:
            returns (rows, outputs), or what `meaning` makes of it.
        """
        net, parts = self.on(backend), []
        for start in range(0, rows.shape[0], EVALUATION_BATCH):
            part = rows[start : start + EVALUATION_BATCH]
            part = part.toarray() if hasattr(part, "toarray") else part
            y: Array = net.forward(backend.asarray(np.ascontiguousarray(part), self.dtype))
            # A copy: a layer that passes its input on would hand out the caller's own rows.
            parts.append(np.array(backend.to_numpy(y if meaning is None else meaning(y))))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def weights(self, name: str) -> list[NDArray[Any]]:
        """Each Linear's `weight` or `bias`, on the host; on NumPy they are the net's own memory."""
        found = [getattr(layer, name) for _, layer in self.net.named_layers() if isinstance(layer, nn.Linear)]
        return [to_host(parameter.data) for parameter in found]

    def remember(self, trainer: "Trainer", seen: float) -> None:
        """Note where training is."""
        forwards = trainer.net.shared.forwards
        self.progress.update(epochs=trainer.epoch, steps=trainer.step, forwards=forwards, seen=seen)

    def optimizer_now(self) -> dict[str, Any] | None:
        """The state of the optimizer, as `optimizer_state.saved` gives it."""
        return (
            self.optimizer_state
            if self.trainer is None
            else optimizer_state.saved(self.trainer.optimizer, self.trainer.net)
        )

    def __getstate__(self) -> dict[str, Any]:
        with self._building:
            recipe = self._recipe if self._net is None else Recipe(self._net, self.layers, drawn=True)
        kept = {name: value for name, value in vars(self).items() if name != "_building"}
        return {
            **kept,
            "_net": None,
            "_recipe": recipe,
            "trainer": None,
            "makings": {},
            "optimizer_state": self.optimizer_now(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._building = threading.Lock()


def backend_for(spec: str | Backend | None, own: Backend | None) -> Backend:
    """The backend that was asked for, else that of the rows, else the default one."""
    return own if spec is None and own is not None else get_backend(spec)


def _flags(stored: Stored) -> tuple[bool, ...]:
    return tuple(getattr(stored, name) for name in _FLAGS)
