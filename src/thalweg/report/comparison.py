"""The page of several races side by side: each with its own verdict, and what sets them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..records import OptimizerResult, RaceDocument
from ..records import write_to as put
from . import drawing, html, looks, ranges, text

# What a race was, by the words of its table; what differs here may be what the results differ by.
_SETTINGS: dict[str, Callable[[RaceDocument], Any]] = {
    "task": lambda d: d.task,
    "model and data": lambda d: (d.setting.fingerprint or "")[:12],
    "metric": lambda d: d.setting.metric.name,
    "train / validation / test": lambda d: " / ".join(
        text.count(n) for n in (d.setting.train, d.setting.validation, d.setting.test)
    ),
    "parameters": lambda d: text.count(d.setting.parameters),
    "batch size": lambda d: text.count(d.setting.batch_size),
    "epochs": lambda d: text.count(d.setting.epochs),
    "steps per run": lambda d: text.count(d.setting.steps),
    "tuned": lambda d: ", ".join(d.search.tune) if d.search else "",
    "sampled by": lambda d: d.search.sampler if d.search else "",
    "the same for all": lambda d: (
        ", ".join(f"{k} {text.words(v)}" for k, v in d.search.fixed.items()) if d.search else ""
    ),
    "configurations each": lambda d: text.count(d.setting.budget),
    "seeds": lambda d: text.count(d.setting.seeds),
    "device": lambda d: d.setting.device,
    "thalweg": lambda d: d.environment.thalweg,
    "torch": lambda d: d.environment.torch,
    "processor": lambda d: d.environment.processor,
    "date": lambda d: (d.environment.date or "")[:10],
}
_OF_THE_TASK = ("model and data", "metric", "train / validation / test")
_NOT_THE_RACE = ("date",)  # which no result comes from


class Side(NamedTuple):
    """One race of a comparison.

    Attributes:
        name: that no other race on the page has.
        document: of the race.
        notes: what a reader should know of its files.
        address: of its own page, as seen from this one; empty where it has none.
    """

    name: str
    document: RaceDocument
    notes: Sequence[str] = ()
    address: str = ""


class Cell(NamedTuple):
    """What one race says of one optimizer."""

    rank: str
    text: str
    tied: bool


def write(sides: Sequence[Side], path: Path) -> None:
    """Draw several races side by side as one HTML file.

    Args:
        sides: the races.
        path: the file to make or replace.

    Raises:
        ThalwegError: the page cannot be written.
    """
    put(path, render(sides))


def render(sides: Sequence[Side]) -> str:
    """The page as a string; see `write`."""
    documents = [side.document for side in sides]
    names = list(dict.fromkeys(e.name for d in documents for e in d.optimizers))
    return html.page(
        "comparison.html",
        ("comparison.js",),
        title=" · ".join(side.name for side in sides),
        sides=sides,
        caveats=caveats(documents),
        rows=_rows(documents, names),
        settings=_settings(documents),
        version=text.words(documents[0].environment.thalweg),
        data=html.embedded({"races": [_drawn(side) for side in sides], "names": names}),
        drawing=html.embedded(drawing.of_names(names)),
    )


def named(folders: Sequence[Path]) -> list[str]:
    """A name for each race: its folder's, with more of the path where two are called alike."""
    paths = [folder.resolve() for folder in folders]
    for length in range(1, max(len(p.parts) for p in paths) + 1):
        names = ["/".join(p.parts[-length:]) for p in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{p.name} ({k + 1})" for k, p in enumerate(paths)]


def same_task(documents: Sequence[RaceDocument]) -> bool:
    """Whether all are races of one model, data and metric, as far as their documents say."""
    known = all(document.setting.fingerprint for document in documents)
    return known and all(len(_values(documents, name)) == 1 for name in _OF_THE_TASK)


def caveats(documents: Sequence[RaceDocument]) -> list[str]:
    """What a reader must know before comparing numbers of one race with those of another."""
    found = [
        "Every verdict is of its own race and rests on its own tests. Nothing here was tested "
        "across races: their searches, seeds and adjustments for many comparisons are their own."
    ]
    if same_task(documents):
        found.append("All are races of the same model, data and metric, so scores share a scale.")
    else:
        metrics = _values(documents, "metric")
        why = (
            f"They are judged by different metrics ({', '.join(metrics)})"
            if len(metrics) > 1
            else "They are races of different tasks, or do not say that these are the same"
        )
        found.append(f"{why}: compare places, not scores.")
    differ = [
        name
        for name in _SETTINGS
        if name not in (*_OF_THE_TASK, *_NOT_THE_RACE, "task") and len(_values(documents, name)) > 1
    ]
    if differ:
        found.append(
            f"They also differ in: {', '.join(differ)}. What differs between the results may come "
            "from these."
        )
    missing = _not_in_all(documents)
    if missing:
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if missing[8:] else "")
        found.append(f"Not in every race: {shown}. Places count those that took part.")
    if any(not document.verdict.best for document in documents):
        found.append("A race without ranks has none to compare: it is unfinished, or cannot tell.")
    return found


