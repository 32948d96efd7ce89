"""Ctrl-C and termination, noted and acted on between two steps."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
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
def interrupt_noted(*numbers: signal.Signals) -> Iterator[Interrupt]:
    """A block in which the first SIGINT or SIGTERM is only noted; the second raises ``KeyboardInterrupt``.

    Outside the main thread, signals act as before.

    Args:
        numbers: the signals; default: both.
    """
    interrupt = Interrupt()
    with _handled(interrupt._note, numbers or (signal.SIGINT, signal.SIGTERM)):
        yield interrupt


@contextlib.contextmanager
def interrupt_raised() -> Iterator[None]:
    """A block in which SIGINT and SIGTERM raise ``KeyboardInterrupt``, in a background job too, whose shell
    has SIGINT ignored."""
    with _handled(signal.default_int_handler, (signal.SIGINT, signal.SIGTERM)):
        yield


@contextlib.contextmanager
def _handled(handler: Callable[[int, Any], None], numbers: Sequence[int]) -> Iterator[None]:
    """A block in which ``handler`` gets the signals ``numbers``; not outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler_before in zip(numbers, before, strict=True):
            signal.signal(number, handler_before)
