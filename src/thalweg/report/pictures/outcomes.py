"""Figures of what a race found: every optimizer's test metric, and every pair."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...plotting import safe
from ...records import RaceDocument
from .. import ranges, text
from .axes import metric, numbers, panels, styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def results(document: RaceDocument) -> Figure | None:
    """Test metric of every optimizer with its 95 % interval; None before the test.

    The axis holds the better ones, as the bars of the page do. An arrow marks an interval that lies
    outside, and its mean is written beside it.
    """
    shown = [(e, e.test) for e in document.optimizers if text.half_width(e.test) is not None]
    if not shown:
        return None
    figure, (ax,) = panels(1, height=1.2 + 0.3 * len(shown))
    look = styles(document)
    ends = ranges.shown(
        [end for _, test in ranges.better(shown) if test for end in (test.low, test.high)],
        higher=document.setting.metric.higher_is_better,
        worst=ranges.untrained(document, ranges.METRIC),
    )
    assert ends is not None  # every interval that is shown has both ends
    for k, (entry, test) in enumerate(shown):
        low, mean, high = numbers([test.low, test.mean, test.high]) if test else [math.nan] * 3
        colour = look[entry.name]["color"]
        if high < ends[0] or low > ends[1]:
            left = high < ends[0]
            ax.annotate(
                f"← {mean:.4g}" if left else f"{mean:.4g} →",
                (0.01 if left else 0.99, k),
                xycoords=("axes fraction", "data"),
                va="center",
                ha="left" if left else "right",
                color=colour,
                fontsize="small",
            )
            continue
        ax.plot([low, high], [k, k], color=colour, linewidth=2.2, alpha=0.5)
        ax.plot(mean, k, "o", color=colour, mfc=colour if entry.tied else "white")
    ax.set_yticks(range(len(shown)), [safe(entry.name) for entry, _ in shown])
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_xlim(*ends)
    ax.set(xlabel=f"test {metric(document)}: mean, 95 % interval; filled: ties for first")
    return figure


def pairs(document: RaceDocument) -> Figure | None:
    """Share of seeds on which the row beats the column, ringed where p ≤ 0.05 over all pairs."""
    names = [entry.name for entry in document.optimizers]
    place = {name: k for k, name in enumerate(names)}
    known = [p for p in document.pairs if p.a in place and p.b in place]
    if not known:
        return None
    share = [[math.nan] * len(names) for _ in names]
    figure, (ax,) = panels(1, width=2.4 + 0.42 * len(names), height=1.8 + 0.36 * len(names))
    for pair in known:
        a, b = place[pair.a], place[pair.b]
        if pair.probability_better is not None:
            share[a][b], share[b][a] = pair.probability_better, 1 - pair.probability_better
        if pair.p is not None and pair.p <= 0.05:
            ax.plot([b, a], [a, b], "o", mfc="none", mec="black", markersize=9)
    image = ax.imshow(share, cmap="PuOr_r", vmin=0, vmax=1)
    ax.grid(visible=False)
    ax.set_xticks(range(len(names)), [safe(n) for n in names], rotation=60, ha="right")
    ax.set_yticks(range(len(names)), [safe(n) for n in names])
    bar = figure.colorbar(image, ax=ax, shrink=0.8)
    bar.set_label("P(row better than column)")
    return figure
