"""Latency coding: the larger the value, the earlier its one spike."""

import torch
from torch import Tensor

from spikeloom.encoding.stateful import StatefulEncoder
from spikeloom.encoding.values import check_range


class LatencyEncoder(StatefulEncoder):
    r"""One spike per value, the earlier the larger the value.

    .. math:: t = \operatorname{round}\left( (T-1)(1-x) \right) \;\text{(linear)},\quad
              t = \operatorname{round}\left( T - 1 - \ln(1 + (e^{T-1} - 1)\,x) \right) \;\text{(log)}

    Halves are rounded to the even neighbour. A value of 1 spikes in step 0, a value of 0 in the last, T - 1.

    Args:
        T: number of time steps.
        enc_function: ``'linear'`` or ``'log'``.
        step_mode: as for :class:`StatefulEncoder`, like shapes and memories.
    Raises:
        ValueError: a value of the input is outside [0, 1] or NaN; a setting is wrong.
    Source: Thorpe, Delorme & Van Rullen, Neural Networks 14, 2001.
    Example:
        >>> encoder = LatencyEncoder(T=3)
        >>> x = torch.tensor([0.0, 0.5, 1.0])
        >>> [encoder(x).tolist() for t in range(4)]
        [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
        >>> encoder.encode(x).shape
        torch.Size([3, 3])
    """

    def __init__(self, T: int, enc_function: str = "linear", step_mode: str = "s"):
        super().__init__(T, step_mode)
        if enc_function not in ("linear", "log"):
            raise ValueError(f"`enc_function` must be 'linear' or 'log', got {enc_function!r}.")
        self.enc_function = enc_function

    def code(self, x: Tensor) -> Tensor:
        check_range(x, 1.0, "Scale the values first.")
        steps = torch.arange(self.T, device=x.device).view(-1, *[1] * x.dim())  # [T, 1, ...]
        return self.spike_time(x.detach()).repeat(self.T, *[1] * x.dim()).eq_(steps)

    def spike_time(self, x: Tensor) -> Tensor:
        """The step in which each value spikes, from 0 to T - 1."""
        last = self.T - 1
        if self.enc_function == "linear":
            return (last * (1.0 - x)).round()
        # Without the exponential of T - 1, which overflows float32 beyond T = 89.
        return (last - torch.logaddexp(x.log() + last, torch.log1p(-x))).round()

    def extra_repr(self) -> str:
        return f"T={self.T}, enc_function={self.enc_function!r}, step_mode={self.step_mode!r}"
