"""Ctrl-C and termination, noted and acted on between two steps."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Interrupt:
    """Whether the user, or the system, has asked the training to stop."""

    def __init__(self) -> None:
        self.noted = False

    def _note(self, _number: int, _frame: Any) -> None:
        if self.noted:  # asked twice: stop at once
            raise KeyboardInterrupt
        self.noted = True


@contextlib.contextmanager
def interrupt_noted(enabled: bool = True) -> Iterator[Interrupt]:
    """A block in which the first SIGINT or SIGTERM is only noted; the second raises ``KeyboardInterrupt``.

    Args:
        enabled: off, or outside the main thread, signals act as before.
    """
    interrupt = Interrupt()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupt._note) for number in numbers]
    try:
        yield interrupt
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
