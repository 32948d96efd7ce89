"""Noise on spike times, against overfitting."""

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_range


class Jitter(nn.Module):
    """Moves each spike by Gaussian noise, in training only; spikes stay within the window.

    Args:
        std: standard deviation, in time steps; 0 does nothing.
        T: time steps of the window; spikes stay from 0 to ``T - 1``.
    Shape:
        spike times of any shape; output the same. Negative times, no spike, stay as they are.
    Raises:
        ValueError: ``std`` is negative.
        TypeError: spike times that would be moved are integers.
    Example:
        >>> jitter = Jitter(std=1.0, T=10)
        >>> jitter.eval()(torch.tensor([3.0, -1.0]))
        tensor([ 3., -1.])
    """

    def __init__(self, std: float, T: int):
        super().__init__()
        self.std, self.T = checked_range("std", std, 0), checked_count("T", T)

    def forward(self, times: Tensor) -> Tensor:
        if not self.training or self.std == 0:
            return times
        if not times.is_floating_point():
            raise TypeError(f"`times` must be floating-point numbers, got {times.dtype}. Use times.float().")
        moved = torch.randn_like(times).mul_(self.std).add_(times).clamp_(0, self.T - 1)
        return torch.where(times < 0, times, moved)

    def extra_repr(self) -> str:
        return f"std={self.std}, T={self.T}"
