"""Ctrl-C during training: noted, and acted on between two steps, so that the state is never half of a step."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupt:
    """Within the block, the first Ctrl-C sets `requested`; a second one interrupts at once, as usual."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None
        # Only the main thread may handle signals; elsewhere Ctrl-C goes where Python sends it.
        self._handles = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._handles:
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        if self._handles and self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
