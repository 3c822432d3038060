"""`anyfw doctor`: what works on this machine, and how to mend what does not."""

from dataclasses import dataclass

from anyfw import inspect
from anyfw.cli.console import Json, Result


@dataclass(frozen=True)
class Options:
    """Tell which backends really work here, which one would be chosen and why, and how to mend the others.

    Exit code 1: anyfw cannot run as it is set up.

    examples:
      anyfw doctor
      ANYFW_BACKEND=cupy anyfw doctor
    """

    json: Json = False


def run(options: Options) -> Result:  # noqa: ARG001 - the signature of every command
    """Look, and tell."""
    report = inspect.doctor()
    return Result(str(report), report.as_dict(), 0 if report.ok else 1)
