"""How far parameters end from those of torch's loop after 1,000 steps along the same gradients.

In float32, in units in the last place of the largest magnitude that a parameter has had; the
largest of all parameters is recorded. torch's other modes stand beside: they differ from its loop
for the same reason, the order of roundings. Distances, not times: nothing depends on the load.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from common import Record, parser
from thalweg import optim
from thalweg.bench.contenders import torch_modes

PARAMETERS, STEPS = 10_000, 1_000
CLASSES = (
    "SGD",
    "ASGD",
    "Rprop",
    "Adagrad",
    "Adadelta",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "RAdam",
)
OPTIONS: dict[str, dict[str, Any]] = {"SGD": {"momentum": 0.9}}  # others have their defaults
LOOP = "loop"
OURS = "thalweg"

COLUMNS = {"class": "{name}", "contender": "{contender}", "units": "{units:.2g}", "": "{met}"}


def contenders(name: str) -> dict[str, tuple[Optimizer, Tensor]]:
    """An optimizer and its parameter by contender; all parameters begin at the same numbers."""
    made: dict[str, tuple[Optimizer, Tensor]] = {}
    for mode, switches in {**torch_modes(name), OURS: {}}.items():
        p = torch.randn(PARAMETERS, generator=torch.Generator().manual_seed(0)).requires_grad_()
        package = optim if mode == OURS else torch.optim
        make = getattr(package, name)
        made[mode] = make([p], lr=1e-2, **OPTIONS.get(name, {}), **switches), p
    return made


def distances(name: str) -> list[dict[str, Any]]:
    """A row per contender other than torch's loop."""
    sides = contenders(name)
    draws = torch.Generator().manual_seed(1)
    held = torch.zeros(PARAMETERS)
    for _ in range(STEPS):
        gradient = torch.randn(PARAMETERS, generator=draws)
        for optimizer, p in sides.values():
            p.grad = gradient.clone()
            optimizer.step()
        held = torch.maximum(held, sides[LOOP][1].detach().abs())
    unit = torch.exp2(held.double().log2().floor()) * torch.finfo(torch.float32).eps
    loop = sides.pop(LOOP)[1].detach().double()
    return [
        {
            "name": name,
            "contender": contender,
            "units": float(((p.detach().double() - loop).abs() / unit).max()),
            "met": None,
        }
        for contender, (_, p) in sides.items()
    ]


def main() -> None:
    """Step, compare, record."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args()
    record = Record("closeness", options)
    names = CLASSES[:1] if options.quick else CLASSES
    rows = [row for name in names for row in record.case(name, partial(distances, name))]
    record.table(f"{PARAMETERS:,} parameters, {STEPS:,} steps, float32", COLUMNS, rows)
    record.close()


if __name__ == "__main__":
    main()
