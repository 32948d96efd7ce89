"""Calling the compiled loop of an event-driven layer."""

from array import array
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.loom import threads
from spikeloom.loom.cache import load_module
from spikeloom.loom.native import Native
from spikeloom.loom.numba_job import DONE, RANGES

SERIAL = 1 << 16  # inputs and outputs, and fewer are not worth a second thread
TAKEN = 8  # ranges per thread, as samples have unlike numbers of spikes
_loaded: list[Native] = []


class Window(NamedTuple):
    """How a convolution's window lies over its input, downwards and sideways; that of a linear layer is one
    pixel."""

    size: tuple[int, ...] = (1, 1)
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)  # above, and at the left
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1


def add_spikes(x: Tensor, weight: Tensor, out: Tensor, window: Window) -> int:
    """Add to outputs the weights of the inputs that are not zero, times these inputs.

    Args:
        x: inputs ``[N, H, W, C]``, contiguous.
        weight: ``[downwards, C / groups, backwards, C']``, contiguous.
        out: ``[N, H', W', C']``, contiguous; changed.
        window: of the convolution.
    Returns:
        how many weights were added
    """
    num_samples, *pixels = x.shape
    operations = torch.zeros(num_samples, dtype=torch.int64)
    if not num_samples or not out.numel():
        return 0
    height, width, channels = pixels
    to_height, to_width, to_channels = out.shape[1:]
    sizes = array("q", [channels, height, width, to_channels, to_height, to_width, window.groups])
    for pair in window[:4]:
        sizes.extend(pair)
    num_threads = torch.get_num_threads() if x.numel() + out.numel() >= SERIAL else 1
    size = -(-num_samples // (TAKEN * num_threads))
    num_ranges = -(-num_samples // size)
    job = array("q", [0, 0, num_ranges, num_samples, size, *[0] * 7])
    job.extend((sizes.buffer_info()[0], len(sizes)))
    for tensor in (x, weight, out, operations):
        job.extend((tensor.data_ptr(), tensor.numel()))
    if not _loaded:
        _loaded.append(Native(load_module(Path(__file__).with_name("loops.py").read_text())))
    function = _loaded[0].native("synapses", x.dtype)
    threads.run(function, job.buffer_info()[0], min(num_threads, num_ranges))
    if job[DONE] != job[RANGES]:
        raise MemoryError("Too little memory for the list of a layer's spikes.")
    return int(operations.sum())
