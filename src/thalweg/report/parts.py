"""What a race's page shows, as data for its template: table, methods, setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from markupsafe import Markup

from ..records import (
    BySeed,
    GoodRange,
    Interval,
    OptimizerResult,
    RaceDocument,
    VersusBest,
)
from . import looks, text, units
from .cells import WIDTH, Bar, Cell, Effects
from .importance import Importance

Terms = list[tuple[str, str]]


class MethodPart(NamedTuple):
    """What the page says of one optimizer below the charts."""

    name: str
    title: str
    formula: Markup
    reference: str | None
    code: str | None
    numbers: Terms


def headline(summary: RaceDocument) -> list[str]:
    """What the race cost and how it was run, for one line under the title."""
    setting = summary.setting
    facts = [
        f"{text.count(summary.runs)} runs",
        text.duration(summary.seconds),
        f"{text.count(setting.budget)} configurations per optimizer",
        f"{text.count(setting.seeds)} seeds",
        text.words((summary.environment.date or "")[:10]),
    ]
    return [fact for fact in facts if not fact.startswith(text.DASH)]


def effects(summary: RaceDocument, found: Sequence[Importance]) -> Effects:
    """How much every tuned setting matters to every optimizer that this can be said of."""
    keys = list(dict.fromkeys(effect.key for each in found for effect in each.effects))
    order = [entry.name for entry in summary.optimizers]
    lines = looks.classes(order)
    rows = [
        (each.name, lines[order.index(each.name)], [_share_of(each, key) for key in keys], each)
        for each in found
    ]
    return Effects(
        ["learning rate" if key == "lr" else key for key in keys],
        [
            (
                name,
                line,
                cells,
                text.share(max(0.0, each.explained)),
                text.count(each.configurations),
            )
            for name, line, cells, each in rows
        ],
    )


def _share_of(found: Importance, key: str) -> Cell:
    """What one setting does, as a cell with a bar from 0 to 1."""
    effect = next((e for e in found.effects if e.key == key), None)
    if effect is None:
        return Cell(None, text.DASH, "wide")
    low, high = (max(0.0, min(1.0, effect.share + side * effect.error)) for side in (-1, 1))
    bar = Bar(span=(WIDTH * low, WIDTH * high), dot=WIDTH * min(1.0, effect.share))
    shown = f"± {text.fixed(effect.error, 2)}"
    return Cell(effect.share, text.fixed(effect.share, 2), "wide", beside=shown, bar=bar)


def methods(summary: RaceDocument) -> list[MethodPart]:
    """Of every optimizer its formula, paper, code, and its numbers in full."""
    metric = summary.setting.metric.name
    return [
        MethodPart(
            entry.name,
            text.words(entry.title),
            Markup(text.formula(entry.formula_mathml)),  # kept to elements that only show
            entry.reference,
            entry.code,
            _numbers(entry, metric),
        )
        for entry in summary.optimizers
    ]


def _numbers(entry: OptimizerResult, metric: str) -> Terms:
    return [
        ("best learning rate", text.number(entry.learning_rate)),
        ("tuned settings", text.settings(units.chosen(entry))),
        ("good learning rates", _good_rates(entry.good_range)),
        (f"validation {metric}, 95 % interval", text.interval(entry.validation)),
        (f"test {metric}, 95 % interval", text.interval(entry.test)),
        ("difference from the best", _difference(entry.versus_best)),
        ("configurations tried", text.count(entry.configurations)),
        ("diverged on judged seeds", _lost(entry.by_seed)),
    ]


def setting(summary: RaceDocument) -> Terms:
    """What was raced and how, as a list of terms."""
    given, metric = summary.setting, summary.setting.metric
    better = "higher is better" if metric.higher_is_better else "lower is better"
    sizes = (given.train, given.validation, given.test)
    return [
        ("task", f"{text.words(summary.task)}: {text.words(given.title)}"),
        ("metric", f"{summary.setting.metric.name}, {better}"),
        ("margin that matters", text.margin(metric)),
        ("train / validation / test", " / ".join(text.count(size) for size in sizes)),
        ("parameters", text.count(given.parameters)),
        *([("initial weights", text.words(given.weights))] if given.weights else []),
        ("batch size", text.count(given.batch_size)),
        ("epochs", text.number(given.epochs)),
        ("steps per run", text.count(given.steps)),
        ("configurations each", text.count(given.budget)),
        ("seeds", text.count(given.seeds)),
        ("target loss", text.number(given.target_loss)),
        ("runs in all", text.count(summary.runs)),
        ("time taken", text.duration(summary.seconds)),
        ("engine", text.words(given.engine)),
        ("how runs were executed", text.words(given.executor)),
    ]


def machine(summary: RaceDocument) -> Terms:
    """Versions and machine, as a list of terms."""
    known = msgspec.structs.asdict(summary.environment)
    return [(name, text.words(value)) for name, value in known.items() if value is not None]


def _good_rates(good: GoodRange | None) -> str:
    if good is None:
        return text.DASH
    rates = f"{text.number(good.low)} to {text.number(good.high)}"
    if good.at_least:
        decades = text.fixed(good.decades, 1)
        rates += f", ≥ {decades} decades: a rate beside them was stopped early"
    return rates


def _difference(against: VersusBest | None) -> str:
    if against is None:
        return text.DASH
    estimate = Interval(mean=against.difference, low=against.low, high=against.high)
    shown = f"{text.interval(estimate)}, p = {text.number(against.p, 2)}"
    if against.seeds_to_tell is None:
        return shown
    return f"{shown}; {text.count(against.seeds_to_tell)} seeds would tell one as large"


def _lost(by_seed: BySeed | None) -> str:
    """On how many of the judged seeds an optimizer diverged."""
    lost = [] if by_seed is None else by_seed.diverged
    return f"{sum(lost)} of {len(lost)}" if lost else text.DASH
