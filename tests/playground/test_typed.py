"""Functions that a person types: grammar, values, gradients and Hessians."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from browsers import answer, needs_node
from thalweg import ops, surfaces

pytestmark = needs_node


def values(texts, x, y):
    return answer(f"{json.dumps(texts)}.map((text) => T.surface({{text}}).value({x}, {y}))")


PRECEDENCE = {
    "-x^2": -4.0,
    "(-x)^2": 4.0,
    "2^3^2": 512.0,
    "2^-1": 0.5,
    "-2^-2": -0.25,
    "--x": 2.0,
    "-+-x": 2.0,
    "x - 3 - 4": -5.0,
    "x / 4 / 2": 0.25,
    "x / 4 * 2": 1.0,
    "2 + x * 3": 8.0,
    "x * -y": -6.0,
    "x ^ y": 8.0,
    "x**y": 8.0,
    "1e3 + .5 + 2. + 1E-1": 1002.6,
    "sin(pi / 2) + e": 1 + math.e,
    "ln(e)": 1.0,
    "max(x, y) - min(x, y)": 1.0,
    "tan(0)": 0.0,
    "abs(-y)": 3.0,
    "x·y − 1": 5.0,
    "π × 0 + x ÷ 2": 1.0,
    "((((x))))": 2.0,
    "\tx\n+ y ": 5.0,
}


def test_operators_bind_as_in_mathematics():
    assert values([*PRECEDENCE], 2, 3) == pytest.approx([*PRECEDENCE.values()], rel=1e-15)


WRONG = {
    "": ("type a function", 0),
    "   ": ("type a function", 0),
    "x +": ("the text ends here", 3),
    "(x + 1": ('")" expected to close the parenthesis', 6),
    "x)": ("an operator expected", 1),
    "2x": ('"*" expected after 2', 1),
    "2(x)": ('"*" expected after 2', 1),
    "x y": ('"*" expected after x', 2),
    "x(1)": ('"*" expected after x', 1),
    "x $ y": ('"$" has no meaning', 2),
    "sin x": ('"(" expected after sin', 4),
    "sin()": ('a number, x, y, a function or "(" expected', 4),
    "sin(x, y)": ("sin takes 1 argument, not 2", 0),
    "max(x)": ("max takes 2 arguments, not 1", 0),
    "x + foo": ('"foo" is unknown; known: x, y, pi', 4),
    "constructor": ('"constructor" is unknown', 0),
    "__proto__": ("has no meaning", 0),
    "alert(1)": ("expected after alert", 5),
    "x;y": ("has no meaning", 1),
    "1e999": ("is too large", 0),
    "* x": ("a number, x, y", 0),
    "x ^": ("the text ends here", 3),
    "x + " * 200: ("longer than 500", 500),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_function_is_refused_with_its_place(text):
    found = answer(f"T.check({json.dumps(text)})")
    message, position = WRONG[text]
    assert not found["ok"]
    assert message in found["message"]
    assert found["position"] == position
    refused = answer(f"refused(() => T.surface({{text: {json.dumps(text)}}}))")
    assert refused.startswith("ParseError")


def test_nothing_but_text_is_read():
    for given in ("5", "null", "undefined", "{}", "['x']"):
        assert not answer(f"T.check({given})")["ok"]
        assert answer(f"refused(() => T.path({{rule: 'sgd', surface: {{text: {given}}}}}))")


# What each word means, in the package's own vocabulary.
ORACLES = {
    "sin(x*y)+cos(x)-tan(y/3)": lambda x, y: (
        ops.sin(x * y) + ops.cos(x) - ops.sin(y / 3) / ops.cos(y / 3)
    ),
    "exp(-x^2-y^2)": lambda x, y: ops.exp(-(x**2) - y**2),
    "log(x^2+y^2+1)*sqrt(x^2+2)": lambda x, y: ops.log(x**2 + y**2 + 1) * ops.sqrt(x**2 + 2),
    "x^5 - y^7 + x^-2": lambda x, y: x**5 - y**7 + x**-2,
    "(x^2+1)^y + 2^x": lambda x, y: (x**2 + 1) ** y + 2**x,
    "(x^2 + y^2)^0.5 + (x*y)^1 + y^0": lambda x, y: (x**2 + y**2) ** 0.5 + x * y + 1,
    "abs(x - y) + max(x, y^2) * min(x, 2*y)": lambda x, y: (
        ops.abs(x - y) + ops.maximum(x, y**2) * ops.minimum(x, 2 * y)
    ),
    "tanh(x)/(1+y^2) - -x": lambda x, y: ops.tanh(x) / (1 + y**2) + x,
    "x": lambda x, y: x + 0 * y,
    "e^(x/y)": lambda x, y: ops.exp(x / y),
}


@pytest.mark.parametrize("text", ORACLES)
def test_derivatives_are_those_of_torch(text):
    surface = surfaces.Surface.of(ORACLES[text])
    spots = np.random.default_rng(3).uniform(-2, 2, (20, 2))
    found = answer(
        f"((s) => {json.dumps(spots.tolist())}.map((p) => "
        f"[s.value(...p), ...s.gradient(...p), ...s.hessian(...p)]))"
        f"(T.surface({{text: {json.dumps(text)}}}))"
    )
    point = surface._leaves(*spots.T)
    value = surface._differentiable(point)
    wanted = by_torch(value, point)
    # Some ten roundings, magnified where terms cancel: relative to the largest of the six.
    scale = np.abs(wanted).max(axis=1, keepdims=True)
    assert np.all(np.abs(np.array(found) - wanted) <= 1e-13 * (1 + scale))


def by_torch(value, point):
    import torch

    def slopes(of):
        if not of.requires_grad:
            return [torch.zeros_like(p) for p in point]
        return torch.autograd.grad(
            of.sum(), point, create_graph=True, materialize_grads=True, allow_unused=True
        )

    first = slopes(value)
    (xx, xy), (_, yy) = (slopes(g) for g in first)
    columns = (value, *first, xx, xy, yy)
    return torch.stack([c.detach() for c in columns], dim=1).numpy()


BUILT_IN = {
    "beale": "(1.5 - x + x*y)^2 + (2.25 - x + x*y^2)^2 + (2.625 - x + x*y^3)^2",
    "rosenbrock": "(1-x)^2 + 100*(y-x^2)^2",
    "himmelblau": "(x^2+y-11)^2 + (x+y^2-7)^2",
    "monkey-saddle": "x^3 - 3*x*y^2",
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_typed_surface_is_the_built_in_one(name):
    surface = surfaces.find(name)
    options = {"rule": "momentum", "start": surface.starts[0], "steps": 50, "hyper": {"lr": 1e-4}}
    typed = {"text": BUILT_IN[name], "view": surface.view}
    left, right = answer(
        f"[T.path({json.dumps({**options, 'surface': name})}),"
        f"T.path({json.dumps({**options, 'surface': typed})})]"
    )
    # The same sums and products in another order where a Python formula is differentiated.
    assert left["points"] == pytest.approx(right["points"], rel=1e-12, abs=1e-12)


def test_poles_and_overflows_are_no_errors():
    texts = ["1/x", "log(x)", "sqrt(x-1)", "exp(exp(exp(9+x)))", "x^0.5", "0/x", "(x-1)^0.5"]
    assert values(texts, 0, 0) == ["Infinity", "-Infinity", "NaN", "Infinity", 0, "NaN", "NaN"]
    path = answer(
        "T.path({rule: 'sgd', surface: {text: 'x + 1/y'}, start: [0, 0.1], steps: 50,"
        "hyper: {lr: 0.1}})"
    )
    assert path["diverged_at"] is not None or path["steps"] == 50
    refused = answer("refused(() => T.path({rule: 'sgd', surface: {text: '1/x'}, start: [0, 0]}))")
    assert "no finite value at start" in refused


def test_a_root_is_flat_at_its_end():
    """As `ops.sqrt` says; a cone has slope 0 at its tip."""
    found = answer(
        "((s) => [s.gradient(0, 0), s.hessian(0, 0)])(T.surface({text: 'sqrt(x^2+y^2)'}))"
    )
    assert found == [[0, 0], [0, 0, 0]]


def test_constants_are_folded_and_a_view_is_checked():
    assert values(["2*3+x*0+pi^0"], 1, 1) == [7]
    for view in ([1, 0, 0, 1], [0, 1, 0], "wide", [0, 1, 0, None]):
        given = json.dumps({"text": "x", "view": view})
        assert "must be [left, right, bottom, top]" in answer(f"refused(() => T.surface({given}))")


def test_random_functions_are_pythons():
    """Trees of every operator, written with as few parentheses as the grammar allows."""
    random = np.random.default_rng(11)

    def write(depth):
        if depth == 0 or random.random() < 0.15:
            return random.choice(["x", "y", "2", "0.5", "pi"])
        kind = random.integers(7)
        if kind == 0:
            return f"-{write(depth - 1)}"
        if kind == 1:
            return f"{random.choice(['sin', 'cos', 'exp', 'tanh', 'abs'])}({write(depth - 1)})"
        if kind == 2:
            return f"({write(depth - 1)})^2"
        sign = random.choice(["+", "-", "*", "/"])
        return f"{write(depth - 1)} {sign} {write(depth - 1)}"

    texts = [write(4) for _ in range(300)]
    names = {"x": 0.7, "y": -1.3, "pi": math.pi, "abs": abs}
    names |= {name: getattr(ops, name) for name in ("sin", "cos", "exp", "tanh")}
    found, compared = values(texts, 0.7, -1.3), 0
    for text, got in zip(texts, found, strict=True):
        wanted = _python(text, names)
        if wanted is None:
            continue
        compared += 1
        assert float(got) == pytest.approx(wanted, rel=1e-12, abs=1e-12, nan_ok=True), text
    assert compared > 250


def _python(text, names):
    """What Python makes of the same text; None where it refuses a division by 0 or overflows."""
    try:
        return float(eval(text.replace("^", "**"), {"__builtins__": {}}, names))
    except (ZeroDivisionError, OverflowError):
        return None
