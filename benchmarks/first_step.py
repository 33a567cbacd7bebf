"""The first step of an optimizer in a fresh process, with an empty and with a filled cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from common import Record, Spread, parser
from thalweg.optim import classes

TARGETS = {"cold": 1.5, "warm": 0.3}  # seconds, with an empty and with a filled cache
CLASSES = [
    name
    for name, kind in vars(classes).items()
    if getattr(kind, "__module__", "") == classes.__name__ and isinstance(kind, type)
]
OPTIONS = {"SGD": ", lr=0.1, momentum=0.9"}

# What a fresh process does; torch and thalweg.optim are imported before the clock starts. The first
# optimizer of a process, torch's own as well, has torch import its compiler: that is told apart.
PROGRAM = """
import builtins, time, torch, thalweg.optim
torch.set_num_threads({threads})
parameters = [torch.ones(128, 64, requires_grad=True), torch.ones(128, requires_grad=True)]
for p in parameters:
    p.grad = torch.ones_like(p)
importing, imported = builtins.__import__, []
def watched(name, *rest):
    if name != "torch._dynamo" or imported:
        return importing(name, *rest)
    imported.append(-time.perf_counter())
    found = importing(name, *rest)
    imported[0] += time.perf_counter()
    return found
builtins.__import__ = watched
start = time.perf_counter()
{module}.{name}(parameters{options}).step()
print(time.perf_counter() - start, *imported)
"""

COLUMNS = {
    "optimizer": "{optimizer}",
    "cache": "{cache}",
    "seconds": "{total:.3f}",
    "torch imports its compiler": "{imports:.3f}",
    "the rest": "{rest:.3f}",
    "quartiles": "{low:.3f} to {high:.3f}",
    "target": "{target}",
    "": "{met}",
}

Taken = tuple[float, float]  # seconds in all, and those of torch's import of its compiler


def first_step(module: str, name: str, cache: Path, threads: int) -> Taken:
    """The time from constructing this optimizer to the end of its first step."""
    program = PROGRAM.format(
        module=module, name=name, options=OPTIONS.get(name, ""), threads=threads
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "THALWEG_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the first step of {module}.{name} failed:\n{done.stderr}")
    total, *imported = map(float, done.stdout.split())
    return total, sum(imported)


def row(optimizer: str, cache: str, taken: Sequence[Taken]) -> dict[str, Any]:
    """What table and record say of it."""
    spread, target = Spread.of(total - imports for total, imports in taken), TARGETS.get(cache)
    return {
        "optimizer": optimizer,
        "cache": cache,
        "total": median(total for total, _ in taken),
        "imports": median(imports for _, imports in taken),
        "rest": spread.median,
        "low": spread.low,
        "high": spread.high,
        "target": "" if target is None else f"≤ {target:g}",
        "met": None if target is None else spread.median <= target,
    }


def main() -> None:
    """Measure, print, record."""
    options = parser(__doc__ or "").parse_args()
    record = Record("first_step", options)
    names, rounds = (["SGD", "Adam"], 1) if options.quick else (CLASSES, 3)
    taken: dict[tuple[str, str], list[Taken]] = {(n, c): [] for n in names for c in TARGETS}
    torch_own: list[Taken] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            torch_own.append(first_step("torch.optim", "Adam", Path(folder), options.threads))
            for name in names:
                cache = Path(folder) / f"{name}{turn}"  # empty at first, filled by then
                for kind in TARGETS:
                    found = first_step("thalweg.optim", name, cache, options.threads)
                    taken[name, kind].append(found)
    rows = [row(name, kind, own) for (name, kind), own in taken.items()]
    rows.append(row("torch.optim.Adam", "none", torch_own))
    record.table("First step in a fresh process; the target is for the rest", COLUMNS, rows)
    record.close()


if __name__ == "__main__":
    main()
