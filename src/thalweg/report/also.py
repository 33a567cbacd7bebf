"""The parts of a race's page on metrics that were measured and decided nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import text


def metrics(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is known of each: `name` and `higher_is_better`."""
    return [m for m in summary["setting"].get("also") or () if isinstance(m, Mapping)]


def section(summary: Mapping[str, Any]) -> str:
    """A table of what they say of the chosen configurations; nothing where there are none."""
    rows = table(summary)
    if not rows:
        return ""
    known = metrics(summary)
    head = "".join(
        f'<th scope="col" class="num">test {text.words(m.get("name"))}'
        f"<small>{'higher' if m.get('higher_is_better') else 'lower'} is better</small></th>"
        for m in known
    )
    body = "".join(
        f'<tr><th scope="row" class="name">{text.words(name)}</th>'
        + "".join(f'<td class="num">{shown}</td>' for shown in cells)
        + "</tr>"
        for name, cells in rows
    )
    return (
        '<section id="also"><h2>Also measured</h2>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Other metrics, scrollable">'
        f'<table><thead><tr><th scope="col" class="name">optimizer</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        '<p class="note">The chosen configurations on test data, mean ± half the 95 % interval '
        "over the same seeds. Nothing was chosen or judged by these.</p></section>"
    )


def choices(summary: Mapping[str, Any]) -> str:
    """Their buttons beside those of the learning curves, which the loss is among already."""
    return "".join(
        f'<label><input type="radio" name="curve" value="also-{k}">'
        f"<span>validation {text.words(m.get('name'))}</span></label>"
        for k, m in enumerate(metrics(summary))
        if m.get("name") != "loss"
    )


def table(summary: Mapping[str, Any]) -> list[tuple[Any, list[str]]]:
    """Every optimizer's name with `mean ± half` per metric; nothing before there is a test."""
    entries = [e for e in summary["optimizers"] if e.get("also")]
    columns = [_column(entries, m.get("name")) for m in metrics(summary)]
    return [(e.get("name"), [own[k] for own in columns]) for k, e in enumerate(entries)]


def _column(entries: Sequence[Mapping[str, Any]], name: Any) -> list[str]:
    estimates = [(e["also"].get(name) or {}).get("test") or {} for e in entries]
    halves = [_half(estimate) for estimate in estimates]
    decimals = text.decimals_of([half for half in halves if half is not None])
    return [
        text.fixed(estimate.get("mean"), decimals)
        + ("" if half is None else f" ± {text.fixed(half, decimals)}")
        for estimate, half in zip(estimates, halves, strict=True)
    ]


def _half(estimate: Mapping[str, Any]) -> float | None:
    low, high = text.finite(estimate.get("low")), text.finite(estimate.get("high"))
    return None if low is None or high is None else (high - low) / 2
