"""`thalweg rules`: what the optimizers do, in mathematics, and the kernels that do it."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from .. import formula, tape
from ..errors import UsageError
from ..rules import Range, Rule, registry
from .load import load_rule

_SCHEMA = "thalweg.rules/1"
_WIDTH = 100
_EXAMPLES = """\
examples:
  thalweg rules
      all optimizers, with their defaults and the year of the paper
  thalweg rules adam
      one of them: its formula, hyperparameters, state and paper
  thalweg rules adam --latex
      the formula, to put between \\[ and \\]
  thalweg rules adam --javascript
      the same step as a JavaScript function, for a page of your own
  thalweg rules nadam --kernel
      the source of the compiled CPU kernel, as it was generated from the formula
  thalweg rules my_rule.py:my_adam
      a rule of your own, made with @thalweg.rule in my_rule.py
  thalweg rules --json
      everything about every rule, for a program to read
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "rules",
        help="list the optimizers, or show one with its formula",
        description="List the optimizers; or show one: its formula, printed from the statements\n"
        "that every engine runs, its hyperparameters and defaults, its state, its paper.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "rule",
        nargs="?",
        metavar="NAME",
        help="an optimizer's name, or FILE.py:NAME for one of your own (default: list all)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--latex", action="store_true", help="print the formula alone, in LaTeX")
    what.add_argument(
        "--javascript", action="store_true", help="print one step as a JavaScript function"
    )
    what.add_argument(
        "--kernel", action="store_true", help="print the generated source of the CPU kernel"
    )
    what.add_argument(
        "--json", action="store_true", help=f"print one JSON document, schema {_SCHEMA}"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what the arguments ask for."""
    rules = registry().values() if args.rule is None else [_checked(args.rule)]
    if args.json:
        document = {"schema": _SCHEMA, "rules": [_described(rule) for rule in rules]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif args.rule is not None:
        (rule,) = rules
        print(_shown(rule, args))
    elif args.latex or args.javascript or args.kernel:
        option = next(f"--{o}" for o in ("latex", "javascript", "kernel") if getattr(args, o))
        raise UsageError(f"{option} needs a name, as in `thalweg rules adam {option}`")
    else:
        print(_listed(rules))
    return 0


def _checked(spec: str) -> Rule:
    """The rule, once it is sure that an engine can run it."""
    rule = load_rule(spec)
    tape.trace(rule)
    return rule


def _shown(rule: Rule, args: argparse.Namespace) -> str:
    if args.latex:
        return formula.latex(rule)
    if args.javascript:
        return formula.javascript(rule)
    if args.kernel:
        from ..engines.registry import engine_for

        program = tape.trace(rule)
        return engine_for("cpu", program).source(program, "float32").rstrip()
    return _page(rule)


def _listed(rules: Iterable[Rule]) -> str:
    rows = [
        (
            r.name,
            str(r.reference.year) if r.reference else "",
            f"{_uncited(r.title)}\n{_defaults(r)}",
        )
        for r in rules
    ]
    hint = "`thalweg rules NAME` shows one with its formula and its paper."
    return f"{_table(rows, ('name', 'year', 'what it does, and its defaults'))}\n\n{hint}"


def _uncited(title: str) -> str:
    """A title without the paper in brackets at its end."""
    return re.sub(r" \([^()]*\)$", "", title.rstrip("."))


def _page(rule: Rule) -> str:
    symbols, ranges = formula.symbols(rule), _ranges(rule)
    hyper = [(k, symbols[k], f"{v:g}", _searched(ranges.get(k))) for k, v in rule.defaults.items()]
    slots = [(s, symbols[s], _start(rule, s), _shape(rule, s)) for s in rule.slots]
    paper = textwrap.fill(str(rule.reference or "none given"), _WIDTH - 2)
    parts = [
        f"{rule.name}\n{_indented(rule.title)}" if rule.title else rule.name,
        f"one step\n{_indented(formula.text(rule))}",
        f"hyperparameters\n{_indented(_table(hyper) or 'none')}",
        f"state\n{_indented(_table(slots) or 'none')}",
        f"paper\n{_indented(paper)}",
    ]
    return "\n\n".join(parts)


def _described(rule: Rule) -> dict[str, Any]:
    """A rule as the JSON document has it."""
    symbols, reference = formula.symbols(rule), rule.reference
    return {
        "name": rule.name,
        "title": rule.title,
        "formula": {
            "text": formula.text(rule),
            "latex": formula.latex(rule),
            "mathml": formula.mathml(rule),
        },
        "hyperparameters": [
            {"name": k, "symbol": symbols[k], "default": v} for k, v in rule.defaults.items()
        ],
        "state": [
            {
                "name": s,
                "symbol": symbols[s],
                "start": rule.init.get(s, 0.0),
                "shape": "scalar" if s in rule.scalars else "parameter",
            }
            for s in rule.slots
        ],
        "search": {
            k: {"centre": r.at(0.5), "low": r.ends[0], "high": r.ends[1]}
            for k, r in _ranges(rule).items()
        },
        "reference": reference
        and {
            "authors": reference.authors,
            "year": reference.year,
            "title": reference.title,
            "where": reference.where,
        },
    }


def _defaults(rule: Rule) -> str:
    return " ".join(f"{name}={value:g}" for name, value in rule.defaults.items())


def _ranges(rule: Rule) -> dict[str, Range]:
    """Where each hyperparameter is searched; the learning rate always is."""
    rates: dict[str, Range] = {"lr": rule.learning_rates()} if "lr" in rule.defaults else {}
    return {**rates, **rule.search}


def _searched(span: Range | None) -> str:
    return "searched from {:g} to {:g}".format(*span.ends) if span else ""


def _start(rule: Rule, slot: str) -> str:
    value = rule.init.get(slot, 0.0)
    return f"starts at {value if isinstance(value, str) else format(value, 'g')}"


def _shape(rule: Rule, slot: str) -> str:
    return "one number" if slot in rule.scalars else "shaped like the parameter"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    """Columns that fit the terminal, and always the same width where no terminal is."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    width = min(_WIDTH, Console().width) if sys.stdout.isatty() else _WIDTH
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    table = Table(box=box.SIMPLE_HEAD if head else None, show_header=bool(head), pad_edge=False)
    for number, name in enumerate(head or [""] * len(rows[0] if rows else ())):
        table.add_column(name, no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")
