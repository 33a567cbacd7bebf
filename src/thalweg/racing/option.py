"""What an option of a race is, how the command line reads one, and what refuses its values.

It imports no framework, so that the command line can be read without one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from typing import Any

from ..durations import seconds_of
from ..errors import UsageError, known_name
from ..rules.ranges import Choice

SEED_SETS = 1 << 14
"""How many sets of seeds there are, which share no run."""


@dataclass(frozen=True)
class Option:
    """What is known of an option beside its name and type.

    Attributes:
        about: what it is, in a sentence without its full stop.
        default: what it is where it is left out.
        python: what else there is to know in Python.
        shell: what else there is to know on the command line; all of it where its flag there
            says the opposite.
        metavar: what stands for its value in the command line's help; none for a switch.
        read: turns an argument of the command line into a value; None where the command line has
            no such option.
        choices: the names that it may be.
        check: refuses a value, by name and value.
        flag: its name on the command line, where that is not its own.
    """

    about: str
    default: Any = None
    python: str = ""
    shell: str = ""
    metavar: str | None = None
    read: Callable[[str], Any] | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[str, object], None] | None = None
    flag: str = ""

    def checked(self, name: str, value: Any) -> Any:
        """The value, if it can work; what needs the task or a framework is checked later.

        Args:
            name: of the option.
            value: that it was given; a choice may have other capitals.

        Raises:
            UsageError: it is none of the names to choose from, or no such number.
        """
        if value is None:
            return None
        if self.choices and isinstance(value, str):
            return known_name(name, value, self.choices)
        if self.check is not None:
            self.check(name, value)
        return value


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, as 10 is") from None


def number(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, as 0.05 is") from None


def duration(text: str) -> float:
    """A time in seconds: `90s`, `10m`, `1h30m`."""
    try:
        return seconds_of("--time", text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error).partition("=")[2]) from None


def check_duration(name: str, value: object) -> None:
    """Refuse what is no time.

    Raises:
        UsageError: it is none.
    """
    seconds_of(name, value)


def names(text: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def rates(text: str) -> list[float] | dict[str, list[float]]:
    """Learning rates, or one optimizer's: `1e-3,1e-2` or `adam=1e-3,1e-2`."""
    name, named, values = text.rpartition("=")
    try:
        found = [float(value) for value in values.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither A,B,… nor NAME=A,B,…, as in 1e-3,1e-2 or adam=1e-3,1e-2"
        ) from None
    return {name.strip(): found} if named else found


def search_space(text: str) -> dict[str, dict[str, tuple[float, float] | Choice]]:
    """Where one optimizer's hyperparameter is searched: `adam.lr=1e-5..1e-2`, or its choices.

    Choices are separated by commas: `adamw.weight_decay=0,1e-2`.
    """
    what, _, values = text.partition("=")
    name, _, hyper = what.strip().rpartition(".")
    low, between, high = values.partition("..")
    found: tuple[float, float] | Choice | None = None
    with suppress(ValueError):
        found = (
            (float(low), float(high)) if between else Choice(tuple(map(float, values.split(","))))
        )
    if not (name and hyper and found):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither NAME.HYPER=LOW..HIGH nor NAME.HYPER=A,B,…, as in "
            "adam.lr=1e-5..1e-2 or adamw.weight_decay=0,1e-2"
        )
    return {name: {hyper: found}}


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Raises:
        UsageError: it is neither.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{name}={value!r} must be True or False")


def check_text(name: str, value: object) -> None:
    """Refuse what is no text, or empty.

    Raises:
        UsageError: it is.
    """
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name}={value!r} must be text, and not empty")


def check_names(name: str, value: object) -> None:
    """Refuse what is neither a name nor a list of some.

    Raises:
        UsageError: it is neither.
    """
    listed = [value] if isinstance(value, str) else value
    named = isinstance(listed, Sequence) and all(isinstance(each, str) and each for each in listed)
    if not (named and listed):
        raise UsageError(f"{name}={value!r} must be a name or a list of names, and not empty")


def check_folder_name(name: str, value: object) -> None:
    """Refuse what names no folder.

    Raises:
        UsageError: it is empty, or no path.
    """
    if not isinstance(value, str | PathLike) or not str(value).strip():
        raise UsageError(f"{name}={value!r} must name a folder, as races/mine")


def check_first_seed(name: str, value: object) -> None:
    """Refuse what is no number of a set of seeds.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < SEED_SETS:
        raise UsageError(f"{name}={value!r} must be a whole number from 0 to {SEED_SETS - 1:,}")


def check_ranges(name: str, value: object) -> None:
    """Refuse what is no mapping of optimizers to mappings of hyperparameters.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, Mapping) or not all(isinstance(v, Mapping) for v in value.values()):
        raise UsageError(
            f"{name}={value!r} must give ranges by optimizer and hyperparameter, as "
            '{"adam": {"lr": (1e-5, 1e-2)}}'
        )


def check_callbacks(name: str, value: object) -> None:
    """Refuse what is no list of callbacks.

    Raises:
        UsageError: it is none, or something in it is not made from `thalweg.callbacks.Callback`.
    """
    from ..callbacks import Callback  # with the documents of a race, which most uses need not

    if not isinstance(value, Sequence) or not all(isinstance(one, Callback) for one in value):
        raise UsageError(
            f"{name}={value!r} must be a list of callbacks, as "
            "[thalweg.callbacks.TensorBoard('runs')], or of a class derived from "
            "thalweg.callbacks.Callback"
        )


def switch(text: str) -> bool:
    """Stands for an option without a value, which is never read."""
    raise ValueError(text)


def in_python(option: Option) -> str:
    """What is said of an option where it is an argument."""
    return "; ".join(filter(None, (option.about, option.python)))


def in_shell(option: Option) -> str:
    """What is said of an option on the command line."""
    if option.flag.startswith("--no-"):
        return option.shell
    return "; ".join(filter(None, (option.about, option.shell)))


def flag_of(name: str, option: Option) -> str:
    """An option's name on the command line."""
    return option.flag or f"--{name.replace('_', '-')}"
