"""The command line: `anyfw COMMAND ...`, one file per command.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 a check found something wrong, 2 refused,
130 interrupted, 141 nobody reads the output any more.
"""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "train": "train a network on a data set and measure it",
    "eval": "measure a trained network on test rows",
    "predict": "what a trained network says of new rows",
    "export": "a trained network as an ONNX file",
    "summary": "layers, shapes and sizes of a network",
    "trace": "every number of a forward and a backward pass",
    "verify": "compare a network's layers between backends",
    "gradcheck": "prove gradients against finite differences",
    "profile": "time, memory and arithmetic of each layer",
    "bench": "how fast a network is here, by batch size, backend and layer",
    "report": "the page of a run, made anew",
    "lab": "experiments on MNIST, in one HTML page",
    "doctor": "which backends work here, and how to mend the others",
}

_HELP = """\
anyfw: neural networks with explicit forward and backward, on NumPy or CUDA by one switch

usage: anyfw COMMAND [OPTIONS]      anyfw COMMAND --help tells more

commands
{commands}

examples
  anyfw train mnist                                  train, and print the test accuracy
  anyfw train data.npz --hidden 64 64 --epochs 20    on your own data
  anyfw eval runs/mnist                              measure it again
  anyfw predict runs/mnist digits.npy                use it
  ANYFW_BACKEND=cupy anyfw train mnist               on a GPU

Every command takes --json: one JSON object as the last line of stdout.
anyfw --version tells the version; ANYFW_DEBUG=1 shows the traceback of an error."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        argv: the arguments; those of the process if None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered must not raise again when Python closes its streams.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 141
    except KeyboardInterrupt:  # before the command could take care of it itself
        print("Interrupted.", file=sys.stderr)
        return 130
    except OSError as error:
        if os.environ.get("ANYFW_DEBUG", "") not in ("", "0"):
            raise
        print(f"error: {error.strerror or error}", file=sys.stderr)
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    return code


def _run(arguments: list[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help", "help"):
        print(_HELP.format(commands="\n".join(f"  {name:<11}{what}" for name, what in COMMANDS.items())))
        return 0
    if command in ("-V", "--version", "version"):
        from anyfw import __version__

        print(json.dumps({"version": __version__}) if "--json" in rest else f"anyfw {__version__}")
        return 0
    if command not in COMMANDS:
        return _unknown(command)
    from anyfw.core.blas_choice import choose_kernels
    from anyfw.core.errors import ConfigError

    try:
        choose_kernels()  # before the next import, which loads NumPy
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from anyfw.cli.console import run_command

    return run_command(importlib.import_module(f"anyfw.cli.{command}"), command, rest)


def _unknown(command: str) -> int:
    from difflib import get_close_matches

    kind = "option" if command.startswith("-") else "command"
    near = get_close_matches(command, COMMANDS, n=1, cutoff=0.4) if kind == "command" else []
    hint = f" Did you mean '{near[0]}'?" if near else ""
    print(f"error: unknown {kind} '{command}'.{hint} Known: {', '.join(COMMANDS)}.", file=sys.stderr)
    return 2
