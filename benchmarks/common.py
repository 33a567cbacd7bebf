"""What all benchmarks share: timing side by side, a record of it, a table of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thalweg.racing.summary import environment

RESULTS = Path(__file__).parent / "results"
NOISY = 0.5  # load average above which something else is running

Side = Callable[[], object]

FUSED = {"SGD", "Adagrad", "Adam", "AdamW"}  # the classes that torch has fused kernels for


def torch_modes(name: str) -> dict[str, dict[str, bool]]:
    """Torch's own implementations of an optimizer, and the options that choose them."""
    found = {"loop": {"foreach": False}, "foreach": {"foreach": True}}
    return found | ({"fused": {"fused": True}} if name in FUSED else {})


@dataclass(frozen=True)
class Spread:
    """The middle of repeated measurements and their quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Median and quartiles of these values."""
        low, median, high = np.quantile(list(values), (0.25, 0.5, 0.75))
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Comparison:
    """Ours against theirs, measured in turns.

    Attributes:
        ours: seconds of each round.
        theirs: seconds of the same rounds.
    """

    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratio(self) -> Spread:
        """How many times as fast ours is: theirs/ours of every round, which share their noise."""
        return Spread.of(t / o for t, o in zip(self.theirs, self.ours, strict=True))

    def row(self, target: float, unit: float) -> dict[str, Any]:
        """What tables and records say of it.

        Args:
            target: the ratio to reach.
            unit: seconds in the unit of the times.
        """
        ratio = self.ratio
        return {
            "theirs": Spread.of(t / unit for t in self.theirs).median,
            "ours": Spread.of(o / unit for o in self.ours).median,
            "ratio": ratio.median,
            "ratio_low": ratio.low,
            "ratio_high": ratio.high,
            "target": target,
            "met": ratio.median >= target,
        }


def timed(side: Side, repeats: int = 1) -> float:
    """Seconds that one call takes, the mean of so many in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        side()
    return (time.perf_counter() - start) / repeats


def in_turns(
    sides: Mapping[str, Side], rounds: int, shortest: float = 2e-3
) -> dict[str, list[float]]:
    """Seconds per call of every side in every round, warmed up apart.

    Args:
        sides: what to call. They take turns, so that what else the machine does hits all alike,
            and the first of a round goes last in the next.
        rounds: how often.
        shortest: seconds that a measurement lasts at least; fast sides are repeated.
    """
    repeats = {}
    for name, side in sides.items():
        side()
        repeats[name] = max(1, round(shortest / timed(side)))
        timed(side, repeats[name])
    taken: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(rounds):
        for name in order:
            taken[name].append(timed(sides[name], repeats[name]))
        order = order[1:] + order[:1]
    return taken


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has; a benchmark may add its own."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--quick", action="store_true", help="a sample, in seconds; not recorded")
    found.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch and thalweg")
    return found


class Record:
    """A benchmark's results: printed as tables, kept as JSON.

    Args:
        name: of the benchmark, and of its file.
        options: as parsed.
    """

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        torch.set_num_threads(options.threads)
        load = os.getloadavg()[0]
        if load > NOISY:
            print(f"load average {load:.1f}: another program runs, ratios suffer", file=sys.stderr)
        self.path = None if options.quick else RESULTS / f"{name}.json"
        self.document: dict[str, Any] = {
            "benchmark": name,
            "environment": environment(),
            "threads": options.threads,
            "load_at_start": load,
            "tables": {},
        }

    def table(
        self, title: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Print rows as a Markdown table and keep them.

        Args:
            title: what is compared.
            columns: heading of every column, and the format of its cells from a row's values.
            rows: the values; "met" is None where there is no target.
        """
        self.document["tables"][title] = list(rows)
        print(f"\n**{title}**\n")
        print("| " + " | ".join(columns) + " |")
        print("|" + "---|" * len(columns))
        for row in rows:
            shown = {**row, "met": {True: "met", False: "MISSED", None: ""}[row["met"]]}
            print("| " + " | ".join(cell.format(**shown) for cell in columns.values()) + " |")

    def close(self) -> None:
        """Say what was measured on, and write the record unless it was a quick look."""
        self.document["load_at_end"] = os.getloadavg()[0]
        e = self.document["environment"]
        print(
            f"\n{e['processor']}, {e['cores']} cores, {self.document['threads']} threads; "
            f"torch {e['torch']}, numba {e['numba']}, Python {e['python']}; load average "
            f"{self.document['load_at_start']:.1f} to {self.document['load_at_end']:.1f}; "
            f"{e['date'][:10]}"
        )
        if self.path is not None:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
