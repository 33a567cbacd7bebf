"""What the page computes with, as JavaScript generated from the rules and surfaces themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .. import formula, ops
from ..formula import unrolled
from ..formula.arithmetic import arithmetic
from ..formula.derivatives import OUTPUTS, differentiate
from ..formula.javascript import literal
from ..rules import (
    LogRange,
    NearOne,
    Range,
    Rule,
    averages,
    clip_norm,
    clip_value,
    conventions,
    coupled_weight_decay,
    decoupled_weight_decay,
    maximize,
    registry,
    rule,
)
from ..rules.core import Combinator
from ..rules.variants.mistakes import MISTAKES
from ..schedules import shapes
from ..surfaces import Surface
from ..surfaces.arguments import candidate_rates
from ..surfaces.catalogue import lecture
from ..surfaces.mistakes import lecture_gradient
from ..tape import record
from . import regression

TRANSFORMS = (coupled_weight_decay, decoupled_weight_decay, maximize, clip_value, clip_norm)
AVERAGES = (averages.average, averages.corrected_average)


class Code(str):
    """Text that is JavaScript already."""


class Shared(tuple[Any, ...]):
    """A value that others are likely to repeat: the page has it once."""


def javascript(rules: Iterable[Rule], surfaces: Iterable[Surface]) -> str:
    """The constants that core.js reads: rules, transforms, averages, schedules and surfaces.

    Args:
        rules: of a person's own, before the built-in ones.
        surfaces: likewise.

    Raises:
        RuleError: a rule or surface that cannot be recorded.
    """
    chosen = {name: _rule(each, name) for name, each in named_rules(rules).items()}
    grounds = {s.name: _surface(s) for s in _surfaces(surfaces).values()}
    grounds.setdefault(regression.NAME, _regression())
    grounds["mistake:lecture"] = _mistaken_gradient()
    constants = {
        "RULES": chosen,
        "TRANSFORMS": {c.name: _transform(c) for c in TRANSFORMS},
        "AVERAGES": {r.name: _rule(r, r.name) for r in AVERAGES},
        "SCHEDULES": {kind: Code(arithmetic(shape)) for kind, shape in shapes().items()},
        "SURFACES": grounds,
        **_primitives(),
    }
    shared: dict[str, int] = {}
    written = [f"const {k} = {write(value, shared)};" for k, value in constants.items()]
    pool = ",\n".join(shared)
    return "\n".join([f"const S=[{pool}];", *written])


def write(value: Any, shared: dict[str, int]) -> str:
    """A value as a JavaScript expression: numbers of any kind, text, lists, mappings, code.

    Args:
        value: the value.
        shared: the expressions of the page's shared values by their place; new ones are added.
    """
    if isinstance(value, Shared):
        place = shared.setdefault(write(value[0], shared), len(shared))
        return f"S[{place}]"
    if isinstance(value, Code):
        return str(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return str(value) if isinstance(value, int) else literal(value)
    if isinstance(value, Mapping):
        return "{" + ",\n".join(f"{_key(k)}:{write(v, shared)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(write(each, shared) for each in value) + "]"
    raise TypeError(f"{value!r} has no JavaScript")


def _key(name: str) -> str:
    """A name as the key of an object; `__proto__` alone would set the object's prototype."""
    if name == "__proto__":
        return '["__proto__"]'
    return name if name.isidentifier() and name.isascii() else _text(name)


