"""An optimizer of one's own: six lines, and everything this package does works with it.

python examples/own_optimizer.py                                   # train with it
thalweg rules examples/own_optimizer.py:heed                       # its formula, typeset
thalweg race digits-mlp --optimizers adam,examples/own_optimizer.py:heed
thalweg bench examples/own_optimizer.py:heed                       # its bandwidth
"""

from __future__ import annotations

import torch

import thalweg as tw
from thalweg.ops import sqrt, where


@tw.rule
def heed(theta, g, m, v, t, *, lr=1e-3, beta1=0.9, beta2=0.99, eps=1e-8):
    """Heed: Adam that halves its step wherever momentum and gradient disagree."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    step = m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)
    return theta - lr * step * where(m * g > 0, 1.0, 0.5), m, v


Heed = tw.optim.from_rule(heed)


def train(steps: int = 300, **options: object) -> float:
    """The loss of a small network after so many steps on a made-up regression."""
    torch.manual_seed(0)
    x = torch.randn(512, 8)
    y = torch.sin(x).sum(1, keepdim=True)
    model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
    optimizer = Heed(model.parameters(), lr=1e-2, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    return loss.item()


if __name__ == "__main__":
    print(f"loss with a state in float32: {train():.4f}")
    print(f"loss with a state in 8 bits:  {train(state_dtype='int8'):.4f}")
