"""Average pooling within a neuron's loop: spikes are added up in the cache, and never written."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pooling:
    """Windows of ``size`` by ``size`` neurons, side by side, over steps that lie in memory as rows.

    Args:
        size: of a window's side.
        width: neurons in a row.
        inner: numbers per neuron of a row: the channels, if they come last in memory, else 1.
    """

    size: int
    width: int
    inner: int

    @property
    def unit(self) -> int:
        """Numbers in the rows of one row of windows; what one thread gets is a multiple of it."""
        return self.size * self.width * self.inner

    def output(self, x: Tensor) -> Tensor:
        """Room for the pooled output of ``x``, in its memory format."""
        *many, channels, height, width = x.shape
        height, width = height // self.size, width // self.size
        if self.inner == 1:
            return x.new_empty((*many, channels, height, width))
        return x.new_empty((*many, height, width, channels)).movedim(-1, 2)


def pooling(x: Tensor, size: int) -> Pooling | None:
    """How a time-major ``x`` ``[T, N, C, H, W]`` is pooled; ``None`` where windows do not fit into it."""
    if x.dim() != 5 or x.numel() == 0 or x.shape[-2] % size or x.shape[-1] % size:
        return None
    step = x[0]
    if step.is_contiguous():
        return Pooling(size, x.shape[-1], 1)
    if step.is_contiguous(memory_format=torch.channels_last):
        return Pooling(size, x.shape[-1], x.shape[2])
    return None
