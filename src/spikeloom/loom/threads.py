"""A small pool of threads for kernels that release Python's lock; it is made anew after a fork."""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

SERIAL = (
    1 << 15
)  # element-steps; below, waking a thread costs more than it saves (about 20 us, 2 cores, 2026-11-22)
_pools: dict[int, ThreadPoolExecutor] = {}


def _forget_pools() -> None:
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)


def split(run: Callable[[int, int], Any], total: int, block: int, work: int) -> None:
    """Call ``run(low, high)`` on ranges that together are ``range(total)``, one for each of PyTorch's
    threads.

    Args:
        run: releases Python's lock.
        total: number of neurons.
        block: ranges start at multiples of it.
        work: element-steps in all; little work is done by the calling thread.
    """
    num_blocks = -(-total // block)
    num_threads = min(torch.get_num_threads(), num_blocks)
    if num_threads <= 1 or work < SERIAL:
        run(0, total)
        return
    if num_threads not in _pools:
        _pools[num_threads] = ThreadPoolExecutor(num_threads - 1, thread_name_prefix="spikeloom")
    edges = [num_blocks * part // num_threads * block for part in range(num_threads)] + [total]
    ranges = list(itertools.pairwise(edges))
    waiting = [_pools[num_threads].submit(run, low, high) for low, high in ranges[1:]]
    run(*ranges[0])
    for future in waiting:
        future.result()
