"""A race's report: one offline HTML file drawn from the race's summary document alone."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from ..errors import ThalwegError, UsageError
from ..records import write as put
from . import also, notes, parts, runs, text

SCHEMA = "thalweg.race/1"

Records = Mapping[str, Mapping[str, Any]]


def write(summary: Mapping[str, Any], path: Path, records: Records | None = None) -> None:
    """Draw a race's summary as one HTML file that needs nothing beside it.

    The file is moved into place whole: if writing fails, what stood there before still stands.

    Args:
        summary: the document of a race, of the schema "thalweg.race/1".
        path: the file to make or replace; its folder must exist.
        records: of the runs, by identity; without them the page has no runs and no CSV.

    Raises:
        UsageError: the document is not the summary of a race.
        ThalwegError: it was made by a newer version, lacks a part, or cannot be written.
    """
    put(Path(path), render(summary, records))


def render(summary: Mapping[str, Any], records: Records | None = None) -> str:
    """The page as a string; see `write`."""
    _check(summary)
    verdict = summary["verdict"]
    return page(
        "template.html",
        ("charts.js", "runs.js", "report.js"),
        data=embedded(summary),
        runs=embedded(runs.embedded(summary, records or {})),
        unknown=notes.unknown(summary),
        cost=notes.cost(summary),
        paper=notes.method(summary),
        task=text.words(summary.get("task")),
        title=escape(str(summary["setting"].get("title") or "")),
        headline=parts.headline(summary),
        sentence=text.words(verdict.get("sentence")),
        code=parts.copyable(verdict.get("code")),
        table=parts.table(summary),
        also=also.section(summary),
        curves=also.choices(summary),
        metric=parts.metric_name(summary),
        methods=parts.methods(summary),
        setting=parts.setting(summary),
        machine=parts.machine(summary),
        version=text.words((summary.get("environment") or {}).get("thalweg")),
    )


def page(template: str, scripts: Sequence[str], **parts: str) -> str:
    """A page that holds its style and its scripts, and allows no other script.

    Args:
        template: the name of its file among the assets.
        scripts: the names of theirs, in order.
        **parts: what stands in the template's places, as safe HTML.
    """
    script = "\n".join(map(_asset, scripts))
    return Template(_asset(template)).substitute(
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=_asset("report.css"),
        script=script,
        **parts,
    )


def _check(summary: Mapping[str, Any]) -> None:
    """Refuse what is not a race's summary, or one of a version this code does not know."""
    schema = summary.get("schema")
    match = re.fullmatch(r"thalweg\.race/([1-9]\d*)", schema) if isinstance(schema, str) else None
    if match is None:
        raise UsageError(f"schema is {schema!r}, not that of a race's summary ({SCHEMA!r})")
    if match[0] != SCHEMA:
        raise ThalwegError(
            f"this race's summary has the schema {schema!r}, this thalweg reads {SCHEMA!r}; "
            "upgrade thalweg to draw it"
        )
    for key, kind in (("setting", Mapping), ("optimizers", list), ("verdict", Mapping)):
        if not isinstance(summary.get(key), kind):
            raise ThalwegError(f"the race's summary is damaged: it has no {key!r}")


def embedded(summary: Mapping[str, Any]) -> str:
    """The document as JSON that cannot end the script element it stands in."""
    document = json.dumps(_plain(summary), allow_nan=False, separators=(",", ":"))
    return document.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    """The same document with None in place of the numbers JSON cannot say."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")