def _not_in_all(documents: Sequence[RaceDocument]) -> list[str]:
    """The optimizers that some race has not."""
    each = [{entry.name for entry in document.optimizers} for document in documents]
    return sorted(name for name in set[str]().union(*each) if not all(name in own for own in each))


def _values(documents: Sequence[RaceDocument], name: str) -> list[str]:
    """The different values of a setting."""
    return list(dict.fromkeys(text.words(_SETTINGS[name](document)) for document in documents))


def _settings(documents: Sequence[RaceDocument]) -> list[tuple[str, list[str], bool]]:
    """Every setting with its value in each race, and whether these differ."""
    rows = []
    for name, read in _SETTINGS.items():
        values = [text.words(read(document)) for document in documents]
        if set(values) != {text.DASH}:
            rows.append((name, values, len(set(values)) > 1))
    return rows


def _rows(
    documents: Sequence[RaceDocument], names: Sequence[str]
) -> list[tuple[str, str, list[Cell | None]]]:
    """Every optimizer with its line and what each race says of it."""
    entries = [{entry.name: entry for entry in document.optimizers} for document in documents]
    ties = [sum(entry.tied for entry in document.optimizers) for document in documents]
    decimals = [_decimals(document) for document in documents]
    found = []
    for name, line in zip(names, looks.classes(names), strict=True):
        cells = [
            None if name not in own else _cell(own[name], tied, digits)
            for own, tied, digits in zip(entries, ties, decimals, strict=True)
        ]
        found.append((name, line, cells))
    return found


def _cell(entry: OptimizerResult, ties: int, decimals: int) -> Cell:
    estimate = entry.test or entry.validation
    half = text.half_width(estimate)
    shown = text.fixed(None if estimate is None else estimate.mean, decimals)
    if half is not None:
        shown += f" ± {text.fixed(half, decimals)}"
    return Cell(text.rank(entry, ties), shown, entry.tied)


def _decimals(document: RaceDocument) -> int:
    halves = (text.half_width(entry.test or entry.validation) for entry in document.optimizers)
    return text.decimals_of([half for half in halves if half is not None])


def _drawn(side: Side) -> dict[str, Any]:
    """What the page's script draws of a race: the curves of the metric that judges."""
    document = side.document
    return {
        "name": side.name,
        "metric": document.setting.metric.name,
        "higher": document.setting.metric.higher_is_better,
        "untrained": ranges.untrained(document, ranges.METRIC),
        "lines": [
            {
                "name": entry.name,
                "steps": entry.curve.steps,
                "mean": entry.curve.validation_metric.mean,
                "low": entry.curve.validation_metric.low,
                "high": entry.curve.validation_metric.high,
            }
            for entry in document.optimizers
            if entry.curve is not None
        ],
    }
