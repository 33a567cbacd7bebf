"""The page of races on several tasks: ranks, performance profile, time to target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..records import RacesDocument, RankTest
from ..records import write_to as put
from . import drawing, html, looks, text

# The headings of a table, and for every optimizer its name and numbers.
_Numbers = tuple[list[str], list[tuple[str, list[str]]]]


def write(document: RacesDocument, path: Path, pages: Mapping[str, str]) -> None:
    """Draw what several races say together as one HTML file.

    Args:
        document: of the races.
        path: the file to make or replace.
        pages: for each task the address of its own page, seen from this one.

    Raises:
        ThalwegError: the page cannot be written.
    """
    put(path, render(document, pages))


def render(document: RacesDocument, pages: Mapping[str, str]) -> str:
    """The page as a string; see `write`."""
    tasks, profile = document.tasks, document.profile
    # The documents of the single races are on pages of their own.
    own = {k: v for k, v in msgspec.structs.asdict(document).items() if k != "races"}
    return html.page(
        "across.html",
        ("across.js",),
        title=", ".join(tasks),
        sentence=document.verdict.sentence,
        facts=[f"{text.count(document.runs)} runs", text.duration(document.seconds)],
        ranks=_ranks(document),
        test=_test(document.ranks),
        problems=text.count(profile.problems),
        unsolved=text.count(profile.unsolved),
        times=_times(document),
        links=[(task, pages[task]) for task in tasks if task in pages],
        version=text.words(document.environment.thalweg),
        looks=looks.classes(e.name for e in document.optimizers),
        drawing=html.embedded(drawing.of_names([e.name for e in document.optimizers])),
        data=html.embedded(own),
    )


def _ranks(document: RacesDocument) -> _Numbers:
    rows = [
        (
            e.name,
            [
                text.fixed(e.mean_rank, 2),
                text.count(e.first),
                text.share(e.solved),
                *(text.number(rank) for rank in e.ranks),
            ],
        )
        for e in document.optimizers
    ]
    return ["optimizer", "mean rank", "first or tied", "target met", *document.tasks], rows


def _times(document: RacesDocument) -> _Numbers:
    rows = [(e.name, [text.number(v) for v in e.time_to_target]) for e in document.optimizers]
    return ["optimizer", *document.tasks], rows


def _test(ranks: RankTest) -> str:
    """Friedman's test in a sentence; what it takes where there is none."""
    if ranks.critical_difference is None:
        return "It takes three tasks and three optimizers or more to test mean ranks."
    return (
        f"That all rank alike has p = {text.number(ranks.p, 2)} by Friedman's test; mean "
        f"ranks must differ by {text.number(ranks.critical_difference, 2)} to be told apart "
        "(Demšar 2006)."
    )
