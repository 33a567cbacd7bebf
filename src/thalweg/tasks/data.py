"""Data for the built-in tasks: bundled with scikit-learn or generated, split, standardized."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .prepare import SPLIT_SEED, Pair

SPLIT = {"train": 0.6, "validation": 0.2, "test": 0.2}

Array = np.ndarray[Any, np.dtype[Any]]


@cache
def bundled(name: str) -> tuple[Array, Array]:
    """Inputs (N, columns) in float64 and targets (N,) of one of scikit-learn's own data sets."""
    from sklearn import datasets  # a second to import, so only where it is needed

    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    inputs.flags.writeable = targets.flags.writeable = False
    return inputs, targets


def spirals(arms: int, per_arm: int, turns: float, noise: float) -> tuple[Array, Array]:
    """Points on interleaved spiral arms around the origin.

    Args:
        arms: number of arms, each a class.
        per_arm: points on an arm, evenly spaced from near the centre to radius 1.
        turns: how often an arm winds around.
        noise: standard deviation of the angle, in radians.

    Returns:
        Points (arms·per_arm, 2) and class numbers (arms·per_arm,).
    """
    arm = np.repeat(np.arange(arms), per_arm)
    radius = np.tile(np.linspace(0.05, 1.0, per_arm), arms)
    jitter = noise * np.random.default_rng(SPLIT_SEED).standard_normal(arm.size)
    angle = 2 * math.pi * (turns * radius + arm / arms) + jitter
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), arm


def rows(count: int, classes: Array | None = None) -> tuple[Array, Array, Array]:
    """Shuffled row numbers of train, validation and test, in the shares of SPLIT.

    Args:
        count: number of rows.
        classes: class numbers (count,) whose shares every part is to keep.
    """
    from sklearn.model_selection import train_test_split

    def cut(part: Array, share: float) -> list[Array]:
        kept = None if classes is None else classes[part]
        return train_test_split(part, test_size=share, stratify=kept, random_state=SPLIT_SEED)

    train, rest = cut(np.arange(count), 1 - SPLIT["train"])
    validation, test = cut(rest, SPLIT["test"] / (SPLIT["validation"] + SPLIT["test"]))
    return train, validation, test


def standardize(values: Array, train: Array, *, by_column: bool = True) -> Array:
    """Values shifted and scaled to mean 0 and standard deviation 1 over the training rows.

    Args:
        values: array (N, columns).
        train: the training rows; no other row has a say.
        by_column: each column by itself; else all by one mean and one deviation, as for pixels,
            where a column may be almost constant.
    """
    axis = 0 if by_column else None
    mean, deviation = values[train].mean(axis), values[train].std(axis)
    return (values - mean) / np.where(deviation > 0, deviation, 1.0)


def classification(
    inputs: Array, classes: Array, *, by_column: bool = True
) -> tuple[Pair, Pair, Pair]:
    """Train, validation and test of standardized inputs and class numbers, stratified."""
    parts = rows(len(classes), classes)
    scaled = standardize(inputs, parts[0], by_column=by_column)
    train, validation, test = (
        (number(scaled[part]), torch.from_numpy(classes[part].astype(np.int64))) for part in parts
    )
    return train, validation, test


def binary(inputs: Array, classes: Array) -> tuple[Pair, Pair, Pair]:
    """As `classification`, with targets 0 and 1 of shape (N, 1) in floating point."""
    parts = classification(inputs, classes)
    train, validation, test = ((x, y.unsqueeze(1).to(torch.get_default_dtype())) for x, y in parts)
    return train, validation, test


def regression(inputs: Array, targets: Array) -> tuple[Pair, Pair, Pair]:
    """Train, validation and test of standardized inputs and standardized targets (N, 1)."""
    parts = rows(len(targets))
    x, y = standardize(inputs, parts[0]), standardize(targets[:, None], parts[0])
    train, validation, test = ((number(x[part]), number(y[part])) for part in parts)
    return train, validation, test


def number(values: Array) -> Tensor:
    """A tensor in torch's default floating-point type, in which models are built too."""
    return torch.tensor(values, dtype=torch.get_default_dtype())
