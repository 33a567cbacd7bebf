"""Warnings of torch about lanes, which say nothing that a person could act on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Lanes are timed against other ways to run, so that what they lose is known by its time.
_SLOW = "There is a performance drop because we have not yet implemented the batching rule"


def ignore_lane_warnings() -> None:
    """Have torch not say which operations are slow in lanes."""
    warnings.filterwarnings("ignore", message=_SLOW)


@contextmanager
def without_lane_warnings() -> Iterator[None]:
    """The same for a while."""
    with warnings.catch_warnings():
        ignore_lane_warnings()
        yield
