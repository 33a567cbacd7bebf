"""The data of tasks on the devices that train on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..tasks import Task
from ..tasks.pairs import Pair
from ..tasks.trees import map_tensors

_copies: WeakKeyDictionary[Task, dict[torch.device, TaskData]] = WeakKeyDictionary()


@dataclass(frozen=True)
class TaskData:
    """The data of a task, on one device."""

    train: Pair
    validation: Pair
    test: Pair


def data_on(task: Task, device: torch.device) -> TaskData:
    """The data of a task on a device, copied once and kept there as long as the task exists.

    Args:
        task: the owner of the data.
        device: where the data is needed.
    """
    if device.type == "cpu":
        return TaskData(task.train, task.validation, task.test)
    known = _copies.setdefault(task, {})
    if device not in known:
        known[device] = TaskData(
            *(
                map_tensors(lambda values: values.to(device), pair)
                for pair in (task.train, task.validation, task.test)
            )
        )
    return known[device]


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a new tensor from the processor to a device, without waiting for the copy."""
    if device.type == "cpu":
        return values
    return values.pin_memory().to(device, non_blocking=True)


def select_lanes(values: Tensor, lanes: Sequence[int]) -> Tensor:
    """The entries of these lanes, in a tensor whose first dimension is the lanes."""
    return values.index_select(0, torch.tensor(lanes, dtype=torch.int64).to(values.device))
