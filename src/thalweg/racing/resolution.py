"""How finely the validation and test samples can tell: the metric's interval over samples.

The seeds of a race say how much a score changes from one training to the next on the same samples.
They cannot say how much it would change on other samples of the same kind. Where that interval is
wider than the differences between optimizers, those may be differences on these samples alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from ..tasks import Task, losses
from ..tasks.trees import Tree, count, joined, rows
from ..training.devices import thread_count
from ..training.runs import Run
from ..training.train import Session
from .outcome import Outcome
from .spec import Spec
from .statistics import Interval

PARTS = ("validation", "test")
_LEVEL = 0.95
_RESAMPLES = 400
_LOOKED_AT = 2_000  # samples that are resampled; of more, the interval is that much narrower
_TOGETHER = 250  # samples in one forward pass
_SEED = 0


def wilson(share: float, count: int) -> Interval:
    """Wilson's interval of a proportion.

    Args:
        share: that was observed.
        count: of how many.

    Source: Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference,
    JASA 22.
    """
    z = NormalDist().inv_cdf((1 + _LEVEL) / 2)
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def measure(
    spec: Spec,
    final: Mapping[str, Sequence[Outcome]],
    runs: Mapping[str, Sequence[Run]],
    speeds: Mapping[str, float],
    patience: float,
    threads: int,
    device: torch.device,
) -> dict[str, Interval | None]:
    """The interval of the metric over samples, for the method that did best on validation.

    An accuracy is a proportion of samples. For another metric one of the method's judged runs is
    trained once more, and the samples are resampled.

    Args:
        spec: the race.
        final: the judged outcomes of every method.
        runs: their runs, in the same order.
        speeds: milliseconds per step of each.
        patience: seconds that the training of one more run may take.
        threads: how many may be used.
        device: where the run is trained.

    Returns:
        An interval for "validation" and "test"; None where nothing trained, the training would
        take too long, or the metric of a resample is never finite.
    """
    task, sign = spec.task, 1.0 if spec.task.metric.higher_is_better else -1.0
    trained = {
        name: [k for k, o in enumerate(own) if not o.diverged] for name, own in final.items()
    }
    able = [name for name, sound in trained.items() if sound]
    if not able:
        return dict.fromkeys(PARTS)
    best = max(able, key=lambda n: sign * float(np.mean([o.validation for o in final[n]])))
    if task.metric.function in (losses.accuracy, losses.binary_accuracy):
        scores = {
            part: float(np.mean([getattr(final[best][k], part) for k in trained[best]]))
            for part in PARTS
        }
        counts = {part: getattr(task, part)[1].numel() for part in PARTS}
        return {part: wilson(scores[part], counts[part]) for part in PARTS}
    again = runs[best][trained[best][0]]
    if spec.steps_of(again.recipe) * speeds[best] / 1e3 > patience:
        return dict.fromkeys(PARTS)
    with thread_count(threads):
        session = Session(task, [again], spec.regime, device=device)
        session.advance()
        with session.stepper.evaluating():
            return {part: resampled(task, session, part) for part in PARTS}


def resampled(task: Task, session: Session, part: str) -> Interval | None:
    """The percentile interval of a trained model's metric over resampled samples.

    Args:
        task: what was trained.
        session: of one run that has come to its end.
        part: "validation" or "test".

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    x, y = (rows(tree, slice(_LOOKED_AT)) for tree in getattr(session.data, part))
    every, looked_at = count(getattr(task, part)[0]), count(x)
    score = _scorer(task, session, x, y)
    draw = np.random.default_rng(_SEED)
    found = []
    for _ in range(_RESAMPLES):
        value = float(
            score(torch.as_tensor(draw.integers(0, looked_at, looked_at), device=session.device))
        )
        if math.isfinite(value):
            found.append(value)
    if not found:
        return None
    mean, narrower = float(np.mean(found)), math.sqrt(looked_at / every)
    ends = np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    low, high = (mean + narrower * (float(end) - mean) for end in ends)
    return Interval(mean, low, high)


def _scorer(task: Task, session: Session, x: Tree, y: Tree) -> Callable[[Tensor], Tensor]:
    """The metric of the samples with these numbers."""
    model, by_loss = session.population.model.eval(), task.metric.function is losses.own_loss
    with torch.no_grad():
        if task.step is not None and by_loss:
            each = torch.stack(
                [
                    task.objective(model, rows(x, slice(k, k + 1)), rows(y, slice(k, k + 1)))
                    for k in range(count(x))
                ]
            )
            return lambda chosen: each[chosen].mean()
        pieces = [
            task.outputs(model, rows(x, slice(k, k + _TOGETHER)))
            for k in range(0, count(x), _TOGETHER)
        ]
    outputs = joined(pieces)
    function = task.loss if by_loss else task.metric.function
    return lambda chosen: task.judged(function, rows(outputs, chosen), rows(y, chosen))
