"""The command line: parse, call, print. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from .. import __version__, interrupts
from ..errors import ThalwegError, UsageError, unknown

_COMMANDS = (
    *("init", "race", "report", "export", "schema"),  # races
    *("rules", "draw", "play", "bench", "cache"),  # optimizers
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: the arguments after the program's name; those of the process if None.

    Returns:
        0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    _streams()
    name = ""
    try:
        given = list(sys.argv[1:] if argv is None else argv)
        parser = make_parser()
        if not given:
            parser.print_help()
            return 0
        flag = given[0].partition("=")[0]
        if flag.startswith("-") and not any(o.startswith(flag) for o in _flags(parser)):
            parser.error(f"no option named {flag!r}")
        args, rest = parser.parse_known_args(given)
        if rest:
            _refuse(parser, args.command, rest[0])
        name = f" {args.command}"
        code = _run(args)
        sys.stdout.flush()
        return code
    except UsageError as error:
        return _fail(2, f"{name}: {error}")
    except BrokenPipeError:
        return _unread()
    except (ThalwegError, OSError) as error:
        return _fail(1, f"{name}: {error}")
    except KeyboardInterrupt as stop:
        interrupts.wait_until_answered()
        return _fail(130, f"{name}: {'; '.join(('interrupted', *map(str, stop.args)))}")


def _run(args: argparse.Namespace) -> int:
    """Run the command; code of a person's own that ends the program has failed."""
    try:
        return int(args.run(args))
    except SystemExit as error:
        from ..tasks.user_errors import describe_error

        raise ThalwegError(
            f"the program was ended by {describe_error(error)}; raise an error instead"
        ) from error


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="thalweg",
        description="Gradient-descent optimizers: race them, read them, draw them, time them.",
        epilog="`thalweg COMMAND --help` explains one command.",
    )
    parser.add_argument("--version", action="version", version=f"thalweg {__version__}")
    import_module(".completion", __name__).add(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in _COMMANDS:
        import_module(f".{name}", __name__).add(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        between = " " if message.endswith("?") else "; "
        self.exit(2, f"{self.prog}: {message}{between}`{self.prog} --help` explains\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            kind = "command" if action.dest == "command" else action.dest
            shown = action if action.option_strings else None
            raise argparse.ArgumentError(shown, str(unknown(kind, value, action.choices)))


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a command, and short ones that have no other."""
    return [flag for action in parser._actions for flag in action.option_strings[-1:]]


def _refuse(parser: argparse.ArgumentParser, command: str, argument: str) -> NoReturn:
    """End with a line about an argument that the command does not take."""
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    own: argparse.ArgumentParser = commands.choices[command]
    if argument.startswith("-"):
        said = str(unknown("option", argument.partition("=")[0], _flags(own)))
        own.error(said.partition("; known: ")[0])  # which are many, and in the help
    own.error(f"{argument!r} is one argument too many")


def _streams() -> None:
    """Make the standard streams take whatever is printed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without β prints ? instead


def _fail(code: int, message: str) -> int:
    with suppress(OSError):  # nobody may be reading
        print(f"thalweg{message}", file=sys.stderr)
    return code


def _unread() -> int:
    """The reader of one of our streams has left, as `head` does: that is no failure."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # What is still buffered has nowhere to go, and must not fail again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return 0
