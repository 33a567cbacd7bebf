"""Times in seconds as people write and read them: "10m", "1h30m", 2.5 min."""

from __future__ import annotations

import math
import re

from .errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([smhd])", re.ASCII)


def shown(seconds: float) -> str:
    """A time in seconds, in minutes from two minutes on, in hours from two hours on."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f}\u202f{name}"
    return f"{seconds:.0f}\u202fs"


def clock(seconds: float | None) -> str:
    """A time as a clock shows it, 1:02:03; dashes for one that is not known."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def seconds_of(name: str, given: object) -> float:
    """A time in seconds.

    Args:
        name: of the argument, for the message.
        given: seconds, or text as "90s", "10m" or "1h30m"; text without a unit is in seconds.

    Raises:
        UsageError: it is no time, or not above 0.
    """
    found = math.nan
    if isinstance(given, str):
        text = given.strip().lower()
        if re.fullmatch(r"[\d.]+", text, re.ASCII) and text.count(".") < 2 and text != ".":
            found = float(text)
        elif text and not _PART.sub("", text).strip():
            found = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    elif isinstance(given, int | float) and not isinstance(given, bool):
        found = float(given)
    if not 0 < found < math.inf:
        raise UsageError(f"{name}={given!r} must be a time above 0, as 90s, 10m or 1h30m")
    return found
