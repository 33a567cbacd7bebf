"""Draw the pictures of docs/gallery.md: surfaces, an animation, and the loss of a network.

    python examples/gallery.py [FOLDER]

writes them to FOLDER, gallery if none is named.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import thalweg as tw
from thalweg import plotting, tasks
from thalweg.surfaces.figures import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 150
DPI = 70  # of the animation
METHODS = {
    "sgd": (tw.optim.SGD, 0.1),
    "rmsprop": (tw.optim.RMSprop, 3e-3),
    "adam": (tw.optim.Adam, 3e-3),
}


def surfaces() -> dict[str, Figure]:
    """File name -> paths on surfaces, each rule at the best of equally many learning rates."""
    valley = tw.trajectory(["sgd", "momentum", "adam"], "rosenbrock", steps=80)
    basins = tw.trajectory(["sgd", "momentum", "rmsprop", "adam"], "himmelblau", steps=60)
    ravine = tw.trajectory(["sgd", "momentum", "adam"], "bowl", (-7, 2), 40)
    return {
        "valley": figure(valley, three_d=True),
        "two-surfaces": figure(ravine, basins),
    }


def film() -> Figure:
    """What the animation shows: a ravine, at learning rates that differ in character."""
    rates = {"sgd": 0.95, "momentum": 0.1, "adam": 0.3}
    ravine = tw.trajectory(["sgd", "momentum", "adam"], "bowl", (-7, 2), 40, lr=rates)
    drawn = plotting.new_figure(figsize=(4.6, 3.2), layout="constrained")
    ravine.plot(drawn.add_subplot()).get_legend().remove()
    return drawn


def network() -> dict[str, Figure]:
    """File name -> the loss of a small network on handwritten digits."""
    task = tasks.find("digits-mlp")
    inputs, targets = task.train
    paths = {}
    for name, (optimizer_class, lr) in METHODS.items():
        torch.manual_seed(0)  # all start from the same weights and see the same batches
        model = task.model()
        optimizer = optimizer_class(model.parameters(), lr=lr)
        paths[name] = tw.WeightPath(model)
        for step in range(1, STEPS + 1):
            batch = torch.randint(len(inputs), (64,))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
            if step % 5 == 0:
                paths[name].record(step)
    around = tw.landscape(model, "cross_entropy", task.train)
    between = tw.landscape(model, "cross_entropy", task.train, paths=paths)
    print(between)
    return {"around-the-weights": around.figure(), "training-paths": between.figure()}


def main(folder: Path) -> None:
    """Write all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in {**surfaces(), **network()}.items():
        print(plotting.save(drawn, folder / f"{name}.png"))
    print(plotting.save_film(film(), folder / "ravine.gif", dpi=DPI))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "gallery"))
