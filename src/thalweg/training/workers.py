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
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from ..rules.core import Rule
from ..tasks import Task
from . import FILE
from .devices import thread_count
from .groups import complete
from .runs import Regime, Result, Run
from .train import Progress

Given = Future[list[Result]]

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
    """This process and others, of one thread each, that train groups of runs.

    The others start when there is work for them, and this one does not wait for that. Use it in a
    `with` statement, which ends them; where that is left by an error, at once.

    Args:
        task: what they train.
        regime: how.
        processes: how many, with this one.
        together: how many runs each trains as lanes at once.
    """

    def __init__(self, task: Task, regime: Regime, processes: int, together: int = 1) -> None:
        self.task, self.regime = task, regime
        self.others, self.together = processes - 1, together
        self.pool: ProcessPoolExecutor | None = None
        self.children: set[BaseProcess] = set()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, *args: object) -> None:
        if kind is not None:
            for child in self.children:
                child.terminate()
        self.end()

    def train(
        self, groups: Sequence[Sequence[Run]], *, test: bool, progress: Progress | None
    ) -> Iterator[tuple[Sequence[Run], list[Result]]]:
        """Train groups and yield each when it is finished.

        Where a process dies, which is said in a warning, this one trains what is left.

        Args:
            groups: one after the other goes to whichever process is free.
            test: measure the test set too.
            progress: called now and then with the number of run-steps that were done.
        """
        shift = _Shift(self, groups, test, progress or (lambda run_steps: None))
        shift.look()
        while shift.left or shift.given:
            if shift.left:
                group = shift.left.pop()
                with thread_count(1):
                    results = complete(
                        self.task, group, self.regime, self.together, test=test,
                        progress=shift.look,
                    )  # fmt: skip
                yield group, results
            else:
                wait(shift.given, _TICK, FIRST_COMPLETED)
            shift.look()
            yield from shift.finished()

    def give(self, group: Sequence[Run], test: bool, homes: Mapping[str, str]) -> Given:
        """Have another process train a group.

        Raises:
            BrokenProcessPool: one of them has died.
        """
        pool = self.pool or self._begin(homes)
        before = set(multiprocessing.active_children()) - self.children
        with _uninterrupted():  # work that finds no process idle starts one
            given = pool.submit(_train, homes, pickle.dumps(group), test)
        self.children = set(multiprocessing.active_children()) - before
        return given

    def done(self) -> int:
        """The run-steps that the others have done since they started."""
        return 0 if self.pool is None else int(self._done.value)

    def end(self) -> None:
        """End the others; they start again when there is work for them."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
        self.pool, self.children = None, set()

    def _begin(self, homes: Mapping[str, str]) -> ProcessPoolExecutor:
        # A fork would inherit torch's dead threads.
        context = multiprocessing.get_context("spawn")
        self._done = context.Value("q", 0)
        # Plain pickle copies tensors; torch's own way needs room in /dev/shm.
        freight = pickle.dumps((self.task, self.regime, self.together))
        self.pool = ProcessPoolExecutor(
            self.others, context, initializer=_begin, initargs=(homes, freight, self._done)
        )
        return self.pool


class _Shift:
    """Groups that a crew is about to train, and who has which.

    Args:
        crew: who trains.
        groups: all of them.
        test: measure the test set too.
        told: called with the number of run-steps that were done.

    Attributes:
        left: what nobody has begun.
        given: what other processes have.
    """

    def __init__(
        self, crew: Crew, groups: Sequence[Sequence[Run]], test: bool, told: Progress
    ) -> None:
        self.crew, self.test, self.told = crew, test, told
        self.left: deque[Sequence[Run]] = deque(groups)
        self.given: dict[Given, Sequence[Run]] = {}
        self.homes = _homes(crew.task, groups)
        self.seen = self.known = crew.done()  # run-steps of the others: told, and of what is done
        self.whole = True

    def look(self, run_steps: int = 0) -> None:
        """Give idle processes work, and tell how far all of them have come.

        Args:
            run_steps: those that this process has just done.
        """
        idle = self.crew.others - sum(not future.done() for future in self.given)
        while self.whole and self.left and idle > 0:
            group = self.left.popleft()
            try:
                self.given[self.crew.give(group, self.test, self.homes)] = group
            except BrokenProcessPool:
                self.left.appendleft(group)
                self.whole = False
            idle -= 1
        done = self.crew.done()
        self.told(run_steps + done - self.seen)
        self.seen = done

    def finished(self) -> Iterator[tuple[Sequence[Run], list[Result]]]:
        """What other processes have finished since."""
        for future in [future for future in self.given if future.done()]:
            group = self.given.pop(future)
            try:
                results = future.result()
            except BrokenProcessPool:
                self.left.append(group)
                self.whole = False
                continue
            self.known += sum(self._steps(run) for run in group)
            yield group, results
        if not self.whole and not self.given and self.crew.pool is not None:
            self.told(self.known - self.seen)  # what is trained again is not counted twice
            self.crew.end()
            warnings.warn(
                "a worker process ended early; the runs that are left are trained without it",
                RuntimeWarning,
                stacklevel=2,
            )
            self.seen = self.known = 0

    def _steps(self, run: Run) -> int:
        return self.crew.regime.under(run.recipe).steps(len(self.crew.task.train[0]))


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
