"""The command line: parse, call, print. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..errors import ThalwegError, UsageError

_COMMANDS = ("race", "rules", "draw")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: the arguments after the program's name; those of the process if None.

    Returns:
        0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="thalweg",
        description="Gradient-descent optimizers: race them, read them, draw them.",
        epilog="`thalweg COMMAND --help` explains one command.",
    )
    parser.add_argument("--version", action="version", version=f"thalweg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in _COMMANDS:
        import_module(f".{name}", __name__).add(commands)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without β prints ? instead
    args = parser.parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except UsageError as error:
        print(f"thalweg {args.command}: {error}", file=sys.stderr)
        return 2
    except (ThalwegError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # The reader of our output has gone; nothing is left to say and nowhere to say it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"thalweg {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"thalweg {args.command}: interrupted", file=sys.stderr)
        return 130
