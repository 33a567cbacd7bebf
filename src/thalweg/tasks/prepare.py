"""What was found made ready to train on: types, classes, missing parts, missing values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from .files import Array
from .pairs import Pair, check_lengths
from .sources import Samples, Values, read
from .trees import Tree, count, is_branch, map_leaves, named_leaves, rows

SHARE = 5  # a missing part is one sample in so many
SPLIT_SEED = 0
_SHOWN = 8  # class names that a note lists


def parts(
    task: str,
    given: Mapping[str, Any],
    target: str | None,
    *,
    kind: str | None,
    tokens: bool,
) -> tuple[dict[str, Pair], list[str]]:
    """Training, validation and test data as tensors, and what was decided on the way.

    Args:
        task: names the task in messages.
        given: "train", "validation" and "test" in any form `read` takes; None for one to be
            split off the training data.
        target: the column with the targets, where there are columns.
        kind: what the loss wants targets to be: "classes", "binary", "numbers"; None for as
            they are.
        tokens: whether whole numbers among the inputs are to stay so.

    Returns:
        The three parts, and a line for each thing that a person should know.

    Raises:
        UsageError: data that cannot be trained on; the message names part and column.
    """
    notes: list[str] = []
    found = {
        part: read(data, target, f"task {task!r}: {part}")
        for part, data in given.items()
        if data is not None
    }
    for part, samples in found.items():
        _check(samples, f"task {task!r}: {part}")
    alone = [part for part, samples in found.items() if samples.targets is None]
    if alone and len(alone) < len(found):
        other = next(part for part in found if part not in alone)
        raise UsageError(
            f"task {task!r}: {alone[0]} has inputs and no targets, but {other} has both; the three "
            "parts must be alike"
        )
    missing = [part for part in given if part not in found]
    classes = _class_names(found, kind, notes)
    pairs = {
        part: _pair(s, tokens, classes, kind, f"task {task!r}: {part}") for part, s in found.items()
    }
    if missing:
        pairs |= _split(task, pairs["train"], missing, notes)
    return {part: pairs[part] for part in given}, notes


def _pair(
    samples: Samples, tokens: bool, classes: Mapping[Any, int] | None, kind: str | None, what: str
) -> Pair:
    """Inputs and targets as tensors; inputs alone are their own targets, in the same memory."""
    alone, given = not is_branch(samples.inputs), samples.targets
    inputs = map_leaves(lambda v: _input(v, tokens, alone=alone), samples.inputs)
    if given is None and not alone:
        return inputs, inputs
    targets = map_leaves(
        lambda v: _targets(v, classes, kind, what), samples.inputs if given is None else given
    )
    return inputs, inputs if given is None and targets.dtype == inputs.dtype else targets


def is_classes(targets: object) -> bool:
    """Whether targets read as classes: text, truth values or whole numbers."""
    if isinstance(targets, Tensor):
        return not targets.is_floating_point()
    return isinstance(targets, np.ndarray) and targets.dtype.kind not in "f"


def _check(samples: Samples, what: str) -> None:
    for role, tree in (("inputs", samples.inputs), ("targets", samples.targets)):
        leaves = [] if tree is None else named_leaves(tree, "")
        for place, values in leaves:
            name = f"{what} {role}{place}"
            if not values.ndim or 0 in values.shape:
                raise UsageError(f"{name} of shape {tuple(values.shape)} hold no sample")
            if not isinstance(values, np.ndarray):
                continue  # tensors are checked with those of every task
            if (role == "inputs" or place) and values.dtype.kind not in "biuf":
                fix = "; encode them or leave them out" if place else ""
                raise UsageError(f"{name} are {values.dtype}; give numbers{fix}")
            if values.dtype.kind == "c":
                raise UsageError(f"{name} are {values.dtype}; give real numbers")
            _check_finite(values, samples, role, what, place)
        check_lengths(f"{what} {role}", leaves)
    inputs, targets = samples.inputs, samples.targets
    if targets is not None and _samples(inputs) != _samples(targets):
        raise UsageError(f"{what} has {_samples(inputs)} inputs but {_samples(targets)} targets")


def _samples(tree: Tree) -> int:
    return len(named_leaves(tree, "")[0][1])


def _check_finite(values: Array, samples: Samples, role: str, what: str, place: str) -> None:
    """Raise if an array has a gap, and name the column and its first row."""
    if values.dtype == object:
        bad = np.array([v is None or v == "" or v != v for v in values.ravel()])
        bad = bad.reshape(values.shape)
    elif values.dtype.kind == "f":
        bad = ~np.isfinite(values)
    else:
        return
    if not bad.any():
        return
    row = np.argwhere(bad)[0]
    if role == "targets":
        where = f"column {samples.target!r}" if samples.target else "targets"
        bad_here = bad
    elif values.ndim == 2:
        columns = samples.columns.get(place)
        name = repr(columns[row[1]]) if columns else str(row[1])
        where, bad_here = f"column {name} of the inputs{place}", bad[:, row[1]]
    else:
        where, bad_here = f"inputs{place}", bad
    raise UsageError(
        f"{what}: {where} contain {int(bad_here.sum())} NaN, infinite or missing values, the "
        f"first in row {row[0]}; remove or fill them"
    )


def _input(values: Values, tokens: bool, *, alone: bool) -> Tensor:
    """One of the inputs as a tensor; truth values beside others are a mask, and stay so."""
    if isinstance(values, Tensor):
        return values
    if values.dtype.kind == "b" and not alone:
        return torch.tensor(values)
    whole = values.dtype.kind in "iu" and tokens
    return torch.tensor(values, dtype=torch.int64 if whole else torch.get_default_dtype())


def _class_names(
    found: Mapping[str, Samples], kind: str | None, notes: list[str]
) -> dict[Any, int] | None:
    """A number for each class, the same in all parts; None where targets are numbers already."""
    arrays = [s.targets for s in found.values() if isinstance(s.targets, np.ndarray)]
    if not arrays:
        return None
    named = any(a.dtype.kind not in "iuf" for a in arrays)
    below = kind in ("classes", "binary") and any(
        a.dtype.kind in "iu" and a.min() < 0 for a in arrays
    )
    if not (named or below):
        return None
    names = sorted({_plain(v) for a in arrays for v in a.ravel()}, key=lambda v: (str(type(v)), v))
    shown = ", ".join(f"{v} is {k}" for k, v in enumerate(names[:_SHOWN]))
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    notes.append(f"classes are numbered: {shown}{more}")
    return {name: number for number, name in enumerate(names)}


def _plain(value: Any) -> Any:
    """A number or truth value as Python's own, anything else as text."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, int | float) else str(value)


