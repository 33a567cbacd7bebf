"""The parts of a race's page that are prose: what it does not know, its cost, its method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import paper, parts, text


def unknown(summary: Mapping[str, Any]) -> str:
    """What the verdict does not know, as a list; nothing where the race says nothing of it."""
    sentences = summary["verdict"].get("unknown") or ()
    items = "".join(f"<li>{text.words(sentence)}</li>" for sentence in sentences)
    title = "<h2>What this race does not know</h2>"
    return f'<section class="unknown">{title}<ul>{items}</ul></section>' if items else ""


def cost(summary: Mapping[str, Any]) -> str:
    """What the search cost, and what stopping early has saved of it."""
    search = summary.get("search")
    if not search:
        return ""
    fixed = ", ".join(f"{k} {v}" for k, v in (search.get("fixed") or {}).items())
    terms = [
        ("tuned", text.words(", ".join(map(str, search.get("tune") or ())))),
        ("sampled by", text.words(search.get("sampler"))),
        ("the same for all", text.words(fixed)),
        ("run-steps of the search", text.count(search.get("run_steps"))),
        ("of a search without stopping", text.count(search.get("run_steps_of_full_search"))),
        ("saved by stopping early", text.share(search.get("saved"))),
        ("runs stopped early", text.count(search.get("stopped"))),
    ]
    return f"<h2>Search and its cost</h2>{parts.terms(terms)}"


def method(summary: Mapping[str, Any]) -> str:
    """A paragraph for a paper and its citations, each with a button that copies it."""
    words = paper.paragraph(summary)
    if not words:
        return ""
    return (
        '<section class="cite"><h2>For a paper</h2>'
        f'<p class="paragraph">{text.words(words)}</p>'
        '<button type="button" class="copy" aria-label="Copy this paragraph">Copy</button>'
        f"<details><summary><b>BibTeX</b> <span>{len(paper.citations(summary))} works</span>"
        f'</summary><pre tabindex="0">{text.words(paper.bibtex(summary))}</pre>'
        '<button type="button" class="copy" aria-label="Copy the BibTeX entries">Copy</button>'
        "</details></section>"
    )
