"""How much memory runs take, estimated before they are given any."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..tasks import Task, modes
from ..tasks.trees import Tree, count, nbytes, rows
from .devices import CPU
from .lane_forms import lane_forms

# Parameters, gradients, up to three states, and what a step needs in between.
_COPIES = 6
# The most bytes of these in all lanes together; more lanes make a processor no faster.
_PARAMETERS = 512 << 20
_SHARE = 0.5  # of the free memory may be used

_EVALUATED = 256 << 20  # bytes of activations at a time while a data set is evaluated
_FEWEST = 64  # samples at a time; with fewer, fewer lanes are evaluated at a time instead

# The largest block, in bytes, that glibc learns from when it is freed.
_LARGEST = (32 << 20) - (64 << 10)

_known: WeakKeyDictionary[Task, int] = WeakKeyDictionary()


def activations(task: Task) -> int:
    """Bytes that a training pass keeps for its gradient in lanes, per sample; at least one."""
    if task not in _known:
        model = task._build()
        modes.train(model, modes.still(model))
        x, y = (rows(tree, slice(2)) for tree in task.train)
        own = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}
        _known[task] = max(1, _kept(task, model, x, y, own) // count(x))
    return _known[task]


def _kept(task: Task, model: nn.Module, x: Tree, y: Tree, own: set[int]) -> int:
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            seen[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.random.fork_rng(devices=[]),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        lane_forms(training=True),
    ):
        try:
            loss = task.objective(model, x, y)
        except Exception:  # two samples may be too few for it; then only the inputs are known
            return 4 * (nbytes(x) + nbytes(y))
    del loss
    return sum(seen.values())


def models_that_fit(task: Task, batch_size: int | None = None, device: torch.device = CPU) -> int:
    """How many models of a task may be in training at once; at least one.

    Args:
        task: what is trained.
        batch_size: samples in a mini-batch; the task's own number by default.
        device: where.
    """
    each = model_bytes(task, batch_size)
    if device.type != "cpu":
        return max(1, int(_SHARE * free(device)) // each)
    return max(1, min(_PARAMETERS // _parameter_bytes(task), int(_SHARE * available()) // each))


def model_bytes(task: Task, batch_size: int | None = None) -> int:
    """Bytes that one model of a task takes while it trains.

    Args:
        task: what is trained.
        batch_size: samples in a mini-batch; the task's own number by default.
    """
    # Gradients of activations take as much again as the activations.
    return _parameter_bytes(task) + 2 * (batch_size or task.batch_size) * activations(task)


def _parameter_bytes(task: Task) -> int:
    """Bytes of the parameters, and of what a step keeps beside them."""
    width = torch.empty((), dtype=torch.get_default_dtype()).element_size()
    return width * _COPIES * task.parameters()


def available() -> int:
    """Bytes of memory that are free, also of what a container may have; else the machine's."""
    return min(_free(), _allowed())


def _free() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 4 << 30


def free(device: torch.device) -> int:
    """Bytes of a GPU's memory that are free, with what torch holds of it and does not use."""
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held


# Where Linux says how much memory a container may have, and how much its programs hold: in the
# second version of control groups and in the first. What files fill of it can be freed.
_LIMITS = (
    ("memory.max", "memory.stat", "anon"),
    ("memory/memory.limit_in_bytes", "memory/memory.stat", "total_rss"),
)


def _allowed(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that the container leaves, which `/proc/meminfo` does not know of; at least 0."""
    for limit, holding, name in _LIMITS:
        try:
            most = (root / limit).read_text(encoding="ascii").strip()
            held = dict(map(str.split, (root / holding).read_text(encoding="ascii").splitlines()))
        except OSError:
            continue
        if most != "max" and name in held:
            return max(0, int(most) - int(held[name]))
    return sys.maxsize


def evaluation_size(task: Task, most: int) -> tuple[int, int]:
    """Lanes and samples that are evaluated at a time.

    Args:
        task: what is evaluated.
        most: lanes at a time, where memory allows it.
    """
    each = activations(task)
    lanes = max(1, min(most, _EVALUATED // (_FEWEST * each)))
    return lanes, max(1, _EVALUATED // (lanes * each))


def raise_mmap_threshold() -> None:
    """Free one large block so that glibc raises its mmap threshold.

    Many lanes allocate and free megabytes at every step. Blocks above the threshold are returned to
    the system each time, and clearing fresh pages takes longer than the arithmetic on them. glibc
    raises the threshold to the size of the largest mapped block that was freed.
    """
    torch.empty(_LARGEST, dtype=torch.uint8)
