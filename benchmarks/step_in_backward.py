"""Peak memory and time of training steps of a transformer, plain and stepped in the backward pass.

Peak memory is that of the process during two training steps, less what it held before them:
parameters and state are there by then, so what is added are activations and gradients. The
mini-batch is small, as where memory is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from common import Record, parser
from thalweg import optim
from thalweg.bench.peak_memory import peak
from thalweg.bench.timing import in_turns, ratio

WIDTH, LAYERS, HEADS, WORDS = 512, 8, 8, 4096
SAMPLES, LENGTH = 2, 64
MIB = 1 << 20
PLAIN = "plain"
WAYS: dict[str, int | None] = {PLAIN: None, "32 MiB": 32 * MIB, "8 MiB": 8 * MIB}

COLUMNS = {
    "gradients step in batches of": "{way}",
    "gradients, MB": "{gradients:.0f}",
    "peak, MB": "{peak:.0f}",
    "time, of the plain step": "{time:.2f}",
    "quartiles": "{time_low:.2f} to {time_high:.2f}",
    "": "{met}",
}


class LanguageModel(nn.Module):
    """Words, a causal transformer, and scores of the next word by the words' own vectors."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        layer = nn.TransformerEncoderLayer(
            width, HEADS, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (samples, length, words)."""
        hidden = self.layers(self.words(x), mask=self.mask, is_causal=True)
        return nn.functional.linear(hidden, self.words.weight)


class Training:
    """A model with its optimizer, and a training step of it.

    Args:
        width: of the model.
        layers: of the model.
    """

    def __init__(self, width: int, layers: int) -> None:
        torch.manual_seed(0)
        self.model = LanguageModel(width, layers)
        self.optimizer = optim.AdamW(self.model.parameters(), lr=1e-4)
        self.words = torch.randint(WORDS, (SAMPLES, LENGTH + 1))

    def step(self) -> None:
        """One training step, of which no gradient is left."""
        scores = self.model(self.words[:, :-1])
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), self.words[:, 1:].flatten())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    @contextmanager
    def stepping(self, batch: int | None) -> Iterator[Callable[[], None]]:
        """The training step, in the backward pass where a batch has a size."""
        if batch is None:
            yield self.step
            return
        with optim.step_in_backward(self.optimizer, batch_bytes=batch):
            yield self.step


def measured(width: int, layers: int, rounds: int) -> list[dict[str, Any]]:
    """A row per way to step."""
    training = Training(width, layers)
    gradients = sum(p.nbytes for p in training.model.parameters())
    peaks, taken = dict[str, int](), dict[str, list[float]]()
    for way, batch in WAYS.items():
        with training.stepping(batch) as step:
            step()
            step()  # the second plans anew, because the first has begun the state
            peaks[way] = peak(lambda step=step: (step(), step()))

    def side(batch: int | None) -> Callable[[], None]:
        def call() -> None:
            with training.stepping(batch) as step:
                for _ in range(4):  # the first of them plans
                    step()

        return call

    taken = in_turns({way: side(batch) for way, batch in WAYS.items()}, rounds)
    rows = []
    for way in WAYS:
        time = ratio(taken[PLAIN], taken[way])
        rows.append(
            {
                "way": way,
                "gradients": gradients / 1e6,
                "peak": peaks[way] / 1e6,
                "time": time.median,
                "time_low": time.low,
                "time_high": time.high,
                "met": None,
            }
        )
    return rows


def main() -> None:
    """Measure, print, record."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args()
    record = Record("step_in_backward", options)
    width, layers, rounds = (128, 2, 2) if options.quick else (WIDTH, LAYERS, 8)
    rows = record.case("transformer", lambda: measured(width, layers, rounds))
    record.table(f"A transformer of width {width} and {layers} layers, AdamW", COLUMNS, rows)
    record.close()


if __name__ == "__main__":
    main()
