"""A few threads that help with kernels, which release Python's lock; they are started anew after a fork.

The calling thread works too, and waits only for ranges that a helper has begun: helpers that are held up, or
gone, cost time and never a result.
"""

import itertools
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

SERIAL = 1 << 15  # element-steps; less work is not worth waking a thread (a guess, not tuned)
RANGES = 4  # per thread, so that one that PyTorch's own threads hold up does less
_queues: dict[int, "queue.SimpleQueue[_Job]"] = {}


def _forget_helpers() -> None:
    _queues.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def split(run: Callable[[int, int], Any], total: int, block: int, work: int) -> None:
    """Call ``run(low, high)`` on ranges that together are ``range(total)``, in as many threads as PyTorch
    uses.

    Args:
        run: releases Python's lock; its ranges do not depend on each other.
        total: number of neurons.
        block: ranges start at multiples of it.
        work: element-steps in all; little work is done by the calling thread.
    """
    num_blocks = -(-total // block)
    num_threads = min(torch.get_num_threads(), num_blocks)
    if num_threads <= 1 or work < SERIAL:
        _flushing(run, 0, total)
        return
    num_ranges = min(num_blocks, RANGES * num_threads)
    edges = [num_blocks * part // num_ranges * block for part in range(num_ranges)] + [total]
    job = _Job(run, list(itertools.pairwise(edges)))
    for _ in range(num_threads - 1):
        _helpers(num_threads - 1).put(job)
    job.help()
    job.wait()


class _Job:
    """Ranges that several threads take one after the other."""

    def __init__(self, run: Callable[[int, int], Any], ranges: list[tuple[int, int]]):
        self.run, self.ranges = run, ranges
        self.next = itertools.count()  # its next() is atomic
        self.left = len(ranges)
        self.lock, self.done = threading.Lock(), threading.Event()
        self.error: BaseException | None = None

    def help(self) -> None:
        """Run ranges until none is left to take."""
        while (place := next(self.next)) < len(self.ranges):
            try:
                if self.error is None:
                    _flushing(self.run, *self.ranges[place])
            except BaseException as error:
                self.error = error
            with self.lock:
                self.left -= 1
                if not self.left:
                    self.done.set()

    def wait(self) -> None:
        """Wait for the ranges that others have begun, and raise what one of them raised."""
        self.done.wait()
        if self.error is not None:
            raise self.error


def _helpers(number: int) -> "queue.SimpleQueue[_Job]":
    """The queue that ``number`` threads work off."""
    if number not in _queues:
        jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        for _ in range(number):
            threading.Thread(target=_work, args=(jobs,), name="spikeloom", daemon=True).start()
        _queues[number] = jobs
    return _queues[number]


def _work(jobs: "queue.SimpleQueue[_Job]") -> None:
    while True:
        jobs.get().help()


def _flushing(run: Callable[[int, int], Any], low: int, high: int) -> None:
    """Run with numbers below 1.2e-38 (float32) taken as 0: fading potentials would cost 16 times the time."""
    already = float(np.float32(1e-38) * np.float32(0.1)) == 0.0
    torch.set_flush_denormal(True)
    try:
        run(low, high)
    finally:
        if not already:
            torch.set_flush_denormal(False)
