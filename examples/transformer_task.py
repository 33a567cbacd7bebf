"""A small transformer that continues text, letter by letter. Race optimizers on it:

    thalweg race examples/transformer_task.py --optimizers adam,momentum,radam --budget 3 --seeds 3

The text is generated: sentences of a little grammar, the same every time.
"""

import random

import torch
from torch import Tensor, nn

import thalweg as tw

WINDOW = 24  # letters that the model sees


def text(sentences: int) -> str:
    """Sentences such as "the small cat sees a bird. "."""
    draw = random.Random(0)
    nouns = ["cat", "dog", "bird", "river", "valley", "stone"]
    verbs = ["sees", "finds", "follows", "leaves"]
    kinds = ["small", "old", "quiet", "green"]

    def thing() -> str:
        kind = f"{draw.choice(kinds)} " if draw.random() < 0.5 else ""
        return f"{draw.choice(['the', 'a'])} {kind}{draw.choice(nouns)}"

    return "".join(f"{thing()} {draw.choice(verbs)} {thing()}. " for _ in range(sentences))


TEXT = text(600)
LETTERS = sorted(set(TEXT))


def windows() -> tuple[Tensor, Tensor]:
    """Letters as numbers (N, WINDOW), and for each the letter that comes next."""
    numbers = torch.tensor([LETTERS.index(letter) for letter in TEXT])
    pieces = numbers.unfold(0, WINDOW + 1, WINDOW)
    return pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous()


class Transformer(nn.Module):
    """Letters and places embedded, two layers that look back only, a score for every letter."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.letter = nn.Embedding(len(LETTERS), width)
        self.place = nn.Parameter(0.02 * torch.randn(WINDOW, width))
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=64, dropout=0.1, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.scores = nn.Linear(width, len(LETTERS))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(WINDOW))

    def forward(self, letters: Tensor) -> Tensor:
        """Scores (N, WINDOW, letters) of the next letter at every place."""
        hidden = self.layers(self.letter(letters) + self.place, mask=self.mask)
        scores: Tensor = self.scores(hidden)
        return scores


inputs, targets = windows()
TRAIN, VALIDATION = len(inputs) * 3 // 5, len(inputs) * 4 // 5

task = tw.Task(
    model=Transformer,
    # Neighbours in a text are alike: the parts are cut, not drawn.
    train=(inputs[:TRAIN], targets[:TRAIN]),
    validation=(inputs[TRAIN:VALIDATION], targets[TRAIN:VALIDATION]),
    test=(inputs[VALIDATION:], targets[VALIDATION:]),
    loss="cross_entropy",
    metrics="accuracy",
    batch_size=32,
    epochs=5,
)
