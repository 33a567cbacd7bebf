"""The program: `thalweg`, and `python -m thalweg`. Ctrl-C is answered from its first moment on."""

import os
import sys

from . import interrupts


def main() -> int:
    """Run the command line and return the exit code."""
    try:
        interrupts.listen()
        from .cli import main as run

        code = run()
        if code and interrupts.heard():  # whose error a library may have made another of
            code = 130
    except KeyboardInterrupt:  # while Python's modules were read
        code = 130
    except Exception:
        if not interrupts.heard():
            raise
        code = 130  # a module that was being read made another error of the interrupt
    if code == 130:
        interrupts.wait_until_answered()
        # Nothing is left to do, and to take torch apart takes seconds.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(code)
    return code


if __name__ == "__main__":  # a spawned worker imports this module too
    sys.exit(main())
