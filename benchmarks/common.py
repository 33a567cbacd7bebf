"""What all benchmarks share: a comparison, a record of it, a table of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from thalweg.bench.document import NOISY, load, machine, told
from thalweg.bench.timing import Spread, ratio

RESULTS = Path(__file__).parent / "results"


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
        return ratio(self.ours, self.theirs)

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
        now = load()
        if now is not None and now > NOISY:
            print(f"load average {now:.1f}: another program runs, ratios suffer", file=sys.stderr)
        self.path = None if options.quick else RESULTS / f"{name}.json"
        self.document: dict[str, Any] = {
            "benchmark": name,
            "environment": machine(),
            "load": {"start": now},
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
        self.document["load"]["end"] = load()
        print(f"\n{told(self.document)}")
        if self.path is not None:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
