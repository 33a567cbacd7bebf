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
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from ..rules.core import Rule
from ..tasks import Task
from . import FILE
from .groups import complete
from .runs import Regime, Result, Run
from .train import Progress

_TICK = 0.2  # seconds between two looks at how far they are


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


class Crew:
    """Processes of one thread each that train groups of runs, started when there is work for them.

    Use it in a `with` statement, which ends them; where that is left by an error, at once.

    Args:
        task: what they train.
        regime: how.
        processes: how many.
        together: how many runs each trains as lanes at once.
    """

    def __init__(self, task: Task, regime: Regime, processes: int, together: int = 1) -> None:
        self.task, self.regime = task, regime
        self.processes, self.together = processes, together
        self.pool: ProcessPoolExecutor | None = None
        self.children: set[BaseProcess] = set()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, *args: object) -> None:
        if kind is not None:
            for child in self.children:
                child.terminate()
        self._end()

    def _end(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
        self.pool, self.children = None, set()

    def train(
        self, groups: Sequence[Sequence[Run]], *, test: bool, progress: Progress | None
    ) -> Iterator[tuple[Sequence[Run], list[Result]]]:
        """Train groups and yield each when it is finished.

        Where a process dies, which is said in a warning, the groups that are left are not yielded.

        Args:
            groups: one after the other goes to whichever process is free.
            test: measure the test set too.
            progress: called now and then with the number of run-steps that were done.
        """
        homes, told = _homes(self.task, groups), progress or (lambda run_steps: None)
        finished = 0
        try:
            pool = self.pool or self._begin(homes)
            seen = begun = self.done.value
            others = set(multiprocessing.active_children()) - self.children
            with _uninterrupted():  # work that finds no process idle starts one
                work = {
                    pool.submit(_train, homes, pickle.dumps(group), test): group for group in groups
                }
            self.children = set(multiprocessing.active_children()) - others
            while work:
                ready, _ = wait(work, _TICK, FIRST_COMPLETED)
                counted = self.done.value
                told(counted - seen)
                seen = counted
                for future in ready:
                    group, results = work.pop(future), future.result()
                    finished += sum(self._steps(run) for run in group)
                    yield group, results
        except BrokenProcessPool:
            told(finished - (seen - begun))
            self._end()
            warnings.warn(
                "a worker process ended early; the runs that are left are trained without it",
                RuntimeWarning,
                stacklevel=2,
            )

    def _steps(self, run: Run) -> int:
        return self.regime.under(run.recipe).steps(len(self.task.train[0]))

    def _begin(self, homes: Mapping[str, str]) -> ProcessPoolExecutor:
        # A fork would inherit torch's dead threads.
        context = multiprocessing.get_context("spawn")
        self.done = context.Value("q", 0)
        # Plain pickle copies tensors; torch's own way needs room in /dev/shm.
        freight = pickle.dumps((self.task, self.regime, self.together))
        self.pool = ProcessPoolExecutor(
            self.processes, context, initializer=_begin, initargs=(homes, freight, self.done)
        )
        return self.pool


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


_given: tuple[Task, Regime, int]  # in a worker: what all its groups share
_done: Any  # in a worker: the run-steps that all of them have done


def _begin(homes: Mapping[str, str], freight: bytes, done: Any) -> None:
    """Make this process a worker."""
    global _given, _done
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _load(homes)
    _given, _done = pickle.loads(freight), done


def _load(homes: Mapping[str, str]) -> None:
    """Load the files that have no name to import them by."""
    for name, file in homes.items():
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, file)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _train(homes: Mapping[str, str], freight: bytes, test: bool) -> list[Result]:
    task, regime, together = _given
    _load(homes)
    return complete(task, pickle.loads(freight), regime, together, test=test, progress=_count)


def _count(run_steps: int) -> None:
    with _done.get_lock():
        _done.value += run_steps
