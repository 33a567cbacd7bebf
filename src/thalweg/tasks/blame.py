"""Where in a person's own code something went wrong."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_OURS = Path(__file__).parents[1]
_INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]


def told(error: BaseException) -> str:
    """The error in one line that begins with the person's own file and line, if it has one."""
    text = str(error).strip().partition("\n")[0] or "no message"
    said = f"{type(error).__name__}: {text}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _own(frame.filename)]
    if not own:
        return said
    code = f" (`{own[-1].line}`)" if own[-1].line else ""
    return f"{own[-1].filename}:{own[-1].lineno}: {said}{code}"


def _own(file: str) -> bool:
    if file.startswith("<frozen"):
        return False
    path = Path(file)
    return not any(path.is_relative_to(folder) for folder in (_OURS, *_INSTALLED))
