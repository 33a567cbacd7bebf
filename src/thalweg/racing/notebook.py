"""A race as a notebook shows it: one piece of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

# Colours follow the reader's system, and the grey of the notebook's own text.
_STYLE = """
.thalweg-race{font:14px/1.45 system-ui,sans-serif;max-width:60em;color:#1d2733;background:#fff;
border:1px solid #d5dbe1;border-radius:8px;padding:.9em 1.1em;overflow-x:auto}
.thalweg-race table{border-collapse:collapse;margin:.7em 0;color:inherit;background:none}
.thalweg-race th,.thalweg-race td{padding:.2em .8em .2em 0;text-align:right;white-space:nowrap;
background:none;color:inherit;font-variant-numeric:tabular-nums}
.thalweg-race th{font-weight:600;border-bottom:1px solid #b9c2cb}
.thalweg-race .name{text-align:left}
.thalweg-race .tied td{font-weight:600}
.thalweg-race .bar{width:12em;height:1.2em}
.thalweg-race rect{fill:#2f6fab}.thalweg-race .span{fill:#2f6fab55}
.thalweg-race small{color:#5c6873}
@media(prefers-color-scheme:dark){.thalweg-race{color:#e3e8ed;background:#161b21;
border-color:#37414b}.thalweg-race th{border-color:#55616d}.thalweg-race rect{fill:#7db4e6}
.thalweg-race .span{fill:#7db4e655}.thalweg-race small{color:#9aa7b3}}
"""


def html(document: Mapping[str, Any]) -> str:
    """The verdict and a table with a row per optimizer; all text of the user's is escaped.

    Args:
        document: of the schema `thalweg.race/1`.
    """
    entries, setting = document["optimizers"], document["setting"]
    metric = escape(setting["metric"]["name"])
    low = min(entry["test"]["low"] for entry in entries)
    high = max(entry["test"]["high"] for entry in entries)
    rows = "".join(_row(entry, low, high) for entry in entries)
    heads = "".join(f"<th{c}>{text}</th>" for c, text in (
        ("", "rank"), (" class='name'", "optimizer"), ("", "learning rate"), ("", f"test {metric}"),
        (" class='name'", "95 % interval"), ("", "diverged"),
    ))  # fmt: skip
    return (
        f"<style>{_STYLE}</style><div class='thalweg-race'>"
        f"<div>{escape(document['verdict']['sentence'])}</div>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        f"<small>{document['runs']:,} runs; {setting['seeds']} seeds; "
        f"{escape(setting['executor'])}</small></div>"
    )


def _row(entry: Mapping[str, Any], low: float, high: float) -> str:
    test = entry["test"]
    scale = 100 / (high - low or 1)
    start, end, mean = ((test[key] - low) * scale for key in ("low", "high", "mean"))
    bar = (
        "<svg class='bar' viewBox='-1 0 102 10' preserveAspectRatio='none' role='img' "
        f"aria-label='{test['low']:.4g} to {test['high']:.4g}'>"
        f"<rect class='span' x='{start:.1f}' y='3' width='{max(end - start, 0.5):.1f}' height='4'/>"
        f"<rect x='{mean - 0.5:.1f}' y='1' width='1' height='8'/></svg>"
    )
    edge = " (edge)" if entry["edge"] else ""
    return (
        f"<tr{' class=tied' if entry['tied'] else ''}><td>{entry['rank']}</td>"
        f"<td class='name'>{escape(entry['name'])}</td>"
        f"<td>{entry['learning_rate']:g}{edge}</td><td>{test['mean']:.4g}</td>"
        f"<td class='name'>{bar}</td><td>{100 * entry['diverged']:.0f} %</td></tr>"
    )
