"""The bandwidth of every rule's step against that of its bytes alone, beside torch and others."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from common import RESULTS, parser
from thalweg import records, rules
from thalweg.bench.contenders import COMPILED
from thalweg.bench.document import document, load
from thalweg.bench.measure import Setting, measure
from thalweg.bench.picture import figure
from thalweg.bench.shapes import ShapeList, find
from thalweg.cli.bench_table import Progress, tables
from thalweg.rules import Rule

ALL = ("1x25M", "1000x1000", "4x2000")  # the shapes on which every rule is measured
MODELS = ("resnet50", "gpt2", "lora7b")  # and those for some: they take long
SOME = ("momentum", "rmsprop", "adamw", "nadam", "lion", "lamb")
COMPILED_RULES = ("adamw", "nadam")  # torch.compile takes up to two minutes for a first step
PATIENCE = 240.0  # seconds for it


def cases(quick: bool, setting: Setting) -> Iterator[tuple[Rule, ShapeList, Setting]]:
    """What is measured, and how."""
    if quick:
        yield from ((rules.find(name), find("4x2000"), setting) for name in ("adam", "lamb"))
        return
    compiling = replace(setting, peers=(*setting.peers, COMPILED), patience=PATIENCE)
    for shapes in (*ALL, *MODELS):
        for name in rules.registry() if shapes in ALL else SOME:
            use = compiling if shapes in ALL and name in COMPILED_RULES else setting
            yield rules.find(name), find(shapes), use


def main() -> None:
    """Measure, print, record; what is recorded grows with every case."""
    found = parser(__doc__ or "")
    found.add_argument("--repeats", type=int, default=9, help="rounds of everybody")
    found.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = found.parse_args()
    torch.set_num_threads(options.threads)
    setting = Setting(repeats=3 if options.quick else options.repeats, device=options.device)
    before, rows, todo = load(), list[dict[str, Any]](), list(cases(options.quick, setting))
    target = RESULTS / ("roofline.json" if options.device == "cpu" else "roofline-gpu.json")
    with Progress(sys.stderr, len(todo)) as progress:
        for rule, shapes, use in todo:
            progress.begin(f"{rule.name}, {shapes.name}")
            rows.append(measure(rule, shapes, use))
            done = document(rows, setting, (before, load()), len(rows) < len(todo))
            if not options.quick:
                records.write(target, json.dumps(records.plain(done), indent=1) + "\n")
    print(tables(done))
    if not options.quick:
        figure(done).savefig(target.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
