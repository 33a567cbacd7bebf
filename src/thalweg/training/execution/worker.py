"""A worker process: it trains the groups that it is sent.

It never imports a person's script: their code arrives by value.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from ...errors import ThalwegError, UsageError
from ...tasks.user_errors import describe_error
from ..context import TrainingContext, count_nothing
from ..lane_warnings import ignore_lane_warnings
from ..runs import Method, Run
from .channel import encode, read
from .recovery import complete, isolated
from .transport import apply_torch_settings, pack, torch_settings, unpack

_EVERY = 0.1  # seconds between two reports of progress
_REHEARSED = 2  # steps that are taken before any is timed
_WATCH = 1.0  # seconds between two looks at whether the parent is still there


def greet(context: TrainingContext) -> bytes:
    """The first message that a worker gets: what all its groups have in common.

    Raises:
        UsageError: the task cannot be sent to another process.
    """
    shared = replace(context, progress=count_nothing, records=None)
    return encode(("context", pack((torch_settings(), shared))))


def main(descriptor: int, parent: int) -> None:
    """Train groups until the parent ends this process or is gone.

    Args:
        descriptor: of the socket to the parent.
        parent: its process number.
    """
    ignore_lane_warnings()
    with suppress(OSError):
        os.dup2(2, 1)  # what a model prints is no result of the race
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    stream = socket.socket(fileno=descriptor)
    stream.set_inheritable(False)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(stream, parent, inbox), daemon=True).start()
    worker = _Worker(stream)
    while True:
        kind, *content = inbox.get()
        try:
            worker.handlers[kind](*content)
        except OSError:  # the parent is gone; `_listen` ends this process
            time.sleep(2 * _WATCH)


def _listen(stream: socket.socket, parent: int, inbox: queue.SimpleQueue[Any]) -> None:
    """Pass messages on, and end this process and its children once the parent is gone."""
    try:
        while os.getppid() == parent:
            if select.select([stream], [], [], _WATCH)[0]:
                inbox.put(read(stream))
    except (EOFError, OSError):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class _Worker:
    """Trains groups, and reports over a socket how far it is.

    Args:
        stream: to the parent.
    """

    def __init__(self, stream: socket.socket) -> None:
        self.stream, self.process = stream, os.getpid()
        self.context: TrainingContext
        self.methods: bytes | Sequence[Method] = ()
        self.handlers: dict[str, Callable[..., None]] = {
            "context": self.prepare,
            "methods": self.learn,
            "train": self.train,
            "rehearse": self.rehearse,
            "burst": self.burst,
        }
        self.steps: Iterator[int] = iter(())
        self.lanes = 0
        self.unreported, self.reported_at = 0, 0.0

    def prepare(self, packed: bytes) -> None:
        """Unpack what all groups have in common; end if that cannot be done here."""
        try:
            settings, self.context = unpack(packed)
            apply_torch_settings(settings)
        except Exception as error:
            self._send("unfit", describe_error(error))
            sys.exit(1)
        self._send("ready")

    def learn(self, packed: bytes) -> None:
        """Keep the methods that the next groups name by their numbers."""
        self.methods = packed

    def train(
        self, test: bool, doomed: Mapping[int, str] | None, packed: Sequence[tuple[Any, ...]]
    ) -> None:
        """Train a group and send its results.

        Args:
            test: measure the test set too.
            doomed: None to train the runs together; else one after the other in lanes of their
                own, without those that have failed: why, by their numbers.
            packed: the runs, their methods by number.
        """
        context = replace(self.context, test=test, progress=self._count)
        with runtime_warnings() as said:
            try:
                runs = self._runs(packed)
                if doomed is None:
                    results = complete(context, runs)
                else:
                    results = isolated(context, runs, doomed, lambda k: self._send("at", k))
            except Exception as error:
                self._send("failed", _sendable(error), list(said))
                return
        self._report()
        self._send("done", results, list(said))

    def rehearse(self, packed: bytes) -> None:
        """Take the first steps of runs that are only timed.

        Args:
            packed: the regime, and the runs, which train as lanes of one model.
        """
        try:
            regime, runs = unpack(packed)
            self.lanes = len(runs)
            self.steps = iter(replace(self.context, regime=regime, test=False).session(runs))
            for _ in range(_REHEARSED):
                next(self.steps)
        except Exception as error:
            self._send("failed", _sendable(error), [])
            return
        self._send("rehearsed")

    def burst(self, seconds: float) -> None:
        """Take steps for so long, and send how many run-steps that is per second."""
        try:
            start, count, passed = time.perf_counter(), 0, 0.0
            while passed < seconds:
                next(self.steps)
                count, passed = count + self.lanes, time.perf_counter() - start
        except Exception as error:
            self._send("failed", _sendable(error), [])
            return
        self._send("burst", count / passed)

    def _runs(self, packed: Sequence[tuple[Any, ...]]) -> list[Run]:
        if isinstance(self.methods, bytes):
            self.methods = unpack(self.methods)
        return [Run(self.methods[number], *rest) for number, *rest in packed]

    def _count(self, run_steps: int) -> None:
        self.unreported += run_steps
        if time.monotonic() - self.reported_at > _EVERY:
            self._report()

    def _report(self) -> None:
        if self.unreported:
            self._send("progress", self.unreported)
        self.unreported, self.reported_at = 0, time.monotonic()

    def _send(self, *message: object) -> None:
        if os.getpid() != self.process:  # a model has forked: its child has no say here
            os._exit(0)
        self.stream.sendall(encode(message))


@contextmanager
def runtime_warnings() -> Iterator[dict[str, None]]:
    """Note the texts of RuntimeWarnings, each once, to repeat them in the main process."""
    said: dict[str, None] = {}
    show = warnings.showwarning

    def note(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, RuntimeWarning):
            said[str(message)] = None
        else:
            show(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        warnings.showwarning = note
        yield said


def repeat_warnings(said: Sequence[str]) -> None:
    """Give the warnings of another process in this one."""
    for text in said:
        warnings.warn(text, RuntimeWarning, stacklevel=2)


def _sendable(error: Exception) -> Exception:
    """The error as one of this package's own, which any process can read."""
    if isinstance(error, UsageError | ThalwegError):
        return type(error)(*error.args)
    return ThalwegError(f"a group of runs failed: {describe_error(error)}")
