"""The first step of an optimizer in a fresh process, with an empty and with a filled cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Record, Spread, parser

TARGETS = {"cold": 1.5, "warm": 0.3}  # seconds, with an empty and with a filled cache
CLASSES = (
    "SGD", "ASGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "Adamax", "NAdam", "RAdam",
    "Rprop", "Lion",
)  # fmt: skip
OPTIONS = {"SGD": ", lr=0.1, momentum=0.9"}

# What a fresh process does; torch and thalweg.optim are imported before the clock starts.
PROGRAM = """
import time, torch, thalweg.optim
torch.set_num_threads({threads})
parameters = [torch.ones(128, 64, requires_grad=True), torch.ones(128, requires_grad=True)]
for p in parameters:
    p.grad = torch.ones_like(p)
start = time.perf_counter()
{module}.{name}(parameters{options}).step()
print(time.perf_counter() - start)
"""

COLUMNS = {
    "optimizer": "{optimizer}",
    "cache": "{cache}",
    "seconds": "{seconds:.3f}",
    "quartiles": "{low:.3f} to {high:.3f}",
    "target": "{target}",
    "": "{met}",
}


def first_step(module: str, name: str, cache: Path, threads: int) -> float:
    """Seconds from constructing this optimizer to the end of its first step."""
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
    return float(done.stdout)


def row(optimizer: str, cache: str, seconds: list[float]) -> dict[str, Any]:
    """What table and record say of it."""
    spread, target = Spread.of(seconds), TARGETS.get(cache)
    return {
        "optimizer": optimizer,
        "cache": cache,
        "seconds": spread.median,
        "low": spread.low,
        "high": spread.high,
        "target": "" if target is None else f"≤ {target:g}",
        "met": None if target is None else spread.median <= target,
    }


def main() -> None:
    """Measure, print, record."""
    options = parser(__doc__ or "").parse_args()
    record = Record("first_step", options)
    names, rounds = (("SGD", "Adam"), 1) if options.quick else (CLASSES, 3)
    taken: dict[tuple[str, str], list[float]] = {(n, c): [] for n in names for c in TARGETS}
    torch_own: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            torch_own.append(first_step("torch.optim", "Adam", Path(folder), options.threads))
            for name in names:
                cache = Path(folder) / f"{name}{turn}"  # empty at first, filled by then
                for kind in TARGETS:
                    seconds = first_step("thalweg.optim", name, cache, options.threads)
                    taken[name, kind].append(seconds)
    rows = [row(name, kind, seconds) for (name, kind), seconds in taken.items()]
    # torch imports its compiler when its first optimizer is made.
    rows.append(row("torch.optim.Adam", "none", torch_own))
    record.table("First step in a fresh process", COLUMNS, rows)
    record.close()


if __name__ == "__main__":
    main()
