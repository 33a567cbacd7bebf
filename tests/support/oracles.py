"""What the tests of rules and engines share: the list of rules, tolerances, ways to run a rule."""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg import ops
from thalweg.engines.numba.launch import NumbaLaunch
from thalweg.rules import (
    Rule,
    conventions,
    coupled_weight_decay,
    decoupled_weight_decay,
    maximize,
    registry,
)
from thalweg.tape import Operand, Program, trace

Array = npt.NDArray[Any]
Hyper = Mapping[str, float]

STEPS = 20
DTYPES = ("float32", "float64")

# Largest difference between two correct ways to compute STEPS steps, relative to the largest
# element: some ten roundings in a step, each of half a unit in the last place, none cancelled.
TOLERANCE = {dtype: 10 * STEPS * float(np.finfo(dtype).eps) for dtype in DTYPES}


def in_everything(rule: Rule) -> Rule:
    """The rule with every combinator in front of it."""
    return maximize(coupled_weight_decay(decoupled_weight_decay(rule), weight_decay=0.1))


RULES = list(registry().values())
FORMS = list(dict.fromkeys(f for name in registry() for f in conventions(name).values()))
EVERY_RULE = [*FORMS, *(in_everything(rule) for rule in RULES)]

# Where a default would keep a part of a formula from showing within STEPS steps.
LIVELY: dict[str, Hyper] = {
    "momentum": {"lr": 0.05, "momentum": 0.8, "dampening": 0.3},
    "asgd": {"lr": 0.05, "lambd": 0.02, "t0": 4.0},
    "adagrad": {"lr": 0.1, "lr_decay": 0.05, "initial_accumulator_value": 0.3},
    "rprop": {"lr": 0.02, "size_min": 0.01, "size_max": 0.05},
    "nadam": {"lr": 0.02, "momentum_decay": 0.05},
    "radam": {"lr": 0.02, "beta2": 0.9},
}


def lines_of(rule: Rule) -> int:
    """How many lines a formula has: its docstring and statements."""
    source = inspect.getsource(rule.formula)
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    return int(body[-1].end_lineno - body[0].lineno + 1)


def lively(rule: Rule) -> Hyper:
    """Hyperparameters under which all of a rule's formula takes part."""
    hyper = {"lr": 0.02, **LIVELY.get(rule.formula.__name__, {})}
    return {name: value for name, value in hyper.items() if name in rule.defaults}


def start(rule: Rule, like: Any, hyper: Hyper) -> dict[str, Any]:
    """A rule's state before its first step; arrays like `like`, or plain numbers for one."""
    full = {**rule.defaults, **hyper}
    first = {slot: rule.initial(slot, full) for slot in rule.slots}
    if isinstance(like, float):
        return dict(first)
    return {s: x if s in rule.scalars else like * 0 + x for s, x in first.items()}


def formula(rule: Rule, theta: Any, gradients: Sequence[Any], hyper: Hyper) -> dict[str, Any]:
    """Parameter and state after one step per gradient, by the rule as it stands."""
    slots = list(start(rule, theta, hyper).values())
    for t, g in enumerate(gradients, start=1):
        theta, *slots = rule(theta, g, *slots, t, **hyper)
    return {"theta": theta, **dict(zip(rule.slots, slots, strict=True))}


OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
    "neg": operator.neg,
    "gt": operator.gt,
    "lt": operator.lt,
    "ge": operator.ge,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": operator.and_,
    "or": operator.or_,
}


def interpret(program: Program, given: dict[str, Any]) -> dict[str, Any]:
    """The arrays and scalar slots after one run of the program, instruction by instruction."""
    values: dict[Operand, Any] = dict(given)
    for target, operation, operands in program.lines:
        arguments = [values.get(o, o) for o in operands]
        function = OPERATORS.get(operation)
        values[target] = function(*arguments) if function else ops.apply(operation, *arguments)
    new = {a: values.get(v, v) for a, v in (*program.outputs, *program.updates)}
    return {**given, **new}


