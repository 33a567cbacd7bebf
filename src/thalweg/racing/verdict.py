"""The race in one sentence, with what it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .spec import Spec
from .statistics import Ties, seeds_needed


def verdict(spec: Spec, result: Mapping[str, Any], ties: Ties) -> dict[str, Any]:
    """Who is first, in words, and the line of code to copy.

    Args:
        spec: the race.
        result: its document so far: optimizers by rank.
        ties: who cannot be told from the leader.
    """
    entries = {entry["name"]: entry for entry in result["optimizers"]}
    leader = entries[ties.leader]
    metric = spec.task.metric.name
    score = f"test {metric} {number(leader['test']['mean'])}"
    band = f"95 % interval {number(leader['test']['low'])} to {number(leader['test']['high'])}"
    best = list(ties.best)
    if len(entries) == 1:
        first = f"{ties.leader} ran alone: {score} ({band})."
    elif spec.seeds < (needed := seeds_needed(len(entries))):
        first = (
            f"{ties.leader} has the highest mean: {score} ({band}). But {spec.seeds} seeds are too "
            f"few to tell {len(entries)} optimizers apart; take --seeds {needed} or more."
        )
    elif len(best) == 1:
        second = list(entries.values())[1]
        first = (
            f"{ties.leader} is best: {score} ({band}), significantly better than "
            f"{second['name']}, the second, with {number(second['test']['mean'])}."
        )
    else:
        others = f"{len(best) - 1} other{'s' if len(best) > 2 else ''}"
        first = (
            f"{ties.leader} has the best mean, {score} ({band}), but is not shown to be better "
            f"than {others}: {', '.join(name for name in best if name != ties.leader)}."
        )
    edges = [name for name in best if entries[name]["edge"]]
    if edges:
        first += (
            f" The best learning rate of {', '.join(edges)} lies on the edge of what was tried."
        )
    return {"best": best, "sentence": f"On {spec.task.name}, {first}", "code": leader["code"]}


def number(x: float | None) -> str:
    """A score to four significant digits."""
    return "–" if x is None else f"{x:.4g}"