def _targets(
    values: Values, classes: Mapping[Any, int] | None, kind: str | None, what: str
) -> Tensor:
    if isinstance(values, Tensor):
        return values
    floating = torch.get_default_dtype()
    if classes is not None:
        numbers = np.array([classes[_plain(v)] for v in values.ravel()]).reshape(values.shape)
        if kind == "binary" and len(classes) > 2:
            raise UsageError(f"{what} targets have {len(classes)} classes; this loss takes two")
        return torch.tensor(numbers, dtype=floating if kind == "binary" else torch.int64)
    if kind == "classes" and values.dtype.kind == "f" and not (values == np.floor(values)).all():
        raise UsageError(f"{what} targets are no class numbers: they have fractions")
    if kind == "classes" or (kind is None and values.dtype.kind in "iu"):
        return torch.tensor(values.astype(np.int64))
    return torch.tensor(values, dtype=floating)


def _split(task: str, train: Pair, missing: Sequence[str], notes: list[str]) -> dict[str, Pair]:
    """The missing parts taken from the training data, and what is left of that.

    Systematic: the samples are shuffled, sorted by target, and every fifth is taken, so that
    every part has its share of every class or range of values.
    """
    y = train[1]
    total = count(train[0])
    if total < SHARE:
        raise UsageError(
            f"task {task!r}: train has {total} samples, too few to split {' and '.join(missing)} "
            "off; give them yourself"
        )
    order = np.random.default_rng(SPLIT_SEED).permutation(total)
    if isinstance(y, Tensor) and (y.dim() == 1 or y.shape[1:].numel() == 1):
        order = order[np.argsort(y.reshape(total).numpy()[order], kind="stable")]
    place = np.arange(total) % SHARE
    found = {}
    for k, part in enumerate(missing, start=1):
        chosen = torch.from_numpy(np.sort(order[place == SHARE - k]))
        found[part] = _rows(train, chosen)
        notes.append(
            f"{part}: {len(chosen):,} of the {total:,} training samples, drawn by a fixed rule, "
            "because none was given"
        )
    rest = torch.from_numpy(np.sort(order[place < SHARE - len(missing)]))
    return {"train": _rows(train, rest), **found}


def _rows(pair: Pair, chosen: Tensor) -> Pair:
    inputs, targets = pair
    own = rows(inputs, chosen)
    return own, own if targets is inputs else rows(targets, chosen)


__all__ = ["Pair", "Samples", "is_classes", "parts"]
