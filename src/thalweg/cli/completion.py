"""`thalweg --completion SHELL`: what has a shell complete commands, options, names and files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from typing import Any

from ..racing.options import OPTIONS
from ..rules import registry
from . import task_list

SHELLS = ("bash", "zsh", "fish")

HOW = {
    "bash": 'eval "$(thalweg --completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(thalweg --completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "thalweg --completion fish | source    # in ~/.config/fish/config.fish",
}
"""The line by which each shell learns it."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the option to the command line."""
    parser.add_argument(
        "--completion",
        action=_Print,
        choices=SHELLS,
        metavar="|".join(SHELLS),
        help="print what has a shell complete commands, options and names; in ~/.bashrc: "
        + HOW["bash"].partition(" #")[0].strip(),
    )


class _Print(argparse.Action):
    """Prints the script and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, args: Any, shell: Any, *_: Any) -> None:
        print(script(parser, shell))
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell.

    Args:
        parser: of the whole command line.
        shell: one of `SHELLS`.
    """
    import shtab

    preambles = []
    for action in _actions(parser):
        names = _names(action)
        if names:
            completed, preamble = _words(action.dest, names, files=not action.option_strings)
            action.complete = completed  # type: ignore[attr-defined]
            preambles.append(preamble[shell])
        elif action.metavar in ("DIR", "OUT"):
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in ("FILE", "PATH"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    made: str = shtab.complete(parser, shell, preamble="\n".join(dict.fromkeys(preambles)))
    if shell == "zsh":  # what is evaluated in a startup file says itself what it completes
        made += "\ncompdef _shtab_thalweg thalweg\n"
    return made


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments and options of the parser and of those of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)
        else:
            yield action


def _names(action: argparse.Action) -> Iterable[str]:
    """The names that an argument may have, where there are some."""
    option = OPTIONS.get(action.dest)
    if option is not None and option.choices:
        return option.choices
    match action.dest:
        case "task":
            tasks = json.loads(task_list.FILE.read_text(encoding="utf-8"))["tasks"]
            return [each["name"] for each in tasks]
        case "rule" | "rules" | "optimizers":
            return registry()
        case "surface":
            from ..surfaces import registry as surfaces

            return surfaces()
    return ()


def _words(
    kind: str, names: Iterable[str], *, files: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """How each shell completes some names, and what its script must define before.

    Args:
        kind: what the names are of.
        names: they.
        files: whether the argument may also be a file.
    """
    words, function = " ".join(names), f"_thalweg_{kind}"
    beside = '\n  compgen -f -X \'!*.py\' -- "$1"\n  compgen -d -S / -- "$1"' if files else ""
    pattern = "'files:file:_files -g \"*.py\"'" if files else ""
    paths = " (__fish_complete_path (commandline -ct))" if files else ""
    completed = {"bash": function, "zsh": function, "fish": f"{words}{paths}"}
    preamble = {
        "bash": f'{function}() {{\n  compgen -W "{words}" -- "$1"{beside}\n}}',
        "zsh": f"{function}() {{\n  _alternative 'names:name:({words})' {pattern}\n}}",
        "fish": "",
    }
    return completed, preamble
