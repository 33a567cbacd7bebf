"""A CNN with batch normalization and dropout on a folder of image files. Race optimizers on it:

    thalweg race examples/cnn_images_task.py --optimizers adam,momentum,sgd --budget 3 --seeds 3

The images are scikit-learn's handwritten digits, written as PNG files when this is first run:
into the folder that DIGITS_FOLDER names, or a folder of the system's for temporary files. Put the
path of your own folder in their place, with one folder of images per class.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import thalweg as tw

FOLDER = Path(os.environ.get("DIGITS_FOLDER", Path(tempfile.gettempdir()) / "thalweg-digits"))


def write(folder: Path) -> Path:
    """The digits as files `folder/3/0017.png`; those that are there already are left alone."""
    pixels, digits = load_digits(return_X_y=True)
    for number, (picture, digit) in enumerate(zip(pixels, digits, strict=True)):
        file = folder / str(digit) / f"{number:04}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            grey = np.round(picture.reshape(8, 8) * 255 / 16).astype(np.uint8)
            part = file.with_suffix(f".{os.getpid()}")  # never half a picture under its name
            Image.fromarray(grey).save(part, format="PNG")
            part.replace(file)
    return folder


def cnn() -> nn.Module:
    """Two convolutions, each normalized over the batch, and dropout before the scores."""
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, kernel_size=3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(64, 10),
    )


task = tw.Task(
    model=cnn,
    train=write(FOLDER),  # a fifth each is split off for validation and test
    loss="cross_entropy",
    metrics="accuracy",
    batch_size=64,
    epochs=5,
)
