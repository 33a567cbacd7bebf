"""What a race looks like in a terminal when it is over: a table."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..racing.progress import Progress as Progress
from ..report import also
from ..report import text as write

_SHOWN = (1.0, 1.5, 2.0, 4.0)  # τ of the profiles' columns
_NARROWEST = 100  # columns: below this the table wraps instead of losing what it says


def table(document: Mapping[str, Any]) -> str:
    """The race as a table with its verdict, as wide as the terminal.

    Args:
        document: of the schema `thalweg.race/1`.
    """
    metric = document["setting"]["metric"]["name"]
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    found.add_column("rank", no_wrap=True)
    found.add_column("optimizer", no_wrap=True)
    for heading in ("learning\nrate", "good\ndecades", f"validation\n{metric}", f"test\n{metric}",
                    "steps to\ntarget", "diverged", " ms per\nstep"):  # fmt: skip
        found.add_column(heading, justify="right")
    decimals = {key: _decimals(document, key) for key in ("validation", "test")}
    for entry in document["optimizers"]:
        found.add_row(*_row(entry, document, decimals), style="bold" if entry["tied"] else "")
    console = _console()
    console.print(found)
    if document["setting"].get("also"):
        console.print(_also(document))
    console.print(document["verdict"]["sentence"], markup=False, highlight=False)
    if document["verdict"]["code"]:
        console.print(f"\n    {document['verdict']['code']}\n", markup=False, highlight=False)
    for unknown in document["verdict"].get("unknown", ()):
        console.print(f"- {unknown}", markup=False, highlight=False)
    seeds = document["setting"]["seeds"]
    over = f"± is half the 95 % interval over {seeds} seeds; " if seeds > 1 else ""
    console.print(
        f"{over}good decades: the range of learning rates about as good as the best; ≥ where one "
        "beside it was stopped early", markup=False, highlight=False,
    )  # fmt: skip
    runs, seconds = document["runs"], write.duration(document["seconds"])
    console.print(f"{runs:,} runs in {seconds}; {document['setting']['executor']}",
                  markup=False, highlight=False)  # fmt: skip
    if search := document.get("search"):
        console.print(_cost(search), markup=False, highlight=False)
    return _text(console)


def _also(document: Mapping[str, Any]) -> Table:
    """What the metrics that decide nothing say of the chosen configurations."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    found.add_column("also measured", no_wrap=True)
    for metric in also.metrics(document):
        found.add_column(f"test\n{escape(metric['name'])}", justify="right")
    for name, cells in also.table(document):
        found.add_row(name, *cells)
    return found


def _cost(search: Mapping[str, Any]) -> str:
    """What the search did, and what stopping early has saved of it."""
    taken, whole = search["run_steps"], search["run_steps_of_full_search"]
    if not search["stopped"]:
        return f"the search took {taken:,} run-steps; nothing was stopped early"
    return (
        f"the search took {taken:,} of {whole:,} run-steps: {search['stopped']} runs that fell "
        f"behind were stopped early, which saved {100 * search['saved']:.0f} %"
    )


def together(document: Mapping[str, Any]) -> str:
    """What races on several tasks say together, as a table with a sentence.

    Args:
        document: of the schema `thalweg.races/1`.
    """
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    found.add_column("optimizer", no_wrap=True)
    taus = [tau for tau in document["profile"]["tau"] if tau in _SHOWN]
    for heading in ("mean\nrank", "first\non", "target\nmet", *(f"within\n{t:g}×" for t in taus)):
        found.add_column(heading, justify="right")
    for entry in document["optimizers"]:
        shares = dict(zip(document["profile"]["tau"], entry["profile"], strict=True))
        found.add_row(
            entry["name"], f"{entry['mean_rank']:.1f}", str(entry["first"]),
            *(f"{100 * share:.0f} %" for share in (entry["solved"], *(shares[t] for t in taus))),
        )  # fmt: skip
    console = _console()
    console.print(found)
    console.print(document["verdict"]["sentence"], markup=False, highlight=False)
    console.print(
        f"target met, within τ×: of {document['profile']['problems']} problems, a task and a seed "
        "each, those that reached the target loss, and those that took at most τ times the share "
        "of steps that the fastest took",
        markup=False, highlight=False,
    )  # fmt: skip
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
    entry: Mapping[str, Any], document: Mapping[str, Any], decimals: Mapping[str, int]
) -> list[str]:
    tied = entry["tied"] and len(document["verdict"]["best"]) > 1
    steps = entry["steps_to_target"]
    return [
        f"{entry['rank']:>3}{'=' if tied else ''}",
        entry["name"],
        f"{entry['learning_rate']:g}{' edge' if entry['edge'] else ''}",
        f"{'≥ ' * entry['good_range'].get('at_least', False)}{entry['good_range']['decades']:.1f}",
        *(_plus_minus(entry[key], decimals[key]) for key in ("validation", "test")),
        "never" if steps is None else f"{steps:g}",
        f"{100 * entry['diverged']:.0f} %",
        f"{entry['ms_per_step']:.2f}",
    ]


def _decimals(document: Mapping[str, Any], key: str) -> int:
    """Decimals for a whole column, so that its numbers stand under each other."""
    intervals = [entry[key] for entry in document["optimizers"]]
    return write.decimals_of([(i["high"] - i["low"]) / 2 for i in intervals])


def _plus_minus(interval: Mapping[str, float], decimals: int) -> str:
    half = (interval["high"] - interval["low"]) / 2
    return f" {write.fixed(interval['mean'], decimals)} ± {write.fixed(half, decimals)}"
