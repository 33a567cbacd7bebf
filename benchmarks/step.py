"""One step of every rule: beside torch's own modes, and beside the bytes that it moves alone.

All contenders of a case take turns in one process: this package, the same bytes without the
arithmetic, and torch's loop, foreach and fused modes. So the ratio to torch and the share of the
bandwidth come from the same rounds. They step the same parameters with the same gradients, and each
has a state of its own: without a state, all read and write the same memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from common import Record, parser
from thalweg import rules
from thalweg.bench.contenders import OURS
from thalweg.bench.measure import Setting, measure
from thalweg.bench.shapes import find


@dataclass(frozen=True)
class Case:
    """A rule, and options of its optimizer class.

    Attributes:
        rule: its name.
        options: such as weight_decay.
    """

    rule: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join([self.rule, *(f"{k}={v:g}" for k, v in self.options.items())])


@dataclass(frozen=True)
class Goal:
    """The ratios to reach on a list of shapes, and how many rounds are measured.

    Attributes:
        fused: where torch has a fused kernel.
        elsewhere: where it has none.
        rounds: in each of which every contender is timed once.
    """

    fused: float
    elsewhere: float
    rounds: int


GOALS = {
    "1x25M": Goal(fused=0.95, elsewhere=4.0, rounds=9),
    "1000x1000": Goal(fused=8.0, elsewhere=16.0, rounds=15),
    "4x2000": Goal(fused=2.5, elsewhere=4.0, rounds=25),
}
QUICK = ("sgd", "adam", "nadam", "lion")
DECAY = {"weight_decay": 1e-4}

COLUMNS = {
    "rule": "{name}",
    "bytes": "{moved:g}",
    "thalweg µs": "{us:,.0f}",
    "GB/s": "{rate:.1f}",
    "of its bytes alone": "{share[median]:.0%}",
    "quartiles of the share": "{share[low]:.0%} to {share[high]:.0%}",
    "torch's best": "{best}",
    "× torch": "{times}",
    "quartiles": "{quartiles}",
    "target": "{target}",
    "": "{met}",
}


def cases(quick: bool) -> list[Case]:
    """Every rule as it stands, and two with weight decay."""
    if quick:
        return [Case(name) for name in QUICK]
    plain = [Case(name) for name in rules.registry()]
    return [*plain, Case("nesterov", DECAY), Case("adam", DECAY)]


def step(case: Case, shapes: str) -> dict[str, Any]:
    """One case on one list of shapes, and whether it reaches its goal."""
    goal = GOALS[shapes]
    setting = Setting(repeats=goal.rounds, peers=())
    row = measure(rules.find(case.rule), find(shapes), setting, case.options)
    best = row.get("best")
    target = goal.fused if "torch fused" in row.get("against", {}) else goal.elsewhere
    met = None if best is None else row["against"][best]["median"] >= target
    return {**row, "name": str(case), "target": target if best else None, "met": met}


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what its line of the printed table needs."""
    best = row["best"]
    times = row["against"][best] if best else None
    return {
        **row,
        "moved": sum(row["bytes"].values()),
        "us": row["seconds"][OURS]["median"] * 1e6,
        "rate": row["bandwidth"][OURS],
        "times": f"{times['median']:.2f}" if times else "–",
        "quartiles": f"{times['low']:.2f} to {times['high']:.2f}" if times else "",
        "best": best.removeprefix("torch ") if best else "–",
        "target": f"{row['target']:g}" if best else "",
    }


def main() -> None:
    """Measure, print, record."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args()
    record = Record("step", options)
    for shapes in GOALS:
        rows = [
            record.case(f"{case}, {shapes}", partial(step, case, shapes))
            for case in cases(options.quick)
        ]
        title = f"One step, {shapes}"
        record.table(title, COLUMNS, [shown(row) for row in rows if "seconds" in row])
        record.document["tables"][title] = rows  # with every number, and without what was derived
    record.close()


if __name__ == "__main__":
    main()
