"""Differentiable steps: `differentiable=True`."""

from __future__ import annotations

import torch
from torch import Tensor

from ....tape import THETA
from ..audit.subjects import Gradients
from .base import Item
from .eager import Eager


class Graph(Eager):
    """Parameters that are not leaves of autograd's graph; the step is a part of the graph.

    Autograd keeps what the formula read, so it reads copies, and the results are written into
    the parameter and its state, as torch does it.
    """

    def gather(self) -> Gradients | None:
        return super().gather() if all(in_graph(i.parameter) for i in self.items) else None

    def run(self, gradients: Gradients) -> None:
        with torch.enable_grad():
            self._run(gradients)

    def _step(self, item: Item, g: Tensor, k: int) -> None:
        state = {k: x.clone() if isinstance(x, Tensor) else x for k, x in item.state.items()}
        read = item._replace(parameter=item.parameter.clone(), state=state)
        theta, slots = self._next(read, g, self.taken[k])
        self._keep(item, {THETA: theta, **slots}, k)


def in_graph(parameter: Tensor) -> bool:
    """Whether a step can be a part of autograd's graph: a leaf cannot change in it."""
    return not (parameter.is_leaf and parameter.requires_grad)
