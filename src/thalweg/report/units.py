"""The units in which training is counted, and the settings that were tuned, for every table."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import Number, OptimizerResult, Value

UNITS = {
    "steps": "training steps",
    "epochs": "epochs",
    "samples": "training samples seen",
    "seconds": "seconds, estimated from ms/step",
}
"""Units of training, and their names on an axis."""


USUAL: dict[str, Value] = {"schedule": "constant", "warmup": 0.0, "clip": "any"}
"""What a setting was where a configuration does not name it; a batch size was the race's."""


def unit(entries: Sequence[OptimizerResult]) -> str:
    """The unit that optimizers are compared in: steps, or epochs where batch sizes differ."""
    known = {entry.per_step.epochs for entry in entries if entry.per_step is not None}
    return "epochs" if len(known) > 1 else "steps"


def per_step(entry: OptimizerResult, name: str) -> float | None:
    """How much of a unit one training step is; None where the document does not say."""
    if name == "steps":
        return 1.0
    return None if entry.per_step is None else getattr(entry.per_step, name)


def to_target(entry: OptimizerResult, name: str) -> Number:
    """When the target was met, in a unit; None for never."""
    if entry.to_target is None:  # a document of a version that counted steps alone
        return entry.steps_to_target if name == "steps" else None
    return getattr(entry.to_target, name)


def chosen(entry: OptimizerResult) -> dict[str, Value]:
    """All settings that were tuned, with the values chosen."""
    return entry.settings or entry.configuration


def more_than_rates(entries: Sequence[OptimizerResult]) -> bool:
    """Whether any optimizer has tuned settings beside its learning rate."""
    return any(set(chosen(entry)) - {"lr"} for entry in entries)
