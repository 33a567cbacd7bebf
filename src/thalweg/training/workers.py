"""Groups of runs trained in processes of one thread each."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import torch

from ..rules.core import Rule
from ..tasks import Task
from . import FILE
from .groups import complete
from .runs import Regime, Result, Run


def reachable(task: Task, runs: Sequence[Run]) -> bool:
    """Whether a new process can be sent the task and the rules.

    Not if they cannot be pickled; nor if they come from a prompt or a notebook, where another
    process does not find them; nor from a script that would start its race again on being
    imported.
    """
    try:
        freight = pickle.dumps((task, list(runs)))
    except Exception:  # whatever the objects of the caller raise
        return False
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:
        return True  # python -m
    file = getattr(main, "__file__", None)
    if file is None or not Path(file).is_file():
        return b"__main__" not in freight
    return "__name__" in Path(file).read_text(encoding="utf-8", errors="replace")


def spread(
    task: Task, groups: Sequence[Sequence[Run]], regime: Regime, processes: int, *, test: bool
) -> Iterator[tuple[Sequence[Run], list[Result]]]:
    """Train groups in processes and yield each when it is finished.

    Where a process dies, which is said in a warning, the groups that are left are not yielded.

    Args:
        task: what to train.
        groups: one after the other goes to whichever process is free.
        regime: how.
        processes: how many.
        test: measure the test set too.
    """
    before = set(multiprocessing.active_children())
    # A fork would inherit torch's dead threads.
    pool = ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        # Plain pickle copies tensors; torch's own way needs room in /dev/shm.
        initargs=(_homes(task, groups), pickle.dumps((task, regime, test))),
    )
    try:
        with _uninterrupted():
            work = {pool.submit(_train, group): group for group in groups}
        for done in as_completed(work):
            yield work[done], done.result()
    except BrokenProcessPool:
        warnings.warn(
            "a worker process ended early; the runs that are left are trained one by one",
            RuntimeWarning,
            stacklevel=2,
        )
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C: their parent does, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _homes(task: Task, groups: Sequence[Sequence[Run]]) -> dict[str, str]:
    """The files of the rules and of the task whose modules cannot be found by their name."""
    rules = {run.method for group in groups for run in group if isinstance(run.method, Rule)}
    freight = pickle.dumps(task)
    # A pickle names the module of every function and class that it needs.
    own = {name for name in sys.modules if name.startswith(FILE) and name.encode() in freight}
    names = {rule.formula.__module__ for rule in rules} - {"__main__"} | own
    return {
        name: str(sys.modules[name].__file__)
        for name in sorted(names)
        if not importlib.machinery.PathFinder.find_spec(name.partition(".")[0])
        and getattr(sys.modules.get(name), "__file__", None)
    }


_given: tuple[Task, Regime, bool]  # in a worker: what all its groups share


def _begin(homes: Mapping[str, str], freight: bytes) -> None:
    """Make this process a worker."""
    global _given
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    for name, file in homes.items():
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    _given = pickle.loads(freight)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _train(group: Sequence[Run]) -> list[Result]:
    task, regime, test = _given
    return complete(task, group, regime, 1, test=test)
