"""`thalweg init`: a file to put a model of one's own into."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError

EXAMPLE = '''\
"""A task of my own: race optimizers on it with `thalweg race {file}`."""

import numpy as np
from torch import nn

import thalweg as tw


def model() -> nn.Module:
    """A freshly initialised model. It is called once per run; the seed is set for you."""
    return nn.Sequential(
        nn.Linear(2, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(32, 2),
    )


def moons(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two half moons that interlock: points (count, 2) and the moon (count,) each is from."""
    draw = np.random.default_rng(0)
    angle, moon = draw.uniform(0, np.pi, count), draw.integers(0, 2, count)
    flip = 1 - 2 * moon
    points = np.stack([moon + flip * np.cos(angle), flip * (np.sin(angle) - 0.5 * moon)], 1)
    return points + draw.normal(0, 0.15, points.shape), moon


task = tw.Task(
    model=model,
    # Inputs and targets: tensors, NumPy arrays or data frames. Or instead of the pair:
    #   train="measurements.csv", target="species"      a CSV or Parquet file
    #   train="photos/"                                 a folder of images, one folder per class
    #   train=("images.idx.gz", "labels.idx.gz")        IDX files, as MNIST's
    #   train=my_dataset                                a torch Dataset or DataLoader
    train=moons(600),
    # validation= and test= take the same; without them a fifth each is split off train.
    loss="cross_entropy",  # or "mse", "binary_cross_entropy", …, or a function of your own
    # What runs are judged by: or "r2", "loss", …, or a tw.tasks.Metric; those after the first of
    # a list are measured too.
    metrics="accuracy",
    batch_size=32,
    epochs=15,
)
'''


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "init",
        help="write an example of a task of your own, ready to race",
        description="Write a commented example of a task. It runs at once; put your own model and "
        "data into it.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=Path("my_task.py"),
        metavar="FILE",
        help="where to (default: my_task.py); a file that exists is left alone",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file and say how to race it."""
    file: Path = args.file
    if file.suffix != ".py":
        raise UsageError(f"{file} must end in .py")
    if not file.parent.is_dir():
        raise UsageError(f"{file}: there is no folder {str(file.parent)!r}; make it first")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(EXAMPLE.replace("{file}", str(file)))
    except FileExistsError:
        raise UsageError(f"{file} exists already; name another file, or remove it") from None
    print(f"{file} is written; race it with\n\n    thalweg race {file}\n")
    return 0
