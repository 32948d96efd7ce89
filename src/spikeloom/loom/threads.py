"""Threads that run a compiled loop together: PyTorch's own OpenMP team where it can be had, else helpers.

Each thread calls the same function with the address of the same job, from which it takes ranges of neurons
until none is left (:mod:`spikeloom.loom.numba_job`). So helpers that are held up, or gone, cost time, never a
result. PyTorch's threads spin for some milliseconds after each of its operations; as a loop usually follows
one, other threads would have to share the cores with them.
"""

import contextlib
import ctypes
import os
import queue
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

_Job = tuple[Future[None], Callable[[int], Any], int]  # what a helper is to call, and with what
_queues: dict[int, "queue.SimpleQueue[_Job]"] = {}
_teams: list[Any] = []  # PyTorch's GOMP_parallel, or None, once it was looked for


def run(function: Callable[[int], Any], job: int, num_threads: int) -> None:
    """Call ``function(job)`` in ``num_threads`` threads, the calling one among them.

    Args:
        function: native, of type ``void(void*)``; it releases Python's lock.
        job: address of what it works on.
        num_threads: at most so many.
    """
    if num_threads <= 1:
        function(job)
    elif team := _openmp():
        team(function, job, num_threads, 0)
    else:
        helping: list[Future[None]] = [Future() for _ in range(num_threads - 1)]
        try:
            for one in helping:
                _helpers(num_threads - 1).put((one, function, job))
            function(job)
        finally:
            _leave(helping)


def _leave(helping: "list[Future[None]]") -> None:
    """Let nobody join any more, and wait for those who have.

    Ctrl-C has to wait, too: helpers write into memory that is freed after this.
    """
    try:
        for one in helping:
            if not one.cancel():
                one.result()
    except BaseException:
        _leave(helping)
        raise


def _helpers(number: int) -> "queue.SimpleQueue[_Job]":
    """The queue that ``number`` threads work off."""
    if number in _queues:
        return _queues[number]
    jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    if (first := _queues.setdefault(number, jobs)) is jobs:  # several threads may be here at once
        with contextlib.suppress(RuntimeError):  # the system allows no more threads
            for _ in range(number):
                threading.Thread(target=_work, args=(jobs,), name="spikeloom", daemon=True).start()
    return first


def _work(jobs: "queue.SimpleQueue[_Job]") -> None:
    while True:
        future, function, job = jobs.get()
        if future.set_running_or_notify_cancel():  # not where the caller has nothing left to do
            function(job)
            future.set_result(None)


def _openmp() -> Any:
    """The function of PyTorch's OpenMP library that runs another one in all threads of its team."""
    if not _teams:
        _teams.append(_find_openmp())
    return _teams[0]


def _find_openmp() -> Any:
    """Of GNU's library, and of LLVM's and Intel's, which can stand in for it; Linux only."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    found = set(
        re.findall(
            r"^(?:\S+ +){5}(/.*/lib(?:gomp|iomp5|omp)\b[^/\s]*\.so\S*)$", maps.read_text(), re.MULTILINE
        )
    )
    own = {path for path in found if Path(torch.__file__).parent in Path(path).parents}
    if len(own or found) != 1:  # none, or it is not known which one PyTorch uses
        return None
    with contextlib.suppress(OSError, AttributeError):
        team = ctypes.CDLL((own or found).pop()).GOMP_parallel
        team.argtypes, team.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
        return team
    return None


def _after_fork() -> None:
    """The threads are gone; a team that has lost them would wait for ever."""
    _queues.clear()
    _teams[:] = [None]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
