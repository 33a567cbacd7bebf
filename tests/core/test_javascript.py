"""Rules as JavaScript functions, run by Node beside the rules themselves on float64 arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from browsers import needs_node, node
from oracles import EVERY_RULE, formula, lively
from thalweg.formula import javascript
from thalweg.rules import Rule, adamp, clip_norm, clip_value, rule
from thalweg.tape import trace

Array = npt.NDArray[np.float64]
STEPS = 200
SHAPES = ((5,), (3, 4), (), (2, 3, 2))

# Operations that IEEE 754 rounds alike everywhere.
EXACT = {
    *("add", "sub", "mul", "div", "neg", "sqrt", "abs", "where", "maximum", "minimum"),
    *("gt", "lt", "ge", "le", "eq", "ne", "and", "or"),
}
# Powers, sums and functions differ by a unit or two in the last place, of which 1 - beta**t makes
# some hundred in the first steps: up to 6e-15 of the largest element after 200 steps of these rules
# with V8 and glibc. Other mathematical libraries are let differ by some more.
BOUND = 1e-13


@rule(scalars=("new", "size"), init={"new": 1.0, "size": "this"})
def words(theta, g, var, new, size, t, *, this=0.5, function=2.0, i=0.25):  # type: ignore[no-untyped-def]
    """A rule whose names JavaScript has taken */ and </script>."""
    var = this * var + g / function
    return theta - i * var / new, var, new + this, size * i + t


@rule
def inherited(theta, g, valueOf, t, *, toString=0.1, constructor=0.5):  # type: ignore[no-untyped-def]
    """Names that every object of JavaScript has."""
    valueOf = constructor * valueOf + g
    return theta - toString * valueOf, valueOf


@rule
def constants(theta, g, m, t, *, lr=0.1):  # type: ignore[no-untyped-def]
    """Divided by a number, and slots that become a number or the parameter."""
    return theta - lr * g / 3.0 + g**2 / lr, theta


@rule
def reset(theta, g, m, n, t, *, lr=0.1):  # type: ignore[no-untyped-def]
    """A slot that becomes the same number everywhere."""
    from thalweg.ops import norm, sum

    scale = sum(g * theta, "channel") / (1 + norm(g, "all"))
    return theta - lr * scale * g, scale, 1.5


OWN = [words, inherited, constants, reset, clip_value(clip_norm(adamp, max_norm=0.5))]
RULES = [*EVERY_RULE, *OWN]

RUN = """
const steps = [%s];
const cases = %s;
const plain = (x) => (x.length === undefined ? x : Array.from(x));
const found = cases.map(({rule, theta, gradients, hyper, shape}) => {
  let state = {theta, slots: {}};
  gradients.forEach((g, k) => {
    state = steps[rule](state.theta, g, state.slots, k + 1, hyper, shape);
  });
  const values = {theta: state.theta, ...state.slots};
  return Object.fromEntries(Object.entries(values).map(([k, x]) => [k, plain(x)]));
});
const spelled = (_, x) => (typeof x !== "number" || Number.isFinite(x) ? x : `${x}`);
console.log(JSON.stringify(found, spelled));
"""


def problem(shape: Sequence[int]) -> tuple[Array, list[Array]]:
    """A parameter and gradients that shrink to a tenth, so that nothing runs away."""
    random = np.random.default_rng(len(shape))
    scales = np.geomspace(1.0, 0.1, STEPS)
    return random.normal(size=shape), [s * random.normal(size=shape) for s in scales]


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, tuple[int, ...]], dict[str, Any]]:
    """What JavaScript makes of all rules, in one process."""
    cases, keys = [], []
    for k, form in enumerate(RULES):
        for shape in SHAPES:
            theta, gradients = problem(shape)
            cases.append(
                {
                    "rule": k,
                    "theta": theta.ravel().tolist(),
                    "gradients": [g.ravel().tolist() for g in gradients],
                    "hyper": lively(form),
                    "shape": shape,
                }
            )
            keys.append((form.name, shape))
    script = RUN % (",\n".join(map(javascript, RULES)), json.dumps(cases))
    results = json.loads(node(script))
    return dict(zip(keys, results, strict=True))


@needs_node
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", RULES, ids=lambda r: r.name)
def test_steps_as_the_rule_does(form: Rule, shape: tuple[int, ...], found: Any) -> None:
    theta, gradients = problem(shape)
    with np.errstate(all="ignore"):
        expected = formula(form, theta, gradients, lively(form))
    got = found[form.name, shape]
    assert got.keys() == expected.keys()
    exact = {line.operation for line in trace(form).lines} <= EXACT
    for key, wanted in expected.items():
        whole = shape if key == "theta" or key in form.array_slots else ()
        want = np.broadcast_to(np.asarray(wanted, np.float64), whole).ravel()
        have = np.asarray(got[key], np.float64).ravel()
        if exact:
            np.testing.assert_array_equal(have, want, err_msg=key)
        else:
            scale = np.abs(want[np.isfinite(want)]).max(initial=0.0)
            np.testing.assert_allclose(have, want, rtol=0, atol=BOUND * scale, err_msg=key)


def test_exact_rules_are_many() -> None:
    """Else equality to the last bit would be tested of little."""
    exact = {r.name for r in RULES if {i.operation for i in trace(r).lines} <= EXACT}
    assert {"sgd", "momentum", "nesterov", "rprop", "adagrad", "adadelta", "rmsprop"} <= exact
    assert {"lion", "words", "constants", "paper:amsgrad"} <= exact
    assert len(exact) > 30


@needs_node
def test_small_powers_of_arrays_are_products() -> None:
    """As in every engine; NumPy's own third power is the C library's."""

    @rule
    def powers(theta, g, t, *, lr=0.1):  # type: ignore[no-untyped-def]
        return theta - lr * (g**4 - g**3)

    theta, (g, *_) = problem((50,))
    step = f"({javascript(powers)})({theta.tolist()}, {g.tolist()}, {{}}, 1)"
    got = json.loads(node(f"console.log(JSON.stringify([...{step}.theta]))"))
    assert got == (theta - 0.1 * ((g * g) * (g * g) - g * g * g)).tolist()


@needs_node
def test_defaults_and_an_empty_tensor() -> None:
    script = (
        f"const step = {javascript(words)};\n"
        "const {theta, slots} = step([1, 2], [0.5, 0.25], {}, 1);\n"
        "const none = step([], [], {}, 1, {this: 0}, [0, 3]);\n"
        "console.log(JSON.stringify([[...theta], [...slots.var], slots.new, slots.size,"
        " none.theta.length, none.slots.new]));"
    )
    assert json.loads(node(script)) == [[0.9375, 1.96875], [0.25, 0.125], 1.5, 1.125, 0, 1]


@needs_node
def test_arrays_that_were_given_stay_as_they_are() -> None:
    script = (
        f"const step = {javascript(constants)};\n"
        "const theta = Float64Array.of(1, 2), slots = {m: Float64Array.of(3, 4)};\n"
        "const next = step(theta, [1, 1], slots, 1);\n"
        "next.slots.m[0] = 7; next.theta[0] = 7;\n"
        "console.log(JSON.stringify([[...theta], [...slots.m]]));"
    )
    assert json.loads(node(script)) == [[1, 2], [3, 4]]


def test_a_comment_cannot_end_early() -> None:
    text = javascript(words)
    assert text.startswith("/* A rule whose names JavaScript has taken * / and < /script>. */\n")
    assert "</" not in text


def test_numbers_that_have_no_plain_literal() -> None:
    @rule
    def wild(theta, g, t, *, low=-math.inf, high=math.inf, lr=-0.5):  # type: ignore[no-untyped-def]
        from thalweg.ops import clamp

        return theta - lr * clamp(g, low, high)

    text = javascript(wild)
    assert "?? (-Infinity);" in text
    assert "?? Infinity;" in text
    assert "?? (-0.5);" in text
