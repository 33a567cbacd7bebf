"""Where runs train: on how much of the processor, or on a GPU."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..engines.registry import trouble_with_device
from ..errors import UsageError

CPU = torch.device("cpu")
AUTO = "auto"


def parse_device(device: str | torch.device | None) -> torch.device | None:
    """The device that is asked for, with its number; None where the fastest is to be taken.

    Args:
        device: cpu, cuda, cuda:1 and so on; None or "auto" for whichever is measured to be faster.

    Raises:
        UsageError: it is no device, or no run can train on it here.
    """
    if device is None or device == AUTO:
        return None
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise _refused(device, "is no device") from error
    if found.type not in ("cpu", "cuda"):
        raise _refused(device, "is not supported")
    if why := why_unusable(found):
        raise _refused(device, f"cannot be used: {why}")
    return _numbered(found)


def candidates(device: torch.device | None) -> tuple[list[torch.device], str]:
    """The devices to measure, and what keeps a GPU that is there from being one of them.

    Args:
        device: from `parse_device`.
    """
    if device is not None:
        return [device], ""
    if not torch.cuda.is_available():
        return [CPU], ""
    gpu = _numbered(torch.device("cuda"))
    why = why_unusable(gpu)
    return ([CPU], f"not on {gpu}: {why}") if why else ([CPU, gpu], "")


def why_unusable(device: torch.device) -> str:
    """What keeps runs from training on a device, if anything does."""
    if device.type == "cpu":
        return ""
    if not torch.cuda.is_available():
        return "torch sees no GPU here"
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        return f"there {'is' if count == 1 else 'are'} {count}, counted from cuda:0"
    return trouble_with_device(device)


def synchronize(device: torch.device) -> None:
    """Wait until all that was asked of a device is done."""
    if device.type != "cpu":
        torch.cuda.synchronize(device)


def release(device: torch.device) -> None:
    """Free the memory of objects that are not used any more."""
    gc.collect()  # a session that was left early is held by its own iterator
    if device.type != "cpu":
        torch.cuda.empty_cache()


def cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Let torch use so many threads for a while."""
    before = torch.get_num_threads()
    if threads == before:  # to set the same number changes more than the number
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _numbered(device: torch.device) -> torch.device:
    """The device with its number: what is written down must mean the same tomorrow."""
    if device.type == "cpu":
        return CPU
    return torch.device(
        "cuda", torch.cuda.current_device() if device.index is None else device.index
    )


def _refused(device: object, why: str) -> UsageError:
    return UsageError(
        f"device={str(device)!r} {why}; give cpu, the cuda or cuda:N of a GPU of compute "
        "capability 8.0 or newer (with triton, and a build of torch for it), or auto"
    )
