"""A task in a few lines of text, or a table of HTML."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from ..orders import SHUFFLED
from . import pairs
from .order import described

if TYPE_CHECKING:
    from .task import Task

PARTS = ("train", "validation", "test")


def text(task: Task) -> str:
    """Model, data, loss, metric, batches and fingerprint, in a line each."""
    lines = _rows(task)
    width = max(len(label) for label, _ in lines)
    head = f"{task.name}: {task.title}" if task.title else task.name
    return "\n".join([head, *(f"  {label:{width}}  {words}" for label, words in lines)])


def table(task: Task) -> str:
    """The same as a table of HTML; all text of the person's is escaped."""
    body = "".join(
        f"<tr><th style='text-align:left'>{label}</th>"
        f"<td style='text-align:left'>{html.escape(words)}</td></tr>"
        for label, words in _rows(task)
    )
    head = f"<b>{html.escape(task.name)}</b> {html.escape(task.title)}"
    return f"<table><caption style='text-align:left'>{head}</caption>{body}</table>"


def _rows(task: Task) -> list[tuple[str, str]]:
    direction = "higher" if task.metric.higher_is_better else "lower"
    model = f"{type(task._build()).__name__}, {task.parameters():,} parameters"
    loss = _name(task.loss if task.step is None else task.step) + (
        f", never below {task.floor:g}" if task.floor is not None else ""
    )
    margin = f"differences that matter: {task.metric.margin_in_words}"
    return [
        ("model", model),
        ("weights", str(task.weights)),
        *((part, pairs.sizes(getattr(task, part))) for part in PARTS),
        ("loss", loss),
        ("metric", f"{task.metric.name}, {direction} is better; {margin}"),
        *([("also measured", ", ".join(m.name for m in task.also))] if task.also else []),
        ("batches", _batches(task)),
        ("fingerprint", task.fingerprint[:16]),
    ]


def _batches(task: Task) -> str:
    order = "" if task.order == SHUFFLED else f", {described(task.order)}"
    last = ", without a smaller last one" if task.drop_last else ""
    return f"of {task.batch_size}, {task.epochs} epochs{order}{last}"


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)
