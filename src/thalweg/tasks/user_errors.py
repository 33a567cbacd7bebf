"""Where in a person's own code something went wrong."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from pathlib import Path

from ..errors import UsageError

_OURS = Path(__file__).parents[1]
_INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]


def describe_error(error: BaseException, maker: object = None) -> str:
    """The error in one line that begins with the person's own file and line.

    Args:
        error: what was raised.
        maker: a function or class that is named instead where no line of the person's own was
            running, as in a model put together of torch's layers.
    """
    text = str(error).strip().partition("\n")[0] or "no message"
    said = text if isinstance(error, UsageError) else f"{type(error).__name__}: {text}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if own(frame.filename)]
    # What Python writes itself, as a dataclass's constructor, has no line to show.
    theirs = [frame for frame in theirs if frame.line] or theirs
    if not theirs:
        home = _home(maker)
        return f"{home}: {said}" if home else said
    code = f" (`{theirs[-1].line}`)" if theirs[-1].line else ""
    return f"{theirs[-1].filename}:{theirs[-1].lineno}: {said}{code}"


def _home(maker: object) -> str:
    """File and first line of a function or class of the person's own."""
    try:
        file = inspect.getsourcefile(maker)  # type: ignore[arg-type]
        line = inspect.getsourcelines(maker)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
    return f"{file}:{line}" if file and own(file) else ""


def own(file: str) -> bool:
    """Whether a file is of the person's own: neither ours, nor Python's, nor installed."""
    if file.startswith("<frozen"):
        return False
    path = Path(file)
    return not any(path.is_relative_to(folder) for folder in (_OURS, *_INSTALLED))
