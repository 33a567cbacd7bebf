"""An LSTM that continues a noisy sine series. Race optimizers on it:

thalweg race examples/lstm_task.py --optimizers adam,rmsprop,momentum --budget 3 --seeds 3
"""

import numpy as np
from torch import Tensor, nn

import thalweg as tw

WINDOW = 20  # values that the model sees


def series(count: int) -> np.ndarray:
    """Two sines of different periods, and noise."""
    time = np.arange(count)
    noise = np.random.default_rng(0).normal(0, 0.05, count)
    return np.sin(time / 6) + 0.5 * np.sin(time / 17) + noise


def windows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of the series (N, WINDOW, 1), and the value after each (N, 1)."""
    pieces = np.lib.stride_tricks.sliding_window_view(values, WINDOW + 1)
    return pieces[:, :-1, None], pieces[:, -1:]


class Forecast(nn.Module):
    """An LSTM, and a prediction from where it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size=1, hidden_size=16, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The next value (N, 1)."""
        hidden, _ = self.lstm(x)
        value: Tensor = self.head(hidden[:, -1])
        return value


past = series(1200)

task = tw.Task(
    model=Forecast,
    # The future is predicted from the past: the parts follow each other in time.
    train=windows(past[:800]),
    validation=windows(past[800:1000]),
    test=windows(past[1000:]),
    loss="mse",
    metrics="r2",
    batch_size=32,
    epochs=5,
)
