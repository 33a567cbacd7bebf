"""The program: `thalweg`, and `python -m thalweg`. Ctrl-C is answered from its first moment on."""

import os
import signal
import sys
import threading

_ANSWER = b"\nthalweg: interrupted, ending; Ctrl-C again ends at once\n"
_SHOW_CURSOR = b"\x1b[?25h"


def main() -> int:
    """Run the command line and return the exit code."""
    try:
        _answer_interrupts()
        from .cli import main as run

        code = run()
    except KeyboardInterrupt:  # while Python's modules were read
        code = 130
    if code == 130:
        # Nothing is left to do, and to take torch apart takes seconds.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(code)
    return code


def _answer_interrupts() -> None:
    """Have a thread answer Ctrl-C, also while the main one computes; the second one ends all.

    The main thread hears of a signal between two instructions of Python's, which may be long after:
    a compiled function, or a library that is being loaded, comes first. What is being trained in
    other processes ends when this one is gone.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # a shell ignores it for what runs in the background
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(reading,), daemon=True, name="interrupts").start()


def _listen(reading: int) -> None:
    """Answer the first interrupt, and end the process with the second."""
    heard = 0
    while True:
        heard += os.read(reading, 1)[0] == signal.SIGINT
        if heard == 1:
            _say(_ANSWER)
        elif heard > 1:
            _say(_SHOW_CURSOR if os.isatty(2) else b"")
            os._exit(130)


def _say(text: bytes) -> None:
    try:
        os.write(2, text)
    except OSError:
        return  # nobody reads


if __name__ == "__main__":  # a spawned worker imports this module too
    sys.exit(main())
