"""How a command runs: its options parsed, its notes on stderr, its result on stdout, its errors in one line."""

import inspect
import json
import logging
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from textwrap import fill
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import tyro
from tyro.conf import arg

from anyfw.core.errors import AnyfwError, UnknownNameError

Json = Annotated[bool, arg(help="print one JSON object instead of text.", help_behavior_hint="")]
BackendName = Annotated[
    str | None,
    arg(
        metavar="NAME",
        help="numpy, cupy, cupy:1, torch, ..., auto.",
        help_behavior_hint="(default: ANYFW_BACKEND, else auto)",
    ),
]


# Options that take any number of numbers.
_MANY = ("--hidden", "--serve")


@dataclass(frozen=True)
class Result:
    """What a command found.

    Attributes:
        text: for people.
        data: the same for programs, JSON-able.
        code: the exit code.
    """

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    code: int = 0


def note(text: str) -> None:
    """Say something that is no result, on stderr."""
    print(text, file=sys.stderr, flush=True)


def progress_kind(name: str) -> str | bool:
    """What `Trainer(progress=...)` takes for --progress; plain lines where stderr is no terminal.

    Raises:
        UnknownNameError: neither auto, bar, lines nor none.
    """
    if name not in ("auto", "bar", "lines", "none"):
        raise UnknownNameError("progress", name, ("auto", "bar", "lines", "none"))
    return {"auto": True, "none": False}.get(name, name)


def run_command(module: ModuleType, command: str, arguments: Sequence[str]) -> int:
    """Parse the arguments into `module.Options`, call `module.run` with them, print its result."""
    try:
        with _notes_shown():
            options = tyro.cli(
                module.Options,
                prog=f"anyfw {command}",
                description=_description(module.Options.__doc__),
                args=numbers_last(arguments),
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
            )
            # What overflows becomes NaN, and a loss of NaN is an error of its own.
            with np.errstate(all="ignore"):
                result: Result = module.run(options)
        print(json.dumps(_finite(result.data), ensure_ascii=False) if options.json else result.text)
        return result.code
    except AnyfwError as error:
        if os.environ.get("ANYFW_DEBUG", "") not in ("", "0"):
            raise
        note(f"error: {error}")
        return 2
    except MemoryError as error:
        if os.environ.get("ANYFW_DEBUG", "") not in ("", "0"):
            raise
        note(f"error: not enough memory: {str(error) or 'an allocation failed'}. Use smaller layers or batches.")
        return 2
    except KeyboardInterrupt as interrupt:
        note(f"\n{interrupt or 'Interrupted.'}")
        return 130
    except SystemExit as leave:  # the parser's, after --help or a wrong option
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)


def numbers_last(arguments: Sequence[str]) -> list[str]:
    """The arguments with --hidden and --serve and their numbers at the end, so that a name may follow them too.

    >>> numbers_last(["--hidden", "64", "32", "mnist", "--serve", "--lr", "0.1"])
    ['mnist', '--lr', '0.1', '--hidden', '64', '32', '--serve']
    """
    front: list[str] = []
    back: list[str] = []
    into = front
    for word in arguments:
        if word in _MANY:
            into = back
        elif into is back and not re.fullmatch(r"[+-]?[0-9.]+", word):
            into = front
        into.append(word)
    return front + back


@contextmanager
def _notes_shown() -> Iterator[None]:
    logger, handler = logging.getLogger("anyfw"), _Notes()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _description(docstring: str) -> str:
    # tyro joins the lines of a paragraph, to a very long one, unless they are indented.
    paragraphs = inspect.cleandoc(docstring).partition("\n\nArgs:")[0].split("\n\n")
    wrapped = (text if text.startswith("examples:") else fill(text, 80, subsequent_indent="  ") for text in paragraphs)
    return "\n\n".join(wrapped)


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        warning = record.levelno >= logging.WARNING
        text = f"{record.levelname.lower()}: {record.getMessage()}" if warning else record.getMessage()
        # Once is enough; and which backend was chosen is told by whoever chose it.
        if text not in self._said and (warning or record.module != "backend"):
            self._said.add(text)
            note(text)


def _finite(value: Any) -> Any:
    # JSON has no NaN and no infinity.
    if isinstance(value, dict):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
