"""Data of torch's datasets and loaders, and of what else gives samples one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ..errors import UsageError

LIMIT = 1_000_000  # samples that are taken from what has no length
LABELS = ("labels", "label")  # what Hugging Face's datasets and models call the targets


def is_dataset(given: object) -> bool:
    """Whether this gives samples: a torch `Dataset` or `DataLoader`, or an object like one."""
    if isinstance(given, DataLoader | Dataset):
        return True
    known = isinstance(given, str | bytes | Sequence | Mapping | Tensor | np.ndarray)
    return not known and hasattr(given, "__getitem__") and hasattr(given, "__len__")


def label_key(keys: Iterable[Any], target: str | None, what: str) -> str | None:
    """The key of the targets in a dict: that which is named, else labels or label, else none.

    Args:
        keys: of the dict.
        target: the key that the person names.
        what: names the data in messages.

    Raises:
        UsageError: there is no entry of the name.
    """
    known = list(keys)
    if target is not None and target not in known:
        raise UsageError(f"{what} has no entry {target!r}; it has {', '.join(map(str, known))}")
    return target or next((key for key in LABELS if key in known), None)


def samples(given: Any, target: str | None, what: str) -> tuple[Any, Any, str]:
    """Inputs, targets and the key of the targets, of all samples of a dataset.

    Each is asked for once: what it draws at random is drawn once. A sample is a pair (input,
    target); several inputs and the target in one tuple; a dict that holds the target; or an input
    alone.

    Args:
        given: the dataset.
        target: the key of the targets in a dict.
        what: names the data in messages.

    Returns:
        Inputs and targets (None for inputs alone) stacked, and the key ("" for none).

    Raises:
        UsageError: it is empty or endless, or samples differ.
    """
    source: Any = given
    if isinstance(given, DataLoader):
        plain = given.collate_fn is torch.utils.data.default_collate
        source = given.dataset if plain else given
    if isinstance(source, torch.utils.data.TensorDataset):
        *inputs, last = source.tensors
        if len(inputs) == 1:
            return inputs[0], last, ""
        return (tuple(inputs), last, "") if inputs else (last, None, "")
    batched = isinstance(source, DataLoader)
    found = _items(source, what)
    first = found[0]
    if isinstance(first, Mapping):
        key = label_key(first, target, what)
        everything = _gathered(found, batched, what)
        targets = None if key is None else everything.pop(key)
        return everything, targets, key or ""
    if isinstance(first, tuple | list) and _holds_arrays_or_one_of_two(first):
        width = len(first)
        if any(not isinstance(item, tuple | list) or len(item) != width for item in found):
            raise UsageError(f"{what} gives samples of different forms; each must be alike")
        columns = [_gathered(part, batched, what) for part in zip(*found, strict=True)]
        if width == 1:  # a TensorDataset of one tensor gives tuples of one
            return columns[0], None, ""
        *inputs, targets = columns
        return (inputs[0] if width == 2 else tuple(inputs)), targets, ""
    if all(isinstance(item, Tensor | np.ndarray) for item in found):
        return _gathered(found, batched, what), None, ""
    raise UsageError(
        f"{what} must give pairs (input, target), dicts with the target inside, or inputs alone "
        f"as tensors, not {type(first).__name__}; wrap it in a Dataset that does"
    )


def _items(source: Any, what: str) -> list[Any]:
    """Everything that a dataset gives."""
    sized = not isinstance(source, IterableDataset | DataLoader) and hasattr(source, "__len__")
    items: Iterable[Any] = (source[k] for k in range(len(source))) if sized else source
    found = list(items if sized else islice(items, LIMIT + 1))
    if not sized and len(found) > LIMIT:
        raise UsageError(
            f"{what} does not end within {LIMIT:,} items; give a dataset with a length, or a part "
            "of it"
        )
    if not found:
        raise UsageError(f"{what} is empty")
    return found


def _holds_arrays_or_one_of_two(item: Sequence[Any]) -> bool:
    """Whether a tuple is a pair, or several inputs; and not a row of numbers."""
    return len(item) == 2 or any(
        isinstance(part, Tensor | np.ndarray | Mapping | tuple | list) for part in item
    )


def _gathered(items: Sequence[Any], batched: bool, what: str) -> Any:
    """Samples, or batches of them, as one array for each input."""
    first = items[0]
    if type(first).__module__.startswith("PIL."):
        raise UsageError(f"{what} gives PIL images; transform them to tensors")
    if isinstance(first, Mapping):
        if any(not isinstance(item, Mapping) or set(item) != set(first) for item in items):
            raise UsageError(
                f"{what} gives dicts with different entries; every sample needs all of "
                f"{', '.join(map(str, first))}"
            )
        return {
            key: _gathered([item[key] for item in items], batched, f"{what}[{key!r}]")
            for key in first
        }
    if isinstance(first, tuple | list) and any(
        isinstance(part, Tensor | np.ndarray | Mapping) for part in first
    ):
        if any(not isinstance(item, tuple | list) or len(item) != len(first) for item in items):
            raise UsageError(f"{what} gives samples with different numbers of inputs")
        return tuple(_gathered(part, batched, what) for part in zip(*items, strict=True))
    try:
        if isinstance(first, Tensor):
            return torch.cat(list(items)) if batched else torch.stack(list(items))
        return np.concatenate(items) if batched else np.stack([np.asarray(i) for i in items])
    except (RuntimeError, ValueError, TypeError) as error:
        raise UsageError(
            f"{what} gives samples of different shapes: {error}; pad or cut them to one shape"
        ) from error
