"""A race's report: one offline HTML file drawn from the race's summary document alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .._version import __version__
from ..records import Document, RaceDocument, RunRecord, as_race, as_runs
from ..records import write_to as put
from . import also, drawing, importance, looks, notes, parts, results, runs, text

if TYPE_CHECKING:
    from .follow import Live

_SCRIPTS = ("scales.js", "view.js", "page.js", "brush.js", "charts.js")

Summary = RaceDocument | Mapping[str, Any]
Records = Mapping[str, RunRecord] | Mapping[str, Mapping[str, Any]]


def write(
    summary: Summary, path: Path, records: Records | None = None, *, live: Live | None = None
) -> None:
    """Draw a race's summary as one HTML file that needs nothing beside it.

    The file is moved into place whole: if writing fails, what stood there before still stands.

    Args:
        summary: the document of a race, or the same as plain data.
        path: the file to make or replace; its folder must exist.
        records: of the runs, by identity; without them the page has no runs and no CSV.
        live: what the race does, if it still runs.

    Raises:
        UsageError: the document is not the summary of a race.
        ThalwegError: it was made by a newer version, lacks a part, or cannot be written.
    """
    put(Path(path), render(summary, records, live=live))


def render(summary: Summary, records: Records | None = None, *, live: Live | None = None) -> str:
    """The page as a string; see `write`."""
    return _page(as_race(summary), as_runs(records or {}), live)


def waiting(live: Live) -> str:
    """The page of a race of which no run is recorded yet."""
    return page(
        "waiting.html",
        ("index.js",),
        live=live,
        version=__version__,
        data=embedded({}),
        drawing=embedded({}),
    )


def _page(summary: RaceDocument, records: Mapping[str, RunRecord], live: Live | None) -> str:
    drawn = runs.embedded(summary, records)
    effects = [] if live else importance.of_race(summary)  # they take a while, and will change
    return page(
        "race.html",
        ("settings.js", "parallel.js", "contour.js", "runs.js", "report.js"),
        drawing=embedded(drawing.of_race(summary, effects)),
        live=live,
        data=embedded(summary),
        runs=embedded(drawn),
        left_out=drawn["left_out"],
        unknown=summary.verdict.unknown,
        cost=notes.cost(summary),
        paper=notes.method(summary),
        task=summary.task,
        title=summary.setting.title or "",
        facts=parts.headline(summary),
        sentence=text.words(summary.verdict.sentence),
        code=summary.verdict.code,
        table=results.table(summary),
        metrics=summary.setting.also,
        others=also.table(summary),
        choices=also.choices(summary),
        metric=summary.setting.metric.name,
        effects=parts.effects(summary, effects),
        methods=parts.methods(summary),
        setting=parts.setting(summary),
        machine=parts.machine(summary),
        version=text.words(summary.environment.thalweg),
    )


def page(template: str, scripts: Sequence[str], **parts: Any) -> str:
    """A page that holds its style and its scripts, and allows no other script.

    Args:
        template: the name of its file among the templates.
        scripts: the names of its own scripts, in order; those of all pages come before them.
        **parts: what the template shows; all text is escaped.
    """
    script = "\n".join(map(_asset, (*_SCRIPTS, *scripts)))
    return (
        _templates()
        .get_template(template)
        .render(
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            **{"live": None, **parts},
            style=Markup(f"{_asset('report.css')}\n{looks.style_sheet()}"),
            script=Markup(script),
        )
    )


@cache
def _templates() -> Environment:
    """The templates; whatever they show is escaped unless it is Markup."""
    return Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )


def embedded(data: Document | Mapping[str, Any]) -> Markup:
    """Data as JSON that cannot end the script element it stands in."""
    document = msgspec.json.encode(data).decode()
    safe = document.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")
