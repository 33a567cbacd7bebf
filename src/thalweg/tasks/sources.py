"""Data in whatever a person has it: arrays, frames, datasets, loaders, files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import UsageError
from . import datasets, files
from .files import Array, Columns
from .trees import Tree, named_leaves

Values = Tensor | Array


@dataclass(frozen=True)
class Samples:
    """Inputs and targets as they were found: no labels encoded, no types changed yet.

    Attributes:
        inputs: (N, …), or several such in tuples, lists and dicts.
        targets: (N, …), or several such; text where classes have names; None where there are
            inputs alone.
        columns: what the columns of each input are called, where they are: by its place in the
            inputs, which is "" for a single one.
        target: what the column or entry of the targets is called, where it is.
        inside: whether the targets were an entry of a dict of inputs.
    """

    inputs: Tree
    targets: Tree | None
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    target: str = ""
    inside: bool = False


def read(given: object, target: str | None, what: str) -> Samples:
    """The samples that a person means.

    Args:
        given: a pair (inputs, targets) of tensors, arrays, lists, frames or IDX paths, or of
            several in tuples and dicts; inputs alone, as a tensor, an array or a pair (inputs,
            None); a dict of inputs, which may hold the targets; a torch `Dataset` or `DataLoader`
            of pairs, of such dicts, or of inputs alone; a frame of pandas or polars; the path of
            a CSV or Parquet file, or of a folder of images.
        target: the column or entry with the targets, where there are columns or entries.
        what: names the data in messages.

    Raises:
        UsageError: it is none of these, or cannot be read.
    """
    if isinstance(given, Samples):
        return given
    if isinstance(given, str | Path):
        path = Path(given).expanduser()
        if path.is_dir():
            return Samples(*files.images(path))
        return _from_columns(files.table(path), target, f"{what} ({path})")
    if _is_frame(given):
        return _from_columns(_columns(given), target, what)
    if isinstance(given, Mapping):
        key = datasets.label_key(given, target, what)
        inputs = {name: values for name, values in given.items() if name != key}
        return _pair(inputs, None if key is None else given[key], what, key)
    if datasets.is_dataset(given):
        inputs, targets, key = datasets.samples(given, target, what)
        return _pair(inputs, targets, what, key or None)
    if isinstance(given, Tensor | np.ndarray):
        return _pair(given, None, what)
    if isinstance(given, tuple | list) and len(given) == 2:
        return _pair(given[0], given[1], what)
    fix = ""
    if isinstance(given, tuple) and all(isinstance(v, Tensor | np.ndarray) for v in given):
        fix = f" of {len(given)}; put several inputs into a tuple of their own: ((a, b), targets)"
    raise UsageError(
        f"{what} must be a pair (inputs, targets), inputs alone in a tensor or array, a dict of "
        "inputs, a torch Dataset or DataLoader, a pandas or polars frame, or the path of a .csv, "
        f".parquet or folder of images; got {type(given).__name__}{fix}"
    )


def _pair(inputs: Any, targets: Any, what: str, key: str | None = None) -> Samples:
    """Inputs and targets, with the key under which the targets were found among the inputs."""
    if isinstance(inputs, str | Path) and isinstance(targets, str | Path):
        pixels, labels = (files.idx(Path(p).expanduser()) for p in (inputs, targets))
        if pixels.dtype == np.uint8 and pixels.ndim == 3:
            pixels = pixels[:, None].astype(np.float32) / 255
        return Samples(pixels, labels)
    if _is_frame(targets):
        found = _columns(targets)
        if len(found) != 1:
            raise UsageError(f"{what} targets have {len(found)} columns; give one")
        targets = next(iter(found.values()))
    known = None if targets is None else _several(targets, f"{what} targets", None, {})
    columns: dict[str, Sequence[str]] = {}
    length = None if targets is None else _length(targets)
    read_inputs = _several(inputs, f"{what} inputs", length, columns)
    return Samples(read_inputs, known, columns, key or "", key is not None)


def _several(
    given: Any, what: str, length: int | None, columns: dict[str, Sequence[str]], place: str = ""
) -> Tree:
    """Arrays and tensors out of what a person means by inputs: one of them, or several.

    Args:
        given: an array, tensor, list or frame; or several in a dict, a tuple or a list.
        what: names them in messages.
        length: how many samples there are, where that is known.
        columns: receives the names of a frame's columns.
        place: of what is given, among the inputs.
    """
    if _is_frame(given):
        if place and not hasattr(given, "columns"):  # a series among several inputs
            return _values(next(iter(_columns(given).values())), what + place)
        named = _columns(given)
        columns[place] = list(named)
        return _stack(named, what + place)
    if isinstance(given, Mapping):
        if not given:
            raise UsageError(f"{what}{place} are an empty dict")
        return {
            key: _several(values, what, length, columns, f"{place}[{key!r}]")
            for key, values in given.items()
        }
    if isinstance(given, tuple | list) and _holds_inputs(given, length, what + place):
        parts = [
            _several(values, what, length, columns, f"{place}[{number}]")
            for number, values in enumerate(given)
        ]
        return tuple(parts)
    return _values(given, what + place)


def _holds_inputs(given: tuple[Any, ...] | list[Any], length: int | None, what: str) -> bool:
    """Whether a tuple or list is of several inputs, and not of the samples of one.

    Raises:
        UsageError: it may be either.
    """
    if not given or not all(
        isinstance(part, Tensor | np.ndarray | Mapping | tuple | list) or _is_frame(part)
        for part in given
    ):
        return False
    if any(isinstance(part, Mapping) or _is_frame(part) for part in given):
        return True
    arrays = [v for _, v in named_leaves(given, "") if isinstance(v, Tensor | np.ndarray)]
    if not arrays or not all(values.ndim for values in arrays):
        return False  # nested lists of numbers, or numbers: one array
    if isinstance(given, tuple):
        return True
    inputs = length is not None and all(_length(part) == length for part in given)
    if inputs and len(given) == length:
        raise UsageError(
            f"{what} are a list of {len(given)} arrays of {length} entries each: give a tuple if "
            "these are several inputs, or one array if they are samples"
        )
    return inputs


def _length(given: Any) -> int | None:
    """The number of samples in an array, or in the first of several."""
    if isinstance(given, Mapping):
        return _length(next(iter(given.values()), None))
    if isinstance(given, tuple) and given and isinstance(given[0], Tensor | np.ndarray | Mapping):
        return _length(given[0])
    try:
        return len(given)
    except TypeError:
        return None


def _values(given: Any, what: str) -> Values:
    if isinstance(given, Tensor):
        return given
    try:
        values = np.asarray(given)
    except ValueError as error:
        raise UsageError(f"{what} are no array: {error}; pad or cut them to one shape") from error
    if values.ndim == 0:
        if values.dtype.kind in "biufc":
            raise UsageError(f"{what} of shape () hold no sample")
        raise UsageError(f"{what} are {type(given).__name__}; give numbers, one entry per sample")
    return values


def _is_frame(given: object) -> bool:
    """Whether this is a frame or series; a library is asked only if something else loaded it."""
    for name, kinds in (("pandas", ("DataFrame", "Series")), ("polars", ("DataFrame", "Series"))):
        library = sys.modules.get(name)
        if library is not None and isinstance(given, tuple(getattr(library, k) for k in kinds)):
            return True
    return False


def _columns(frame: Any) -> Columns:
    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):
        frame = frame.to_frame()
    return {str(name): _cells(frame[name]) for name in frame.columns}


def _cells(series: Any) -> Array:
    cells = series.to_numpy()
    if cells.dtype != object:
        return np.asarray(cells)
    # Numbers with gaps come as objects from some libraries; a gap is NaN.
    gaps = np.asarray(series.isna() if hasattr(series, "isna") else series.is_null())
    present = cells[~gaps]
    if present.size and all(isinstance(c, int | float | np.number) for c in present):
        numbers = np.full(len(cells), np.nan)
        numbers[~gaps] = present.astype(float)
        return numbers
    return np.asarray(cells)


def _from_columns(columns: Columns, target: str | None, what: str) -> Samples:
    names = ", ".join(columns)
    if target is None:
        raise UsageError(f"{what} has columns {names}; say which is to be learned: target='…'")
    if target not in columns:
        raise UsageError(f"{what} has no column {target!r}; it has {names}")
    rest = {name: values for name, values in columns.items() if name != target}
    if not rest:
        raise UsageError(f"{what} has no column besides the target {target!r}")
    return Samples(_stack(rest, what), columns[target], {"": list(rest)}, target)


def _stack(columns: Columns, what: str) -> Array:
    for name, values in columns.items():
        if values.dtype.kind not in "biuf":
            example = next(iter(values), None)
            raise UsageError(
                f"{what}: column {name!r} is no column of numbers (it has {example!r}); encode "
                "it or leave it out"
            )
    return np.stack(list(columns.values()), 1)