def _text(value: str) -> str:
    """A string that ends no script element and begins no comment in one."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("</s", "<\\/s").replace("</S", "<\\/S").replace("<!", "<\\!")


# --- rules ---


def named_rules(own: Iterable[Rule]) -> dict[str, Rule]:
    """All rules by the names that the page has for them.

    A person's own come first, and stand for a built-in one of the same name; then those of torch,
    then the variants of other conventions, then the mistakes.
    """
    built_in = registry()
    found = {r.name: r for r in own}
    found |= {name: r for name, r in built_in.items() if name not in found}
    for name in built_in:
        for convention, variant in conventions(name).items():
            if variant is not built_in[name]:
                found[f"{convention}:{name}"] = variant
    return found | {f"mistake:{r.name}": r for r in MISTAKES}


def _rule(rule: Rule, name: str) -> dict[str, Any]:
    """A rule as core.js reads it."""
    convention, colon, _ = name.rpartition(":")
    rates = candidate_rates(rule) if "lr" in rule.defaults else []
    return {
        "name": name,
        "title": rule.title,
        "reference": Shared([str(rule.reference or "")]),
        "convention": convention if colon else "torch",
        "hyper": [Shared([_hyper(rule, k, v)]) for k, v in rule.defaults.items()],
        "slots": [
            Shared([{"name": s, "first": rule.init.get(s, 0.0), "scalar": s in rule.scalars}])
            for s in rule.slots
        ],
        "rates": Shared([rates]),
        **_formula(rule),
    }


def _formula(rule: Rule) -> dict[str, Any]:
    """The step of a rule, and its lines with what each reads."""
    step = unrolled.step(rule)
    lines = [
        Shared(
            [
                {
                    "mathml": formula.line(rule, statement),
                    "reads": step.reads(statement),
                    "targets": list(statement.targets),
                    "conditions": [t for t in statement.targets if t in step.conditions],
                }
            ]
        )
        for statement in step.statements
    ]
    parameters = rule.formula.__code__.co_varnames[:2]
    return {
        "parameters": list(parameters),
        "constants": step.constants,
        "lines": lines,
        "step": Shared([Code(step.javascript)]),
    }


def _hyper(rule: Rule, name: str, default: float) -> dict[str, Any]:
    """A hyperparameter with the ends of its slider and the scale between them."""
    span = rule.learning_rates() if name == "lr" else rule.search.get(name)
    scale, low, high = _scale(span, default)
    return {
        "name": name,
        "symbol": formula.symbols(rule)[name],
        "default": default,
        "scale": scale,
        "low": low,
        "high": high,
        "free": default < 0 or math.isinf(default),
    }


def _scale(span: Range | None, default: float) -> tuple[str, float, float]:
    """How a slider runs: even in the logarithm, in that of 1 − value, or in the value."""
    if isinstance(span, LogRange):
        return "log", *span.ends
    if isinstance(span, NearOne):
        return "near-one", *span.ends
    if span is not None:
        return "linear", *span.ends
    if 0 < default < math.inf and not 0.1 <= default <= 1:
        return "log", default / 100, default * 100
    return "linear", 0.0, 1.0


def _transform(combinator: Combinator) -> dict[str, Any]:
    """A combinator as a rule whose one slot becomes the new gradient."""

    @rule
    def passed(theta: Any, g: Any, gradient: Any, t: Any) -> Any:
        return theta, g

    inner = Rule("", passed.formula, passed.slots, dict.fromkeys(combinator.uses, math.nan))
    made = combinator(inner, name=combinator.name, title=combinator.title)
    written = _formula(made)
    written["lines"] = written["lines"][:-1]  # the last one only hands the gradient on
    return {
        "name": combinator.name,
        "title": combinator.title,
        "hyper": [_transform_hyper(made, k, v) for k, v in made.defaults.items()],
        "slots": [{"name": "gradient", "first": 0.0, "scalar": False}],
        **written,
    }


def _transform_hyper(rule: Rule, name: str, default: float) -> dict[str, Any]:
    if math.isnan(default):  # it is the rule's
        return {"name": name, "default": default}
    return _hyper(rule, name, default)


# --- surfaces ---

_ORDERS = {"value": 0, "gradient": 1, "hessian": 2}  # of derivatives


def _surfaces(own: Iterable[Surface]) -> dict[str, Surface]:
    from ..surfaces import registry

    found = {s.name: s for s in own}
    return found | {name: s for name, s in registry().items() if name not in found}


def _surface(surface: Surface) -> dict[str, Any]:
    """A surface with its generated functions."""
    return {
        "title": surface.title,
        "view": surface.view,
        "starts": surface.starts,
        "minima": surface.minima,
        "saddles": surface.saddles,
        "bounded": surface.bounded,
        **_functions(surface.formula, name=surface.name),
    }


def _functions(function: Callable[..., Any], name: str) -> Any:
    """Value, gradient and Hessian of a function of two variables."""
    return {
        key: Code(unrolled.function(differentiate(function, order, name=name)))
        for key, order in _ORDERS.items()
    }


def _regression() -> dict[str, Any]:
    columns = ("length", "width")
    return {
        "title": regression.TITLE,
        "view": regression.VIEW,
        "starts": [regression.START],
        "minima": [regression.least_squares()],
        "saddles": [],
        "bounded": True,
        "columns": columns,
        "rows": regression.ROWS,
        "mean": {
            key: Code(
                unrolled.mean(differentiate(regression.squared_error, order, data=columns), columns)
            )
            for key, order in _ORDERS.items()
        },
    }


def _mistaken_gradient() -> dict[str, Any]:
    """The lecture's surface, descended by a gradient with mistakes."""

    def call(x: Any, y: Any, *_: Any) -> tuple[Any, ...]:
        return x, lecture.formula(x, y), *lecture_gradient(x, y)

    shape = Rule("lecture_gradient", lecture_gradient, OUTPUTS[:3], {})
    title = "Lecture, mistaken: the true heights, and a gradient with three wrong terms."
    written = _surface(lecture) | {"title": title}
    return written | {"gradient": Code(unrolled.function(record(shape, call, reciprocals=False)))}


def _primitives() -> dict[str, Any]:
    """The operations of typed functions by number; without, with first, with second derivatives."""
    unary = ("sin", "cos", "exp", "log", "sqrt", "abs", "tanh")
    found: dict[str, Any] = {name: _unary(getattr(ops, name)) for name in unary}
    found |= {
        "neg": lambda x, y: -x,
        "add": lambda x, y: x + y,
        "sub": lambda x, y: x - y,
        "mul": lambda x, y: x * y,
        "div": lambda x, y: x / y,
        "pow": lambda x, y: x**y,
        "max": ops.maximum,
        "min": ops.minimum,
    }
    # To the power of a number: its derivatives need no logarithm, so that u may be negative.
    found["powc"] = lambda u, v, *, c: u**c
    recorded = [
        [differentiate(f, n, data=("c",) if name == "powc" else ()) for name, f in found.items()]
        for n in range(3)
    ]
    return {
        "OPERATIONS": {name: place for place, name in enumerate(found)},
        "PRIMITIVES": [Code(unrolled.choice(programs, ("c",))) for programs in recorded],
    }


def _unary(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda x, y: function(x)
