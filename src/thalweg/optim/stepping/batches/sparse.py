"""Sparse gradients: steps of the rows that they name, or of the whole."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ....rules.core import Rule
from ....tape import trace
from ..audit.subjects import Gradients
from ..layouts import real
from ..precision import store
from .base import Item
from .eager import Eager


class Rows(Eager):
    """Parameters with sparse gradients: their rows are gathered, stepped as a tensor, put back.

    What a gradient does not name stays as it is, state included.
    """

    def takes(self, g: Tensor) -> bool:
        return g.layout == torch.sparse_coo

    def _step(self, item: Item, g: Tensor, k: int) -> None:
        if not g.sparse_dim():  # a gradient that names no rows, but stands for the whole
            super()._step(item, g.to_dense(), k)
            return
        g = g.coalesce()  # a row that is named twice has one gradient, their sum
        rows = tuple(g.indices())
        arrays = {item.keys[slot] for slot in self.rule.array_slots}
        state = {k: x[rows] if k in arrays else x for k, x in item.state.items()}
        gathered = item._replace(parameter=item.parameter[rows], state=state)
        theta, slots = self._next(gathered, g.values(), self.taken[k])
        real(item.parameter)[rows] = theta.to(item.parameter.dtype.to_real())
        for slot, value in slots.items():
            x = item.state[item.keys[slot]]
            if item.keys[slot] in arrays:
                real(x)[rows] = value.to(x.dtype.to_real())
            else:
                store(x, value)


class Whole(Eager):
    """Parameters with sparse gradients that stand for dense ones: momentum moves every row."""

    def takes(self, g: Tensor) -> bool:
        return g.layout == torch.sparse_coo

    def gather(self) -> Gradients | None:
        gradients = super().gather()
        return gradients and [None if g is None else g.to_dense() for g in gradients]


@cache
def steps_by_rows(rule: Rule) -> bool:
    """Whether rows whose gradient is zero may be left out because a step changes nothing there."""
    return _at_rest(rule, state=0.4)


@cache
def begins_at_rest(rule: Rule) -> bool:
    """Whether a parameter stays where it is until it has had a gradient other than zero."""
    return _at_rest(rule, state=0.0)


def _at_rest(rule: Rule, state: float) -> bool:
    """Tried on numbers, with hyperparameters that are all other than zero."""
    program = trace(rule)
    if program.middle:  # sums over the tensor, or its sizes, would be those of the rows
        return False
    hyper = {name: 0.7 * default + 0.01 for name, default in rule.defaults.items()}
    return all(_rests(rule, theta, state, hyper) for theta in (-1.7, 0.3))


def _rests(rule: Rule, theta: float, state: float, hyper: dict[str, float]) -> bool:
    slots = [state * (1 + 0.25 * k) for k in range(len(rule.slots))]
    fresh, *after = rule(theta, 0.0, *slots, 3, **hyper)
    pairs = zip(rule.slots, slots, after, strict=True)
    return bool(fresh == theta) and all(a == b for s, a, b in pairs if s not in rule.scalars)


def refusal(rule: Rule, layout: torch.layout) -> RuntimeError:
    """What to say of a gradient whose layout the rule has no use for."""
    return RuntimeError(
        f"gradients of layout {layout} are not supported by {rule.name}. Use dense parameters and "
        "gradients (for an embedding: sparse=False); sparse COO gradients are for SparseAdam and "
        "for rules that change nothing where the gradient is zero, as Adagrad and SGD do without "
        "weight decay"
    )
