"""Recurrent layers and attention in lanes: a step of many runs at once, beside one run alone.

The sizes show where lanes stop to gain: the planner of a race measures the same for its own task.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from common import Comparison, Record, parser
from thalweg.bench.timing import timed
from thalweg.tasks import Task
from thalweg.training.runs import Regime, Run, method
from thalweg.training.train import Session

TIME, FEATURES, SAMPLES, BATCH = 20, 4, 256, 32
LANES = 32
BLOCK, WARM = 3, 1  # steps in a row that are timed, after so many that are not
SIZES = (8, 16, 32, 64)
# An endless run, measured only before its first step.
REGIME = Regime(epochs=1_000_000, batch_size=BATCH, evaluations=1)

COLUMNS = {
    "layer": "{layer}",
    "hidden": "{hidden}",
    "alone µs": "{theirs:.0f}",
    "in lanes µs": "{ours:.0f}",
    "ratio": "{ratio:.2f}×",
    "quartiles": "{ratio_low:.2f} to {ratio_high:.2f}",
    "": "{met}",
}


class Reader(nn.Module):
    """A layer over a sequence, and a number from its last output."""

    def __init__(self, layer: Callable[[int], nn.Module], hidden: int) -> None:
        super().__init__()
        self.layer, self.head = layer(hidden), nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The number of each sample (samples, 1)."""
        outputs = self.layer(x)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        number: Tensor = self.head(outputs[:, -1])
        return number


def encoder(hidden: int) -> nn.Module:
    """A layer of attention behind a projection of the features."""
    layer = nn.TransformerEncoderLayer(hidden, 4, 2 * hidden, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(FEATURES, hidden), layer)


LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "LSTM": lambda hidden: nn.LSTM(FEATURES, hidden, batch_first=True),
    "GRU": lambda hidden: nn.GRU(FEATURES, hidden, batch_first=True),
    "encoder": encoder,
}


def task_of(layer: str, hidden: int) -> Task:
    """Samples of noise, of which the sum is learned."""
    x = torch.randn(SAMPLES, TIME, FEATURES, generator=torch.Generator().manual_seed(0))
    data = x, x.sum((1, 2))[:, None]
    model = partial(Reader, LAYERS[layer], hidden)
    return Task(model=model, train=data, validation=data, test=data, loss="mse")


def compare(layer: str, hidden: int, rounds: int) -> dict[str, Any]:
    """A row: seconds per run and step, in lanes and alone, in turns on one thread."""
    task = task_of(layer, hidden)
    runs = [Run(method("adam"), {"lr": 1e-3}, seed) for seed in range(LANES)]
    together = iter(Session(task, runs, REGIME))
    alone = iter(Session(task, runs[:1], REGIME))
    ours, theirs = list[float](), list[float]()
    for _ in range(rounds):
        for steps, times, count in ((together, ours, LANES), (alone, theirs, 1)):
            list(islice(steps, WARM))
            number = BLOCK * (1 if count > 1 else 8)
            taken = timed(lambda steps=steps, number=number: list(islice(steps, number)))
            times.append(taken / number / count)
    row = Comparison(ours, theirs).row(1.0, 1e-6)
    return {**row, "layer": layer, "hidden": hidden, "met": None}


def main() -> None:
    """Measure, print, record."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args()
    options.threads = 1
    record = Record("recurrent", options)
    sizes, rounds = (SIZES[:1], 2) if options.quick else (SIZES, 12)
    rows = [
        record.case(f"{layer} {hidden}", partial(compare, layer, hidden, rounds))
        for layer in LAYERS
        for hidden in sizes
    ]
    record.table(
        f"{LANES} runs, sequences of {TIME}, per run and step on one thread", COLUMNS, rows
    )
    record.close()


if __name__ == "__main__":
    main()
