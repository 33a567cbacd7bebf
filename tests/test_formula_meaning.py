"""The printed mathematics means what the rule computes: it is read back and run."""

from __future__ import annotations

import random
import re
import runpy
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from thalweg import formula, ops, rules
from thalweg.rules import Rule

cells = runpy.run_path(str(Path(__file__).with_name("formula_cells.py")))
define: Callable[..., Rule] = cells["define"]

# --- The three readers: printed formula -> Python statements ---


def _translate(text: str, tokens: dict[str, str | Callable[[re.Match[str]], str]]) -> str:
    """Each match of a pattern replaced, the earlier pattern first where several match."""

    def python(match: re.Match[str]) -> str:
        number = match.lastgroup
        assert number is not None
        value = list(tokens.values())[int(number[1:])]
        return value if isinstance(value, str) else value(match)

    patterns = "|".join(f"(?P<_{i}>{pattern})" for i, pattern in enumerate(tokens))
    return re.sub(patterns, python, text)


def _symbols(of: Rule, notation: Any) -> dict[str, str]:
    found = {written: name for name, written in formula.symbols(of, notation).items()}
    assert len(found) == len(formula.symbols(of)), "two variables look the same"
    return {re.escape(s): found[s] for s in sorted(found, key=len, reverse=True)}


_FUNCTIONS = {"sgn": "sign", "max": "maximum", "min": "minimum"}


def _function(match: re.Match[str]) -> str:
    name = re.sub(r"\W|mathrm|left", "", match[0])
    return f"{_FUNCTIONS.get(name, name)}("


def read_text(of: Rule) -> list[str]:
    raised = f"[{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵗⁿᵏ')}]+"
    tokens: dict[str, Any] = {
        raised: lambda m: f"**({unicodedata.normalize('NFKC', m[0]).replace('−', '-')})",
        r"[a-z]+\(": _function,
        r"\bif\b": "if", "; else": " else", ";": " else",
        **_symbols(of, formula.TEXT),
        "√": "ROOT**", r"\{": "(", r"\}": ")", r"\^": "**", "·": "*", "−": "-",
        "∧": "and", "∨": "or", "¬": "not ", "≤": "<=", "≥": ">=", "=": "==", "≠": "!=", "←": "=",
        # A bar after a value closes, any other opens.
        r"(?<=[^\s(|{√·−¬^])\|": ")", r"\|": "abs(",
    }  # fmt: skip
    return [_translate(line, tokens) for line in formula.text(of).splitlines()]


def read_latex(of: Rule) -> list[str]:
    tokens: dict[str, Any] = {
        r"\\mathrm\{\w+\}\\left\(": _function,
        **_symbols(of, formula.LATEX),
        r"\\begin\{cases\}": "(", r"& \\text\{otherwise\} \\end\{cases\}": ")",
        r"& \\text\{if \}": "if", r"\\\\": "else",
        r"\\left\|": "abs(", r"\\right\|": ")", r"\\left\(": "(", r"\\right\)": ")",
        r"\\frac\{": "frac(", r"\\sqrt\{": "sqrt(", r"\^\{": "**(", r"\}\{": ")(", r"\{": "(",
        r"\}": ")", r"&\\leftarrow": "=", "=": "==", r"\\cdot": "*", r"\\land": "and",
        r"\\lor": "or", r"\\lnot": "not", r"\\le": "<=", r"\\ge": ">=", r"\\ne": "!=",
    }  # fmt: skip
    inside = formula.latex(of).removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}")
    return [_translate(line.removesuffix(r" \\"), tokens) for line in inside.splitlines()]


def read_mathml(of: Rule) -> list[str]:
    known = {
        ET.tostring(ET.fromstring(s)): name
        for name, s in formula.symbols(of, formula.MATHML).items()
    }
    root = ET.fromstring(
        formula.mathml(of).replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    )
    return [" ".join(_python(cell, known) for cell in row) for row in root[0]]


_SIGNS = {"⋅": "*", "−": "-", "∧": "and", "∨": "or", "¬": "not", "≤": "<=", "≥": ">=", "=": "==",
          "≠": "!=", "←": "=", "\u2061": ""}  # fmt: skip


def _python(node: ET.Element, known: dict[bytes, str]) -> str:
    if name := known.get(ET.tostring(node)):
        return name
    parts = [_python(child, known) for child in node] if node.tag != "msubsup" else []
    match node.tag:
        case "mn":
            return node.text or ""
        case "mi":
            return _FUNCTIONS.get(node.text or "", node.text or "")
        case "mo":
            return _SIGNS.get(node.text or "", node.text or "")
        case "mfrac":
            return "frac({})({})".format(*parts)
        case "msqrt":
            return f"sqrt({' '.join(parts)})"
        case "msup":
            return "{}**({})".format(*parts)
        case "msubsup":
            base = ET.Element("msub")
            base.extend(node[:2])
            return f"{known[ET.tostring(base)]}**({_python(node[2], known)})"
        case "mtable":
            return " else ".join(parts)
        case "mtext":
            return "if " if (node.text or "").startswith("if") else ""
    if node.tag == "mrow" and parts and parts[0] == "|":
        return f"abs({parts[1]})"
    if node.tag == "mrow" and parts and parts[0] == "{":
        return f"({parts[1]})"
    return " ".join(parts)


