"""What a person calls to race: `race`, and what its arguments mean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from ..durations import seconds_of
from ..errors import UsageError
from ..records import check_folder
from ..report import pages
from ..tasks import Task
from ..training import devices
from ..training.execution.ray import Cluster, connected
from ..training.lane_warnings import without_lane_warnings
from .estimate import Forecast, expected
from .inputs import spec_of
from .live import Live
from .options import Options, completed
from .progress import Progress, wanted
from .result import Race
from .run import Racing
from .signatures import documented
from .time_limit import Clock, TimedRacing
from .watcher import Log, Silence


@documented
def race(
    task: Task | str | nn.Module | Callable[[], nn.Module],
    X: Any = None,
    y: Any = None,
    **options: Unpack[Options],
) -> Race:
    """Find out which optimizer suits a task, at which settings, and how sure that is.

    Every optimizer tries the same number of configurations, which are learning rates on a log
    grid over its own range unless more is tuned; the search is continued until the best is inside
    what was tried. The best on validation data is trained again on fresh seeds that all share,
    and judged on test data once.

    Args:
        task: a task, or the name of a built-in one, or a model: a function or class that builds
            one, or an example, of which every run gets a copy: with its weights where it looks
            trained or has frozen parameters, else initialised anew.
        X, y: the inputs and targets that a model is trained on, in any form that `Task` takes; a
            fifth each is split off for validation and test.
        **options: as in `Options`.

    Returns:
        The finished race.

    Raises:
        UsageError: an argument cannot work.
        ThalwegError: the records cannot be read or written; what is finished is safe.
        KeyboardInterrupt: it was interrupted; the message says how many runs are kept.
    """
    chosen = completed(options)
    found = raced(task, X, y, chosen)
    if chosen["out"] is not None:
        page = Path(chosen["out"], "report.html")
        found.pages.append(found.report(page, overwrite=chosen["overwrite"]))
    return found


def raced(task: Any, X: Any, y: Any, chosen: Mapping[str, Any]) -> Race:
    """A finished race, whose report is not written yet.

    Args:
        task, X, y: as for `race`.
        chosen: all options, from `completed`.

    Raises:
        UsageError: an argument cannot work.
    """
    with _made(task, X, y, chosen) as racing:
        try:
            return racing.run()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(racing.kept()) from None


@documented
def forecast(
    task: Task | str | nn.Module | Callable[[], nn.Module],
    X: Any = None,
    y: Any = None,
    **options: Unpack[Options],
) -> Forecast:
    """What a race would take, if it began anew: runs, steps, time, memory. No file is written.

    A few steps are trained to measure how long they take.

    Args:
        task, X, y: as for `race`.
        **options: as in `Options`.

    Raises:
        UsageError: an argument cannot work.
    """
    # A forecast leaves nothing behind and tells nobody.
    alone = {"out": None, "ray": None, "callbacks": (), "live": False}
    with _made(task, X, y, {**completed(options), **alone}) as racing:
        first = racing.prepare()
        return expected(racing.spec, first, racing.plan)


@contextmanager
def _made(task: Any, X: Any, y: Any, chosen: Mapping[str, Any]) -> Iterator[Racing]:
    """The race that is meant, with its folder, cluster and progress.

    Args:
        task, X, y: as for `race`.
        chosen: all options, from `completed`.

    Raises:
        UsageError: an argument cannot work.
    """
    limit = chosen["time_limit"]
    clock = None if limit is None else Clock(seconds_of("time_limit", limit))
    spec = spec_of(task, X, y, chosen)
    folder = None if chosen["out"] is None else Path(chosen["out"])
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"out={folder} is a file; name a folder for the records")
        check_folder(folder, [spec.task.name], overwrite=chosen["overwrite"])
        pages.check(folder / "report.html", overwrite=chosen["overwrite"])
    cluster = Cluster(chosen["ray"]) if isinstance(chosen["ray"], str) else chosen["ray"]
    device = chosen["device"]
    place = devices.parse_device(device) if cluster is None else _on_cluster(cluster, device)
    if cluster is not None and cluster.shared and folder is None:
        raise UsageError("nodes that write the records themselves need out, a folder they all see")
    watcher, progress = chosen["watcher"], chosen["progress"]
    with without_lane_warnings(), connected(cluster), ExitStack() as showing:
        if watcher is None and (wanted() if progress is None else progress):
            watcher = showing.enter_context(Progress(sys.stderr))
        elif watcher is None:
            watcher = Silence() if progress is False else Log()
        if chosen["live"]:
            page = Live(watcher, folder, overwrite=chosen["overwrite"])
            watcher = showing.enter_context(page)
        callbacks = tuple(chosen["callbacks"])
        shared = (spec, folder, watcher, cluster, place, chosen["overwrite"], callbacks)
        yield Racing(*shared) if clock is None else TimedRacing(*shared, clock=clock)


def _on_cluster(cluster: Cluster, device: str | torch.device | None) -> torch.device:
    """Where the nodes train: what they are asked for decides."""
    given = devices.AUTO if device is None else str(device)
    if given not in (devices.AUTO, cluster.device.type):
        raise UsageError(
            f"device={given!r}, but every group asks the cluster for {cluster.gpus:g} GPUs; "
            "ask for more than 0 to train on them (gpus of the Cluster, --ray-gpus), or leave "
            "device out"
        )
    return cluster.device