def problem(dtype: str, size: int = 257, seed: int = 0) -> tuple[Array, list[Array]]:
    """A parameter and STEPS gradients for it, none of whose elements is near 0."""
    random = np.random.default_rng(seed)
    signs = random.choice([-1.0, 1.0], (STEPS, size))
    gradients = signs * random.uniform(0.1, 2.0, (STEPS, size))
    return random.normal(size=size).astype(dtype), list(gradients.astype(dtype))


@dataclass
class Piece:
    """A tensor for the compiled engine, in memory that is watched on both sides."""

    theta: Array
    slots: dict[str, Array]
    row: int
    guards: list[Array]

    def untouched(self) -> bool:
        return all((guard == _MARK).all() for guard in self.guards)


_MARK, _GUARD = 12345.0, 64


class Compiled:
    """A rule in the compiled engine over several tensors.

    Args:
        rule: the rule.
        dtype: the number type of the tensors.
        thetas: the parameters; copied.
        hypers: the hyperparameters of each row.
        rows: each tensor's row.
        taken: steps taken before, for each row.
    """

    def __init__(
        self,
        rule: Rule,
        dtype: str,
        thetas: Sequence[Array],
        hypers: Sequence[Hyper],
        rows: Sequence[int],
        taken: Sequence[int] | None = None,
    ) -> None:
        self.rule, program = rule, trace(rule)
        self.rows = np.array(rows, np.int64)
        self.launch = NumbaLaunch(program, dtype, [t.shape for t in thetas], self.rows)
        self.pieces = []
        for tensor, (theta, row) in enumerate(zip(thetas, rows, strict=True)):
            guards: list[Array] = []
            own = _guarded(theta.astype(dtype), guards)
            state = start(rule, own, hypers[row])
            slots = {s: _guarded(state[s].astype(dtype), guards) for s in rule.array_slots}
            self.pieces.append(Piece(own, slots, row, guards))
            addresses = [own.ctypes.data, 0, *(a.ctypes.data for a in slots.values())]
            self.launch.pointers[tensor] = addresses
        for row, hyper in enumerate(hypers):
            full = {**rule.defaults, **hyper}
            known = {s: rule.initial(s, full) for s in rule.scalars} | full
            values = {**known, "t": (taken or [0] * len(hypers))[row]}
            self.launch.scalars[row] = [values[name] for name in program.scalars]

    def step(self, gradients: Sequence[Array], threads: int = 2) -> None:
        self.launch.pointers[:, 1] = [g.ctypes.data for g in gradients]
        self.launch(threads)

    def scalar(self, slot: str, row: int = 0) -> float:
        return float(self.launch.scalars[row, self.launch.program.scalars.index(slot)])

    def result(self, tensor: int = 0) -> dict[str, Any]:
        """Parameter and state of a tensor."""
        piece = self.pieces[tensor]
        scalars = {s: self.scalar(s, piece.row) for s in self.rule.scalars}
        return {"theta": piece.theta, **piece.slots, **scalars}


def _guarded(values: Array, guards: list[Array]) -> Array:
    """The values in the middle of a longer array whose ends are marked."""
    around = np.full(values.size + 2 * _GUARD, _MARK, values.dtype)
    guards += [around[:_GUARD], around[_GUARD + values.size :]]
    inside = around[_GUARD : _GUARD + values.size]
    inside[:] = values.ravel()
    return inside


def assert_agree(found: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float) -> None:
    """Every part of the two states is equal within the tolerance, NaN and infinity exactly."""
    assert found.keys() == expected.keys()
    for key, wanted in expected.items():
        got, want = np.asarray(found[key], np.float64), np.asarray(wanted, np.float64)
        finite = np.isfinite(want)
        np.testing.assert_array_equal(got[~finite], want[~finite], err_msg=key)
        scale = np.abs(want[finite]).max(initial=0.0)
        np.testing.assert_allclose(
            got[finite], want[finite], rtol=0, atol=tolerance * scale, err_msg=key
        )
