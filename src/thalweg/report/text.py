"""Values and words as text: numbers, units, formulas. The templates escape what is text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree

from .. import durations
from ..records import Interval, Metric, OptimizerResult, Value

DASH = "–"

# The presentation elements and attributes of MathML Core that a formula may use. Everything else
# is left out, so that a formula in a document from elsewhere can carry no script and no link.
_TAGS = (
    "math mrow mi mn mo mtext mspace ms mfrac msqrt mroot mstyle mpadded mphantom msub msup "
    "msubsup munder mover munderover mtable mtr mtd"
)
_MATH_TAGS = frozenset(_TAGS.split())
_ATTRIBUTES = (
    "accent accentunder columnalign columnspacing columnspan depth dir display displaystyle "
    "fence form height largeop linethickness lspace mathvariant maxsize minsize movablelimits "
    "rowspacing rowspan rspace scriptlevel separator stretchy symmetric voffset width"
)
_MATH_ATTRIBUTES = frozenset(_ATTRIBUTES.split())


def finite(value: Any) -> float | None:
    """The value as a float, or None where it is absent, not a number, or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def words(value: Any) -> str:
    """A value of any kind as text; a dash for None or nothing."""
    if value is None or value == "":
        return DASH
    return number(value) if isinstance(value, float) else str(value)


def number(value: Any, digits: int = 3) -> str:
    """A number with `digits` significant digits, written as code would: 0.003, 1e-5."""
    known = finite(value)
    if known is None:
        return DASH
    mantissa, _, exponent = f"{known:.{digits}g}".partition("e")
    return _minus(f"{mantissa}e{int(exponent)}" if exponent else mantissa)


def count(value: Any) -> str:
    """A whole number, its thousands parted by thin spaces."""
    known = finite(value)
    return DASH if known is None else f"{known:,.0f}".replace(",", "\u202f")


def amount(value: Any) -> str:
    """A quantity of training: a whole number from 100 on, else three digits."""
    known = finite(value)
    return count(known) if known is not None and known >= 100 else number(known)


def share(value: Any) -> str:
    """A share of one as a percentage."""
    known = finite(value)
    return DASH if known is None else f"{100 * known:.0f}\u202f%"


def duration(seconds: Any) -> str:
    """A time in seconds, in minutes from two minutes on, in hours from two hours on."""
    known = finite(seconds)
    return DASH if known is None else durations.shown(known)


def fixed(value: Any, decimals: int) -> str:
    """A number with fixed decimals, so that a column lines up; scientific where that is silly."""
    known = finite(value)
    if known is None:
        return DASH
    if abs(known) >= 1e6 or 0 < abs(known) < 0.1**decimals:
        return number(known)
    return _minus(f"{known:.{decimals}f}")


def decimals_of(half_widths: Sequence[float]) -> int:
    """Decimals that show the typical one of some intervals' half-widths with two digits."""
    widths = sorted(w for w in half_widths if w > 0)
    if not widths:
        return 4
    return min(6, max(0, 1 - math.floor(math.log10(widths[len(widths) // 2]))))


def half_width(estimate: Interval | None) -> float | None:
    """Half the width of an interval; None where a bound is not known."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return (estimate.high - estimate.low) / 2


def interval(estimate: Interval | None, decimals: int | None = None) -> str:
    """An estimate as `mean [low, high]`, with decimals that suit its width unless given."""
    if estimate is None:
        return DASH
    half = half_width(estimate)
    if half is None:
        return number(estimate.mean, 4)
    if decimals is None:
        decimals = decimals_of([half])
    low, high = fixed(estimate.low, decimals), fixed(estimate.high, decimals)
    return f"{fixed(estimate.mean, decimals)} [{low}, {high}]"


def rank(entry: OptimizerResult, ties: int) -> str:
    """A place in the order: `1=` for all that tie for first; a dash where there are no ranks.

    Args:
        entry: of an optimizer.
        ties: how many tie for first.
    """
    if entry.tied:
        return "1=" if ties > 1 else "1"
    return count(entry.rank)


def diverged(entry: OptimizerResult) -> tuple[str, str]:
    """The shares of the runs that diverged as settings were searched, and when they were judged.

    A document of a version that did not tell them apart has one share, of all runs.
    """
    if entry.diverged_final is None:
        return share(entry.diverged), DASH
    return share(entry.diverged_tuning), share(entry.diverged_final)


def margin(metric: Metric) -> str:
    """The difference in a metric that matters: an amount, a share of the better score, or both."""
    amount, part = finite(metric.margin), finite(metric.relative_margin)
    known = [number(amount)] if amount or not part else []
    known += [f"{number(100 * part)}\u202f%"] if part else []
    return " and ".join(known)


def plain_value(value: Any) -> str:
    """A setting's value as unescaped text; near 1, as β₂ is, with two digits of what is missing."""
    if value is None:
        return DASH
    if not isinstance(value, float):
        return str(value)
    if 0.9 < value < 1:
        return f"{value:.{1 - math.floor(math.log10(1 - value))}f}"
    return number(value)


def settings(configuration: Mapping[str, Value]) -> str:
    """A configuration as `name value, name value`."""
    if not configuration:
        return DASH
    return ", ".join(f"{name}\u00a0{plain_value(v)}" for name, v in configuration.items())


def formula(markup: str | None) -> str:
    """A formula's MathML, kept to presentation elements; escaped as text if it is not that."""
    if markup is None or not markup.strip():
        return ""
    try:
        root = ElementTree.fromstring(f"<div>{markup}</div>")
        kept = "".join(_math(child) for child in root if _local(child.tag) == "math")
    except (ElementTree.ParseError, RecursionError):  # the latter of what is nested too deeply
        return f"<pre>{escape(markup)}</pre>"
    return f'<div class="formula" tabindex="0">{kept}</div>' if kept else ""


def _math(element: ElementTree.Element) -> str:
    tag = _local(element.tag)
    if tag not in _MATH_TAGS:
        return ""
    attributes = "".join(
        f' {name}="{escape(value)}"'
        for name, value in element.attrib.items()
        if name in _MATH_ATTRIBUTES
    )
    inside = escape(element.text or "") + "".join(
        _math(child) + escape(child.tail or "") for child in element
    )
    return f"<{tag}{attributes}>{inside}</{tag}>"


def _local(tag: Any) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _minus(text: str) -> str:
    # Only a leading sign: the exponent stays as code would have it, to be copied.
    return "−" + text[1:] if text.startswith("-") else text
