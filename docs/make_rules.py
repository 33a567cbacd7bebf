"""Write docs/rules.md, the page of all formulas, from the rules themselves.

Run it after a rule has changed: `python docs/make_rules.py`.
"""

from __future__ import annotations

from pathlib import Path

from thalweg import formula
from thalweg.rules import Rule, registry

PAGE = Path(__file__).with_name("rules.md")
_INTRODUCTION = """\
# The formulas

<!-- Made by docs/make_rules.py from the rules; changes made here are overwritten. -->

One step of each optimizer, printed from the statements that every engine runs. $`\\theta`$ is the
parameter, $`g`$ its gradient, $`t`$ the number of the step, counted from 1; all operations are
element by element, but for those that measure a whole tensor. A line gives a variable its new
value, which the lines below it use. State starts at 0 where nothing else is said. `thalweg rules
NAME` prints the same in a terminal.

$`\\|\\theta\\|`$ is the Euclidean norm of a tensor, $`\\langle g, \\theta\\rangle`$ the inner
product of two, $`n`$ the number of a tensor's elements, $`\\dim(\\theta)`$ the number of its
indices. A subscript $`c`$ says *per channel*: one number for each first index, an output of
the layer (a vector is one channel); $`\\max_c`$ is the largest of those numbers. The subscript
$`\\mathrm{all}`$ says over all parameters of the model together.
"""


def page() -> str:
    """The whole page."""
    rules = registry().values()
    contents = " · ".join(f"[{rule.name}](#{rule.name})" for rule in rules)
    return "\n".join([_INTRODUCTION, contents, *map(_section, rules)])


def _section(rule: Rule) -> str:
    symbols = formula.symbols(rule, formula.LATEX)
    hyper = [f"| `{k}` | $`{symbols[k]}`$ | {v:g} |" for k, v in rule.defaults.items()]
    paragraphs = [
        f"\n## {rule.name}",
        rule.title,
        displayed(rule),
        "\n".join(["| hyperparameter | symbol | default |", "|---|---|---|", *hyper]),
        state(rule),
        str(rule.reference or ""),
    ]
    return "\n\n".join(p for p in paragraphs if p)


def displayed(rule: Rule) -> str:
    """One step of a rule, as a block of mathematics."""
    return f"```math\n{formula.latex(rule)}\n```"


def state(rule: Rule) -> str:
    """What a rule keeps from step to step, and where that starts."""
    symbols = formula.symbols(rule, formula.LATEX)
    starts = [f"$`{symbols[s]}`$ starts at {_start(v, symbols)}" for s, v in rule.init.items()]
    names = ", ".join(f"$`{symbols[s]}`$" for s in rule.slots)
    return "; ".join([f"State: {names or 'none'}", *starts]) + "."


def _start(value: float | str, symbols: dict[str, str]) -> str:
    return f"$`{symbols[value]}`$" if isinstance(value, str) else f"{value:g}"


if __name__ == "__main__":
    PAGE.write_text(page() + "\n", encoding="utf-8")
