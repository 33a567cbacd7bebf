"""What the package raises; the command line turns each into one line and an exit code."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class ThalwegError(Exception):
    """Something failed that is not the caller's mistake: a full disk, a newer record (exit 1)."""


class UsageError(ThalwegError, ValueError):
    """An argument that cannot work; the message names it, its value and the fix (exit 2)."""


class MissingPackage(UsageError, ImportError):
    """A package that only some uses need is not installed; the message names the extra for it."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist, naming the nearest ones that do."""
    names = {plain_name(each): each for each in known}
    near = difflib.get_close_matches(plain_name(str(name)), names, n=3, cutoff=0.5)
    said = [names[each] for each in near]
    hint = f"did you mean {' or '.join(said)}?" if near else f"known: {', '.join(names.values())}"
    return UsageError(f"no {kind} named {name!r}; {hint}")


def known_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The one of the known names that is meant; capitals, hyphens and spaces do not matter.

    Args:
        kind: what the names are of, for the message.
        name: as a person wrote it: "adam", "Adam", "rmsprop-centered".
        known: the names there are.

    Raises:
        UsageError: it is none of them; the message names the nearest ones.
    """
    names = list(known)
    if name in names:
        return name
    alike = [each for each in names if plain_name(each) == plain_name(name)]
    if len(alike) != 1:
        raise unknown(kind, name, names)
    return alike[0]


def plain_name(name: str) -> str:
    """A name without capitals, hyphens, underscores and spaces."""
    return re.sub(r"[-_\s]+", "", name).lower()


def check_count(name: str, value: object) -> None:
    """Refuse an argument that is no whole number from 1 on.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name}={value!r} must be a whole number, at least 1")
