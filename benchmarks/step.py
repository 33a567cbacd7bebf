"""One optimizer step: thalweg.optim against the fastest of torch's own modes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

import thalweg.optim
from common import Comparison, Record, parser
from thalweg.bench.contenders import torch_modes
from thalweg.bench.timing import Side, in_turns

NEAR = 1.5  # modes of torch within this factor of the fastest are measured in turns with ours


@dataclass(frozen=True)
class Case:
    """An optimizer with the options of a variant."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name + "".join(
            f", {k}" if v is True else f", {k}={v}" for k, v in self.options.items() if k != "lr"
        )

    @property
    def modes(self) -> dict[str, dict[str, bool]]:
        """Torch's implementations of it, and the options that choose them."""
        return torch_modes(self.name)

    def ours(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Our optimizer of these parameters."""
        return getattr(thalweg.optim, self.name)(parameters, **self.options)

    def theirs(self, parameters: Sequence[Tensor], mode: str) -> torch.optim.Optimizer:
        """Torch's optimizer of these parameters."""
        cls = getattr(torch.optim, self.name)
        return cls(parameters, **self.options, **self.modes[mode])


CASES = [
    Case("SGD", {"lr": 1e-3}),
    Case("SGD", {"lr": 1e-3, "momentum": 0.9}),
    Case("SGD", {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}),
    Case("ASGD"),
    Case("Rprop"),
    Case("Adagrad"),
    Case("Adadelta"),
    Case("RMSprop"),
    Case("RMSprop", {"momentum": 0.9}),
    Case("RMSprop", {"centered": True}),
    Case("Adam"),
    Case("Adam", {"weight_decay": 1e-4}),
    Case("Adam", {"amsgrad": True}),
    Case("AdamW"),
    Case("Adamax"),
    Case("NAdam"),
    Case("RAdam"),
]
QUICK = {"SGD", "Adam", "RMSprop"}


@dataclass(frozen=True)
class Shape:
    """How many tensors of how many elements, and the ratios to reach."""

    tensors: int
    elements: int
    fused: float
    elsewhere: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.tensors:,} × {self.elements:,} float32"


SHAPES = [
    Shape(1, 25_000_000, fused=0.95, elsewhere=4.0, rounds=9),
    Shape(1_000, 1_000, fused=8.0, elsewhere=20.0, rounds=15),
    Shape(4, 2_000, fused=2.5, elsewhere=4.0, rounds=25),
]

COLUMNS = {
    "optimizer": "{optimizer}",
    "torch's best": "{mode}",
    "torch µs": "{theirs:,.0f}",
    "thalweg µs": "{ours:,.0f}",
    "ratio": "{ratio:.2f}×",
    "quartiles": "{ratio_low:.2f} to {ratio_high:.2f}",
    "target": "{target:g}×",
    "": "{met}",
}


def parameters(shape: Shape, gradients: list[Tensor]) -> list[Tensor]:
    """Fresh parameters; all sides share the gradients, which stay as they are."""
    found = [torch.ones(shape.elements, requires_grad=True) for _ in range(shape.tensors)]
    for parameter, gradient in zip(found, gradients, strict=True):
        parameter.grad = gradient
    return found


def compare(case: Case, sides: dict[str, Side], rounds: int) -> tuple[str, Comparison]:
    """Ours against torch's fastest mode, all that come near it measured in turns."""
    pilot = {name: min(times) for name, times in in_turns(sides, 2).items()}
    fastest = min(pilot[mode] for mode in case.modes)
    kept = {k: s for k, s in sides.items() if k == "ours" or pilot[k] < NEAR * fastest}
    taken = in_turns(kept, rounds)
    ours = taken.pop("ours")
    best = min(taken, key=lambda mode: sorted(taken[mode])[rounds // 2])
    return best, Comparison(ours, taken[best])


def step(case: Case, shape: Shape, gradients: list[Tensor]) -> dict[str, Any]:
    """One step of ours against one of torch's."""
    sides: dict[str, Side] = {
        mode: case.theirs(parameters(shape, gradients), mode).step for mode in case.modes
    }
    sides["ours"] = case.ours(parameters(shape, gradients)).step
    mode, found = compare(case, sides, shape.rounds)
    target = shape.fused if "fused" in case.modes else shape.elsewhere
    return {"optimizer": str(case), "mode": mode, **found.row(target, 1e-6)}


MODELS = {
    "multilayer perceptron 64-128-10, batch 64": ((64, 128, 10), 64),
    "multilayer perceptron 784-512-512-10, batch 128": ((784, 512, 512, 10), 128),
}


def training(case: Case, sizes: tuple[int, ...], batch: int, rounds: int) -> dict[str, Any]:
    """A whole training step, the optimizer's threads beside those of forward and backward."""
    x, y = torch.randn(batch, sizes[0]), torch.randint(sizes[-1], (batch,))

    def side(mode: str) -> Side:
        torch.manual_seed(0)
        model = nn.Sequential(*layers(sizes))
        weights = list(model.parameters())
        optimizer = case.ours(weights) if mode == "ours" else case.theirs(weights, mode)

        def one() -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

        return one

    mode, found = compare(case, {m: side(m) for m in ("ours", *case.modes)}, rounds)
    return {"optimizer": str(case), "mode": mode, **found.row(1.0, 1e-6)}


def layers(sizes: tuple[int, ...]) -> Iterator[nn.Module]:
    """Linear layers of these sizes, with ReLU between."""
    for k, (width, height) in enumerate(pairwise(sizes)):
        if k:
            yield nn.ReLU()
        yield nn.Linear(width, height)


def main() -> None:
    """Measure, print, record."""
    options = parser(__doc__ or "").parse_args()
    record = Record("step", options)
    cases = [c for c in CASES if not options.quick or (c.name in QUICK and len(c.options) < 2)]
    for shape in SHAPES:
        gradients = list(torch.randn(shape.tensors, shape.elements).unbind())
        rows = [step(case, shape, gradients) for case in cases]
        record.table(f"One step, {shape}", COLUMNS, rows)
    for name, (sizes, batch) in MODELS.items():
        rows = [
            training(case, sizes, batch, 25)
            for case in cases
            if len(case.options) < 2 and case.name in ("SGD", "Adam", "RMSprop", "NAdam")
        ]
        record.table(f"A whole training step, {name}", COLUMNS, rows)
    record.close()


if __name__ == "__main__":
    main()
