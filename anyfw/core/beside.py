"""Work in a thread beside this one."""

import threading
from collections.abc import Callable


def beside(work: Callable[[], object]) -> Callable[[], None]:
    """Begin the work; returns what waits for it, and raises what it raised.

    While the interpreter ends no thread begins any more: then it is done here and now.
    """
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="anyfw-beside")
    try:
        thread.start()
    except RuntimeError:
        run()

    def wait() -> None:
        if thread.ident is not None:
            thread.join()
        if failed:
            raise failed[0]

    return wait