READERS = {"text": read_text, "latex": read_latex, "mathml": read_mathml}

# --- Printed, read back, run ---


@pytest.mark.parametrize("notation", ["text", "latex", "mathml"])
@pytest.mark.parametrize("name", rules.registry())
def test_every_rule_means_what_it_computes(name: str, notation: str) -> None:
    found = rules.find(name)
    statements = READERS[notation](found)
    draw = random.Random(name)
    for t in range(1, 20):
        state = {s: draw.uniform(0.2, 2) for s in ("theta", "g", *found.slots)}
        expected = found(*state.values(), t)
        scope = reading({**vars(ops), **state, **found.defaults, "t": t})
        for statement in statements:
            exec(statement, scope)
        got = [scope[s] for s in ("theta", *found.slots)]
        # g² is printed where the rule multiplies twice, which may round once less.
        assert got == pytest.approx(list(expected), rel=1e-9, nan_ok=True)


@given(st.data())
@settings(deadline=None, max_examples=300, derandomize=True)
def test_any_expression_keeps_its_meaning(data: st.DataObject) -> None:
    """Exact: on fractions, with functions that no identity can confuse."""
    source = data.draw(EXPRESSIONS)
    scope = reading({**EXACT, **{n: Fraction(p, q) for n, p, q in NUMBERS}})
    try:
        expected = eval(_exact(source), scope)
    except ZeroDivisionError:
        assume(False)
    printed = define(f"return {source}", ", ".join(f"{n}=1.0" for n, _, _ in NUMBERS))
    for notation, read in READERS.items():
        (statement,) = read(printed)
        got = eval(_exact(statement.partition(" = ")[2]), scope)
        assert got == expected, f"{source} in {notation}: {getattr(formula, notation)(printed)}"


NUMBERS = [
    ("beta1", 3, 7),
    ("m_hat", -5, 3),
    ("v_max", 2, 11),
    ("weight_decay", 13, 5),
    ("n", 2, 1),
]
EXACT: dict[str, Any] = {
    "F": Fraction,
    "sqrt": lambda x: x * x + 7,
    "exp": lambda x: 3 * x - 1,
    "abs": abs,
    "sign": lambda x: x + 5,
    "maximum": lambda x, y: x + 2 * y,
    "minimum": lambda x, y: x - 3 * y,
    "clamp": lambda x, y, z: x - 3 * y + z,
    "where": lambda c, x, y: x if c else y,
}


class Root:
    """√x as Python can read it: `ROOT**x` binds as a root sign does."""

    def __init__(self, sqrt: Callable[[Any], Any]) -> None:
        self.sqrt = sqrt

    def __pow__(self, x: Any) -> Any:
        return self.sqrt(x)


def reading(scope: dict[str, Any]) -> dict[str, Any]:
    """The scope with what stands in a formula where Python has no such notation."""
    return {**scope, "frac": lambda x: lambda y: x / y, "ROOT": Root(scope["sqrt"])}


def _exact(source: str) -> str:
    return re.sub(r"(?<![\w.])\d+(?!\w)", lambda m: f"F({m[0]})", source)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    condition = st.builds("{} {} {}".format, inner, st.sampled_from(["<", ">=", "=="]), inner)
    condition = st.one_of(condition, st.builds("not {} or {}".format, condition, condition))
    condition = st.one_of(condition, st.builds("({}) & ({})".format, condition, condition))
    condition = st.one_of(condition, st.builds("not ({}) or {}".format, condition, condition))
    return st.one_of(
        st.builds("({}) {} ({})".format, inner, st.sampled_from([*"+-*/"]), inner),
        st.builds("{} {} {}".format, inner, st.sampled_from([*"+-*/"]), inner),
        st.builds("-({})".format, inner),
        st.builds("-{}".format, inner),
        st.builds(
            "({})**{}".format, inner, st.sampled_from(["2", "3", "-1", "n", "(n + 1)", "n**2"])
        ),
        st.builds("{}({})".format, st.sampled_from(["sqrt", "exp", "abs", "sign"]), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["maximum", "minimum"]), inner, inner),
        st.builds("where({}, {}, {})".format, condition, inner, inner),
        st.builds("({} if {} else {})".format, inner, condition, inner),
    )


EXPRESSIONS = st.recursive(
    st.sampled_from(["1", "2", *(name for name, _, _ in NUMBERS)]), _compound, max_leaves=8
)
