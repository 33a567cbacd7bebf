"""A race as Markdown: the verdict, a table, what is not known, the method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import also, paper, text


def summary(document: Mapping[str, Any]) -> str:
    """A race's summary for a README, an issue or a lab book.

    Args:
        document: of the schema `thalweg.race/1`.
    """
    metric = plain((document["setting"].get("metric") or {}).get("name") or "metric")
    head = ["rank", "optimizer", "learning rate", f"validation {metric}", f"test {metric}",
            "steps to target", "diverged", "p against the best"]  # fmt: skip
    sections = [
        f"# {plain(document.get('task'))}",
        plain(document["verdict"].get("sentence")),
        _code(document["verdict"].get("code")),
        table(head, [_row(entry) for entry in document["optimizers"]]),
        _also(document),
        _unknown(document["verdict"].get("unknown") or ()),
        _method(document),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def together(document: Mapping[str, Any]) -> str:
    """What races on several tasks say together.

    Args:
        document: of the schema `thalweg.races/1`.
    """
    head = ["optimizer", "mean rank", "first or tied on", "target met",
            *(f"rank on {plain(task)}" for task in document["tasks"])]  # fmt: skip
    rows = [
        [plain(e["name"]), text.fixed(e["mean_rank"], 2), text.count(e["first"]),
         text.share(e["solved"]), *(text.number(rank) for rank in e["ranks"])]
        for e in document["optimizers"]
    ]  # fmt: skip
    title = f"# {', '.join(plain(task) for task in document['tasks'])}"
    return f"{title}\n\n{plain(document['verdict']['sentence'])}\n\n{table(head, rows)}\n"


def plain(value: Any) -> str:
    """A text that Markdown shows as it is, on one line."""
    if value is None or value == "":
        return text.DASH
    given = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", given)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(entry: Mapping[str, Any]) -> list[str]:
    against = entry.get("versus_best") or {}
    rank = text.count(entry.get("rank"))
    return [
        f"{rank}, tied" if entry.get("tied") else rank,
        plain(entry.get("name")),
        text.number(entry.get("learning_rate")) + (" (edge)" if entry.get("edge") else ""),
        text.interval(entry.get("validation")),
        text.interval(entry.get("test")),
        text.count(entry.get("steps_to_target")),
        text.share(entry.get("diverged")),
        text.number(against.get("p"), 2),
    ]


def _code(line: Any) -> str:
    if not isinstance(line, str) or not line:
        return ""
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{line}\n{fence}"


def _also(document: Mapping[str, Any]) -> str:
    rows = [[plain(name), *cells] for name, cells in also.table(document)]
    if not rows:
        return ""
    head = ["optimizer", *(f"test {plain(m.get('name'))}" for m in also.metrics(document))]
    return f"## Also measured\n\n{table(head, rows)}"


def _unknown(sentences: Iterable[Any]) -> str:
    items = "\n".join(f"- {plain(sentence)}" for sentence in sentences)
    return f"## What this race does not know\n\n{items}" if items else ""


def _method(document: Mapping[str, Any]) -> str:
    words = paper.paragraph(document)
    if not words:
        return ""
    works = "\n".join(
        f"- {plain(w['authors'])} ({plain(w['year'])}). {plain(w['title'])}. {plain(w['where'])}."
        for w in paper.citations(document)
    )
    return f"## Method\n\n{plain(words)}\n\n{works}"
