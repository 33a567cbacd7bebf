"""Ctrl-C, answered by a thread of its own: at once, also while the main one computes or imports."""

import os
import signal
import threading
from types import FrameType

_ANSWER = b"\nthalweg: interrupted, ending; Ctrl-C again ends at once\n"
_SHOW_CURSOR = b"\x1b[?25h"
_PATIENCE = 1.0  # seconds that a message waits for the answer to stand before it

_answered = threading.Event()
_listening = False
_heard = False


def listen() -> None:
    """Have a thread answer the first Ctrl-C, and end the process with the second.

    The main thread hears of a signal between two instructions of Python's, which may be long after:
    a compiled function, or a library that is being loaded, comes first. What is being trained in
    other processes ends when this one is gone.
    """
    global _listening
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # a shell ignores it for what runs in the background
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _listening = True
    signal.signal(signal.SIGINT, _interrupt)
    threading.Thread(target=_listen, args=(reading,), daemon=True, name="interrupts").start()


def heard() -> bool:
    """Whether Ctrl-C was pressed. A library that it reaches may raise any error."""
    return _heard


def wait_until_answered() -> None:
    """Let the answer stand before what else there is to say."""
    if _listening:
        _answered.wait(_PATIENCE)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _heard
    _heard = True
    signal.default_int_handler(number, frame)


def _listen(reading: int) -> None:
    count = 0
    while True:
        count += os.read(reading, 1)[0] == signal.SIGINT
        if count == 1:
            _say(_ANSWER)
            _answered.set()
        elif count > 1:
            _say(_SHOW_CURSOR if os.isatty(2) else b"")
            os._exit(130)


def _say(text: bytes) -> None:
    try:
        os.write(2, text)
    except OSError:
        return  # nobody reads
