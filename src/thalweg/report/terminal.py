"""What a race looks like in a terminal when it is over: a table."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Mapping

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..records import (
    GoodRange,
    Interval,
    Number,
    OptimizerResult,
    RaceDocument,
    RacesDocument,
    Search,
)
from . import also, units
from . import text as write

_SHOWN = (1.0, 1.5, 2.0, 4.0)  # τ of the profiles' columns
_NARROWEST = 100  # columns: below this the table wraps instead of losing what it says


def table(document: RaceDocument) -> str:
    """The race as a table with its verdict, as wide as the terminal.

    Args:
        document: of the race.
    """
    metric = document.setting.metric.name
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    unit = units.unit(document.optimizers)
    found.add_column("rank", no_wrap=True)
    found.add_column("optimizer", no_wrap=True)
    for heading in (
        "learning\nrate",
        "good\ndecades",
        f"validation\n{metric}",
        f"test\n{metric}",
        f"{unit} to\ntarget",
        " diverged\ntuning",
        " \njudged",
        " ms per\nstep",
    ):
        found.add_column(heading, justify="right")
    decimals = {
        "validation": _decimals(entry.validation for entry in document.optimizers),
        "test": _decimals(entry.test for entry in document.optimizers),
    }
    for entry in document.optimizers:
        found.add_row(*_row(entry, document, decimals, unit), style="bold" if entry.tied else "")
    console = _console()
    console.print(found)
    if units.more_than_rates(document.optimizers):
        console.print(_settings(document))
    if document.setting.also:
        console.print(_also(document))
    console.print(document.verdict.sentence, markup=False, highlight=False)
    if document.verdict.code:
        # To be copied as it stands: the terminal may break the line, a line break would stay.
        console.print(
            f"\n    {document.verdict.code}\n", markup=False, highlight=False, soft_wrap=True
        )
    for unknown in document.verdict.unknown:
        console.print(f"- {unknown}", markup=False, highlight=False)
    seeds = document.setting.seeds or 0
    over = f"± is half the 95 % interval over {seeds} seeds; " if seeds > 1 else ""
    console.print(
        f"{over}good decades: the range of learning rates about as good as the best; ≥ where one "
        "beside it was stopped early",
        markup=False,
        highlight=False,
    )
    runs, seconds = document.runs or 0, write.duration(document.seconds)
    console.print(
        f"{runs:,} runs in {seconds}; {document.setting.executor}", markup=False, highlight=False
    )
    if document.search is not None:
        console.print(_cost(document.search), markup=False, highlight=False)
    return _text(console)


def _settings(document: RaceDocument) -> Table:
    """All that was tuned, as chosen."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    found.add_column("settings", no_wrap=True)
    found.add_column("chosen")
    for entry in document.optimizers:
        values = (f"{k} {write.plain_value(v)}" for k, v in units.chosen(entry).items())
        found.add_row(escape(entry.name), escape(", ".join(values)))
    return found


def _also(document: RaceDocument) -> Table:
    """What the metrics that decide nothing say of the chosen configurations."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    found.add_column("also measured", no_wrap=True)
    for metric in document.setting.also:
        found.add_column(f"test\n{escape(metric.name)}", justify="right")
    for name, cells in also.table(document):
        found.add_row(name, *cells)
    return found


def _cost(search: Search) -> str:
    """What the search did, and what stopping early has saved of it."""
    taken, whole = search.run_steps or 0, search.run_steps_of_full_search or 0
    if not search.stopped:
        return f"the search took {taken:,} run-steps; nothing was stopped early"
    return (
        f"the search took {taken:,} of {whole:,} run-steps: {search.stopped} runs that fell "
        f"behind were stopped early, which saved {100 * (search.saved or 0):.0f} %"
    )


def together(document: RacesDocument) -> str:
    """What races on several tasks say together, as a table with a sentence.

    Args:
        document: of the races.
    """
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    found.add_column("optimizer", no_wrap=True)
    taus = [tau for tau in document.profile.tau if tau in _SHOWN]
    for heading in ("mean\nrank", "first\non", "target\nmet", *(f"within\n{t:g}×" for t in taus)):
        found.add_column(heading, justify="right")
    for entry in document.optimizers:
        shares = dict(zip(document.profile.tau, entry.profile, strict=True))
        found.add_row(
            entry.name,
            write.fixed(entry.mean_rank, 1),
            write.count(entry.first),
            *(_percent(share) for share in (entry.solved, *(shares[tau] for tau in taus))),
        )
    console = _console()
    console.print(found)
    console.print(document.verdict.sentence, markup=False, highlight=False)
    console.print(
        f"target met, within τ×: of {document.profile.problems} problems, a task and a seed "
        "each, those that reached the target loss, and those that took at most τ times the share "
        "of steps that the fastest took",
        markup=False,
        highlight=False,
    )
    return _text(console)


def _console() -> Console:
    """One to print on for a text as wide as the terminal."""
    width = max(_NARROWEST, shutil.get_terminal_size((120, 24)).columns)
    return Console(file=io.StringIO(), width=width, force_terminal=False)


def _text(console: Console) -> str:
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return "\n".join(line.rstrip() for line in stream.getvalue().strip("\n").splitlines())


def _row(
    entry: OptimizerResult, document: RaceDocument, decimals: Mapping[str, int], unit: str
) -> list[str]:
    good, steps = entry.good_range or GoodRange(), units.to_target(entry, unit)
    return [
        f"{write.rank(entry, len(document.verdict.best)):>3}",
        entry.name,
        f"{_general(entry.learning_rate)}{' edge' if entry.edge else ''}",
        f"{'≥ ' * good.at_least}{write.fixed(good.decades, 1)}",
        _plus_minus(entry.validation, decimals["validation"]),
        _plus_minus(entry.test, decimals["test"]),
        "never" if steps is None else f"{steps:g}" if unit == "steps" else write.amount(steps),
        *(f"  {share}".replace("\u202f", " ") for share in write.diverged(entry)),
        write.fixed(entry.ms_per_step, 2),
    ]


def _general(value: Number) -> str:
    return write.DASH if value is None else f"{value:g}"


def _percent(share: Number) -> str:
    return write.DASH if share is None else f"{100 * share:.0f} %"


def _decimals(estimates: Iterable[Interval | None]) -> int:
    """Decimals for a whole column, so that its numbers stand under each other."""
    halves = [write.half_width(estimate) for estimate in estimates]
    return write.decimals_of([half for half in halves if half is not None])


def _plus_minus(estimate: Interval | None, decimals: int) -> str:
    half = write.half_width(estimate)
    mean = None if estimate is None else estimate.mean
    shown = "" if half is None else f" ± {write.fixed(half, decimals)}"
    return f" {write.fixed(mean, decimals)}{shown}"
