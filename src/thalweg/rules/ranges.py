"""Where to look for a hyperparameter's best value: ranges, walked by a share from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

_DIGITS = 3  # of the values that a search tries


@dataclass(frozen=True)
class LogRange:
    """A search range for a positive hyperparameter: `decades` powers of ten around `centre`."""

    centre: float
    decades: float = 4.0

    def at(self, share: float) -> float:
        """The value that far along; a share outside [0, 1] lies beyond the range."""
        return _rounded(self.centre * 10 ** ((share - 0.5) * self.decades))

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return self.at(0.0), self.at(1.0)


@dataclass(frozen=True)
class NearOne:
    """A range for what is an average's memory, as β₂: even in the logarithm of 1 − value."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """The value that far along; a share outside [0, 1] lies beyond the range, above 0."""
        rest = (1 - self.low) * ((1 - self.high) / (1 - self.low)) ** share
        return max(0.0, round(1 - _rounded(rest), 12))

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return self.low, self.high


@dataclass(frozen=True)
class LinearRange:
    """An even range; there is nothing beyond its ends."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """The value that far along, the nearest end for a share outside [0, 1]."""
        return _rounded(self.low + min(1.0, max(0.0, share)) * (self.high - self.low))

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """A few values to choose from, in no order."""

    options: tuple[float | str | None, ...]

    def at(self, share: float) -> float | str | None:
        """The option that far along."""
        last = len(self.options) - 1
        return self.options[min(last, max(0, int(share * len(self.options))))]


Range = LogRange | NearOne | LinearRange  # of numbers; what a rule's `search` holds


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


# Random search has no rule: the standard deviation of its draws, its centre the default.
SPREAD = LogRange(0.1)
