"""`History`: one number per epoch for everything that was measured."""

from collections.abc import Iterator, Mapping
from typing import Any


class History(Mapping[str, list[Any]]):
    """What training measured: `history["loss"]`, `history["valid_accuracy"]`, ... each one entry per epoch.

    "loss" and the metrics' names are means over the epoch's training batches, as the net learns; "valid_..." are
    measured after the epoch; "lr" is the learning rate of the epoch's last step; "seconds" its wall time.

    Args:
        columns: what another history held.
    """

    def __init__(self, columns: Mapping[str, list[Any]] | None = None) -> None:
        self._columns = {name: list(values) for name, values in (columns or {}).items()}

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one epoch; what other epochs have and this one lacks becomes None, and the reverse."""
        before = self.epochs
        for name in row:
            self._columns.setdefault(name, [None] * before)
        for name, values in self._columns.items():
            values.append(row.get(name))

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return max((len(values) for values in self._columns.values()), default=0)

    @property
    def last(self) -> dict[str, Any]:
        """The latest epoch's numbers."""
        return {name: values[-1] for name, values in self._columns.items()} if self.epochs else {}

    def as_dict(self) -> dict[str, list[Any]]:
        """A JSON-able copy."""
        return {name: list(values) for name, values in self._columns.items()}

    def __getitem__(self, name: str) -> list[Any]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.last.items())
        return f"History({self.epochs} epochs; last: {shown})"
