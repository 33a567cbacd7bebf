"""The list of built-in tasks, with sizes and typical times, from a file: no framework is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..durations import shown

FILE = Path(__file__).with_name("tasks.json")
"""What `benchmarks/task_times.py` wrote of every built-in task."""

_COLUMNS = ("task", "parameters", "samples", "steps", "a race", "what is trained on what")


def lines() -> str:
    """The tasks, a line each, and on which machine a race was timed."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    table = [_COLUMNS, *map(_row, document["tasks"])]
    if not document["machine"]:
        table = [(*row[:4], row[5]) for row in table]  # no race was timed yet
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    texts = [_line(row, widths) for row in table]
    if document["machine"]:
        texts += ["", f"a race: with the options' defaults, on {document['machine']}"]
    return "\n".join(texts)


def _row(task: dict[str, Any]) -> tuple[str, ...]:
    """What is shown of a task; its options after its title."""
    seconds = task["seconds"]
    options = ", ".join(f"{name}={value}" for name, value in task["options"].items())
    title = f"{task['title']} ({options})" if options else task["title"]
    sizes = (f"{task[name]:,}" for name in ("parameters", "samples", "steps"))
    return task["name"], *sizes, "–" if seconds is None else shown(seconds), title


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    """A row in columns: the first and the last to the left, numbers to the right."""
    inner = [f"{cell:>{w}}" for cell, w in zip(row[1:-1], widths[1:-1], strict=True)]
    return "  ".join([f"{row[0]:<{widths[0]}}", *inner, row[-1]])
