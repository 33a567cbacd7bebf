"""The figures of the documents by name, each made from a file of benchmarks/results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from . import contents, page, precision, races, speed
from .base import Missing

Maker = Callable[[], str]


def _or_missing(make: Maker) -> Maker:
    """The figure, or a note of the command that records it."""

    def made() -> str:
        try:
            return make()
        except Missing as missing:
            return f"*{missing}*"

    return made


BLOCKS: Mapping[str, Maker] = {
    name: _or_missing(make)
    for name, make in {
        "benchmarks": contents.benchmarks,
        "steps": speed.steps,
        "speed": speed.speed,
        "small": speed.small,
        "models": speed.models,
        "training": speed.training,
        "times-of-adam": partial(speed.step_times, "adam"),
        "fewer-bytes": precision.fewer_bytes,
        "fewer-bytes-verdict": precision.fewer_bytes_verdict,
        "int8-blocks": precision.int8_blocks,
        "closeness-of-classes": precision.closeness_of_classes,
        "recurrent": speed.recurrent,
        "step-in-backward": precision.step_in_backward,
        "false-winners": races.false_winners,
        "handicaps": races.handicaps,
        "cluster": races.cluster,
        "driver": races.driver,
        "report": races.report,
        "play": page.play,
        "pruning": races.pruning,
    }.items()
}
VALUES: Mapping[str, Maker] = {
    name: _or_missing(make)
    for name, make in {
        "shares": speed.shares,
        "closeness": precision.closeness,
        "two-alike": races.two_alike,
        "power-at-stated": races.power_at_stated,
        "jax-adam": partial(precision.jax_scalars, "adam"),
        "jax-radam": partial(precision.jax_scalars, "radam"),
    }.items()
}
