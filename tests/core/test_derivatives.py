"""Derivatives that the tape records, against torch's; and functions of numbers as JavaScript."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch

from browsers import needs_node, node
from thalweg import ops, surfaces
from thalweg.errors import UsageError
from thalweg.formula.arithmetic import arithmetic
from thalweg.formula.derivatives import OUTPUTS, differentiate
from thalweg.formula.unrolled import function
from thalweg.rules import RuleError
from thalweg.surfaces.derivatives import evaluate

FUNCTIONS = {
    "products": lambda x, y: (x * y - 3) * (x + y) * x,
    "powers": lambda x, y: x**2 - y**3 + x**4 - y**5 + x**-3 + (x * x + 1) ** 0.5 + y**1 + y**0,
    "powers of both": lambda x, y: (x * x + 1) ** y + 2.0**x + (x * x + y * y) ** (x * y),
    "quotients": lambda x, y: x / (y * y + 1) - 2 / (x * x + 3) + y / 7,
    "roots": lambda x, y: ops.sqrt(x * x + y * y + 1) * ops.sqrt(x * x + 0.1),
    "waves": lambda x, y: ops.sin(x * y) * ops.cos(x - y),
    "exponentials": lambda x, y: ops.exp(-x * y) + ops.log(x * x + y * y) + ops.tanh(x - y),
    "kinks": lambda x, y: ops.abs(x - y) * x + ops.maximum(x, y * y) - ops.minimum(x * y, y),
    "choices": lambda x, y: ops.where((x > y) & (x > 0), x * x, ops.where(y < 1, y**3, x * y)),
    "signs": lambda x, y: ops.sign(x) * y * y + ops.clamp(x * y, -0.5, 0.5),
    "one variable": lambda x, y: ops.exp(x),
    "the other": lambda x, y: y,
}


def by_torch(formula, x, y):
    """Value, gradient and Hessian as torch has them, of shape (6, …)."""
    point = [torch.from_numpy(c.copy()).requires_grad_() for c in (x, y)]

    def slopes(value):
        if not value.requires_grad:
            return [torch.zeros_like(p) for p in point]
        return torch.autograd.grad(value.sum(), point, create_graph=True, materialize_grads=True)

    value = formula(*point)
    first = slopes(value)
    (xx, xy), (_, yy) = map(slopes, first)
    return torch.stack([v.detach() for v in (value, *first, xx, xy, yy)]).numpy()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_those_of_torch(name):
    x, y = np.random.default_rng(1).uniform(-2, 2, (2, 400))
    found = np.array(evaluate(differentiate(FUNCTIONS[name]), x, y))
    wanted = by_torch(FUNCTIONS[name], x, y)
    # Some twenty roundings of terms that may cancel: relative to the largest of the six.
    assert np.all(np.abs(found - wanted) <= 1e-13 * (1 + np.abs(wanted).max(axis=0)))


@pytest.mark.parametrize("order", [0, 1, 2])
def test_lower_orders_are_the_first_outputs(order):
    x, y = np.random.default_rng(2).uniform(-2, 2, (2, 20))
    count = (1, 3, 6)[order]
    program = differentiate(surfaces.beale.formula, order)
    assert tuple(name for name, _ in program.outputs) == OUTPUTS[:count]
    whole = evaluate(differentiate(surfaces.beale.formula), x, y)
    for found, wanted in zip(evaluate(program, x, y), whole, strict=False):
        assert found.tolist() == wanted.tolist()


def test_kinks_and_ends_have_the_stated_slopes():
    x = np.array([0.0])
    assert evaluate(differentiate(lambda x, y: ops.abs(x)), x, x)[1] == 0
    assert evaluate(differentiate(lambda x, y: ops.maximum(x, 2 * x)), x, x)[1] == 1
    assert evaluate(differentiate(lambda x, y: ops.minimum(3 * x, x)), x, x)[1] == 3
    root = evaluate(differentiate(lambda x, y: ops.sqrt(x * x + y * y)), x, x)
    assert [float(v[0]) for v in root] == [0.0] * 6


def test_data_are_numbers_beside_the_variables():
    program = differentiate(lambda x, y, *, a, b: (a * x + y - b) ** 2, data=("a", "b"))
    assert {"a", "b"} <= set(program.scalars)
    text = function(program, ("a", "b"))
    assert text.startswith("function (x, y, a, b, out) {")


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (lambda x, y: ops.sum(x * y), "uses sum, which measures a whole array"),
        (lambda x, y: ops.norm(x, "channel"), "uses channel_sum"),
        (lambda x, y: 4.0, "is 4.0 everywhere"),
        (lambda x, y: x if x > 0 else y, "cannot branch"),
        (lambda x, y: math.sin(x), "thalweg.ops"),
        (lambda x, y: x > y, "returns a condition"),
        (lambda x: x, "positional argument"),
    ],
)
def test_what_cannot_be_recorded_says_why(formula, words):
    with pytest.raises(RuleError) as caught:
        differentiate(formula, name="mine")
    assert words in str(caught.value)


# --- surfaces, which torch differentiates where the tape cannot ---


@pytest.mark.parametrize("name", ["beale", "ackley", "long-valley", "easom"])
def test_a_surface_has_the_derivatives_of_torch(name):
    surface = surfaces.find(name)
    left, right, bottom, top = surface.view
    random = np.random.default_rng(4)
    x, y = random.uniform(left, right, 50), random.uniform(bottom, top, 50)
    value, gradient = surface.value_and_gradient(x, y)
    (xx, xy), (yx, yy) = surface.hessian(x, y)
    wanted = by_torch(surface.formula, x, y)
    assert np.array_equal(xy, yx)
    found = np.stack([value, *gradient, xx, xy, yy])
    assert np.all(np.abs(found - wanted) <= 1e-12 * (1 + np.abs(wanted).max(axis=0)))


def test_a_function_of_torchs_own_is_still_a_surface():
    surface = surfaces.Surface.of(lambda x, y: torch.sin(x) * torch.cosh(y))
    value, gradient = surface.value_and_gradient(0.5, [0.0, 1.0])
    assert value == pytest.approx([math.sin(0.5), math.sin(0.5) * math.cosh(1)], rel=1e-15)
    assert gradient[0] == pytest.approx([math.cos(0.5), math.cos(0.5) * math.cosh(1)], rel=1e-15)
    assert surface.hessian(0.5, 0.0)[0, 0] == pytest.approx(-math.sin(0.5), rel=1e-15)


def test_objects_that_are_called_are_surfaces_too():
    class Bowl:
        __hash__ = None

        def __call__(self, x, y):
            return x**2 + 3 * y**2

    tilted = functools.partial(lambda tilt, x, y: x**2 + tilt * y, 2.0)
    assert surfaces.Surface.of(Bowl()).gradient(1.0, 1.0).tolist() == [2, 6]
    assert surfaces.Surface.of(tilted).gradient(1.0, 1.0).tolist() == [2, 2]


# --- functions of plain numbers ---

RATE = 0.25


def plain(k, var):
    """An argument whose name JavaScript has taken."""
    return (
        -(RATE ** (k // -(-var // 3))) + math.cos(math.pi * k / var) * math.exp(-k) - math.sin(var)
    )


def two(k, var):
    half = k / 2
    return half + var


def conditional(k, var):
    return k if var > 1 else 0


@needs_node
def test_a_function_of_numbers_is_the_same_in_javascript():
    pairs = [(k, n) for n in (1, 2, 3, 10, 91) for k in range(0, 12, 3)]
    script = f"const f = {arithmetic(plain)};"
    script += f"console.log(JSON.stringify({[[*p] for p in pairs]}.map((p) => f(...p))))"
    # Powers, sines and exponentials of two libraries.
    wanted = [plain(*p) for p in pairs]
    assert np.array(eval(node(script))) == pytest.approx(wanted, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("function", [two, conditional, max, lambda k: k])
def test_what_is_no_single_expression_is_refused(function):
    with pytest.raises(UsageError):
        arithmetic(function)
