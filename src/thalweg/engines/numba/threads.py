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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

Entry = Callable[[int], None]
Team = Callable[[int, int, int, int], None]

_state: dict[str, object] = {}


def run(function: Entry, address: int, launch: int, threads: int) -> None:
    """Run `function(launch)`, compiled at `address`, on this many threads and wait for all.

    Args:
        function: the kernel, to be called by a single thread.
        address: the same kernel's machine code, for the OpenMP runtime.
        launch: the address of the launch's header.
        threads: how many; a forked child always gets 1, since the parent's threads are not there.
    """
    if threads <= 1 or "forked" in _state:
        function(launch)
        return
    team = _state.get("team") or _find_team()
    if team is not None:
        team(address, launch, threads, 0)  # type: ignore[operator]
        return
    pool = _state.setdefault("pool", ThreadPoolExecutor(os.cpu_count(), "thalweg"))
    others = [pool.submit(function, launch) for _ in range(threads - 1)]  # type: ignore[attr-defined]
    function(launch)
    for other in others:
        other.result()


def _find_team() -> object:
    """GOMP_parallel of the OpenMP runtime that torch has loaded, if there is one."""
    if "torch" not in sys.modules or not sys.platform.startswith("linux"):
        return None
    maps = Path("/proc/self/maps").read_text().splitlines()
    loaded = {line.split(maxsplit=5)[5] for line in maps if "libgomp" in line}
    for path in sorted(loaded, key=lambda p: "/torch/" not in p):
        team = ctypes.CDLL(path).GOMP_parallel
        team.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        team.restype = None
        _state["team"] = team
        return team
    return None


def _forked() -> None:
    _state.clear()
    _state["forked"] = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
