"""DTensors: every rank steps its local part."""

from __future__ import annotations

import sys
from operator import is_
from typing import Any

import torch
from torch import Tensor

from .batches.base import Item


def is_dtensor(x: object) -> bool:
    """Whether this is a DTensor, found without importing their module, which is slow."""
    module = sys.modules.get("torch.distributed.tensor")  # loaded where there is a DTensor
    return isinstance(x, getattr(module, "DTensor", ()))


def local(x: Any) -> Any:
    """The local tensor of a DTensor; any other value unchanged.

    A DTensor with a partial placement (its value is a sum over ranks) is returned unchanged.
    """
    if not is_dtensor(x):
        return x
    if any(place.is_partial() for place in x.placements):
        return x
    with torch.no_grad():
        part = x.to_local()
    return part.wait() if hasattr(part, "wait") else part  # if a collective is in flight


class Shards:
    """Local tensors that are stepped in place of DTensors, in the same memory.

    A rule without sums acts on every element alone, so a step needs no communication. The state
    holds DTensors, as torch's does, so that a checkpoint can be resharded.
    """

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.parts: list[Item] = []
        self.held: list[list[Any]] = []

    def part(self, item: Item) -> Item:
        """The item to step: for a DTensor one of its local tensors, else the item itself."""
        memory = local(item.parameter)
        if memory is item.parameter:
            return item
        state = {key: local(x) for key, x in item.state.items()}
        part = item._replace(parameter=memory.detach(), state=state)
        self.items.append(item)
        self.parts.append(part)
        _hand_gradient(item.parameter, part.parameter)
        return part

    def settle(self) -> None:
        """Copy numbers of the state that a batch has replaced from the local items."""
        for item, part in zip(self.items, self.parts, strict=True):
            for key, x in part.state.items():
                if local(item.state[key]) is item.state[key]:
                    item.state[key] = x
        self.held = [list(item.state.values()) for item in self.items]

    def follow(self) -> bool:
        """Give the local tensors their gradients; False if a DTensor or a state was replaced."""
        for item, part, held in zip(self.items, self.parts, self.held, strict=True):
            entries = item.state.values()
            if len(entries) != len(held) or not all(map(is_, entries, held)):
                return False
            memory = local(item.parameter)
            if not memory.is_set_to(part.parameter):
                return False
            _hand_gradient(item.parameter, part.parameter)
        return True

    def release(self) -> None:
        """Drop the gradients, so that the model can free their memory, and count the changes."""
        changed: list[Tensor] = []
        for item, part in zip(self.items, self.parts, strict=True):
            if part.parameter.grad is not None:
                changed += [item.parameter, *(x for x in item.state.values() if local(x) is not x)]
            part.parameter.grad = None
        # Autograd compares versions of the DTensors as well.
        torch.autograd.graph.increment_version(changed)


def _hand_gradient(parameter: Any, part: Tensor) -> None:
    """Give a local tensor its gradient, after a redistribution if the placements differ."""
    gradient = parameter.grad
    if gradient is None:
        part.grad = None
        return
    if getattr(gradient, "placements", parameter.placements) != parameter.placements:
        gradient = gradient.redistribute(parameter.device_mesh, parameter.placements)
    part.grad = local(gradient)
