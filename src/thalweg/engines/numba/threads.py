"""Run a compiled kernel on several threads at once.

The kernel takes its chunks from a shared counter, so any number of threads may run it. Best are
those of the OpenMP runtime that is already in the process (torch's): they are awake between
torch's own parallel regions, and two pools would fight for the cores. Elsewhere a small pool of
Python threads serves, the interpreter's lock released while they run.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from .native import Kernel

Team = Callable[[int, int, int, int], None]


class _Helpers:
    """The threads of this process that help; a forked child starts without its parent's.

    Attributes:
        forked: whether this process is a fork of one that ran Python; OpenMP would wait for ever
            in it for threads that only the parent has, so such a process runs on its own thread.
        team: GOMP_parallel of the OpenMP runtime, if torch has loaded one.
        searched: whether it has been looked for since torch was there.
        pool: Python's threads, where there is no team.
    """

    def __init__(self, forked: bool = False) -> None:
        self.forked, self.searched = forked, False
        self.team: Team | None = None
        self.pool: ThreadPoolExecutor | None = None
        self.lock = threading.Lock()

    def find(self) -> Team | None:
        """The OpenMP team; None if there is none."""
        if not self.searched and "torch" in sys.modules:
            with self.lock:
                if not self.searched:
                    self.team = _gomp_parallel()
                    self.searched = True
        return self.team

    def executor(self) -> ThreadPoolExecutor:
        """Python's threads."""
        with self.lock:
            if self.pool is None:
                self.pool = ThreadPoolExecutor(os.cpu_count(), "thalweg")
            return self.pool


_helpers = _Helpers()


def run(kernel: Kernel, launch: int, threads: int) -> None:
    """Run a kernel over a launch on this many threads and wait for all of them.

    Args:
        kernel: the compiled kernel.
        launch: the address of the launch's header.
        threads: how many, the calling one included; a forked child always gets 1.
    """
    helpers = _helpers
    if threads <= 1 or helpers.forked:
        kernel.call(launch)
    elif team := helpers.find():
        team(kernel.address, launch, threads, 0)
    else:
        pool = helpers.executor()
        others = [pool.submit(kernel.call, launch) for _ in range(threads - 1)]
        try:
            kernel.call(launch)
        finally:
            wait(others)  # they read the caller's memory


def _gomp_parallel() -> Team | None:
    """GOMP_parallel of the OpenMP runtime in this process, torch's own before any other's."""
    if not sys.platform.startswith("linux"):
        return None
    maps = Path("/proc/self/maps").read_text().splitlines()
    loaded = {line.split(maxsplit=5)[5] for line in maps if "libgomp" in line}
    for path in sorted(loaded, key=lambda p: ("/torch" not in p, p)):
        try:
            team = ctypes.CDLL(path).GOMP_parallel
        except (OSError, AttributeError):
            continue
        team.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        team.restype = None
        return team
    return None


def _forked() -> None:
    global _helpers
    _helpers = _Helpers(forked=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
