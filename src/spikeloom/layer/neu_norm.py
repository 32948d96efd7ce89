"""Normalisation of neurons by a running trace of their neighbours in other channels."""

import math

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_range
from spikeloom.errors import ShapeError, describe
from spikeloom.layer.shapes import Shapes
from spikeloom.memory import MemoryModule


class NeuNorm(MemoryModule):
    r"""NeuNorm: subtracts a learned share of the recent activity of all channels at the same place.

    .. math:: u_t = k\,u_{t-1} + \tfrac{1 - k}{C^2} \sum_c s_{t,c}, \quad y_{t,c} = s_{t,c} - w_c\,u_t

    Args:
        in_channels: :math:`C`.
        height, width: size of the input.
        k: decay of the trace :math:`u` for each time step, between 0 and 1.
        shared_across_channels: whether one ``w`` ``[1, H, W]`` serves all channels, instead of ``[C, H, W]``.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input and output ``[N, C, H, W]`` or ``[C, H, W]`` (single-step), ``[T, N, C, H, W]`` (multi-step).
    Raises:
        ShapeError: the input is not of the size given here.
    Source: Wu et al., Direct training for spiking neural networks: faster, larger, better, AAAI 2019.
    Example:
        >>> NeuNorm(2, 4, 4, step_mode="m")(torch.rand(5, 3, 2, 4, 4)).shape
        torch.Size([5, 3, 2, 4, 4])
    """

    _shapes = Shapes("N C H W", "C H W")
    x: Tensor | float

    def __init__(
        self,
        in_channels: int,
        height: int,
        width: int,
        k: float = 0.9,
        shared_across_channels: bool = False,
        step_mode: str = "s",
    ):
        super().__init__(step_mode)
        self.k = checked_range("k", k, 0, 1)
        self.size = (in_channels, height, width)
        self.w = nn.Parameter(torch.empty(1 if shared_across_channels else in_channels, height, width))
        nn.init.kaiming_uniform_(self.w, a=math.sqrt(5))
        self.register_memory("x", 0.0)

    def forward(self, x: Tensor) -> Tensor:
        self._shapes.check(self, x)
        if x.shape[-3:] != self.size:
            raise ShapeError(
                f"{describe(self)} must get inputs of [C, H, W] = {list(self.size)}, got {list(x.shape)}. "
                "Build it with the size of its input."
            )
        return super().forward(x)

    def single_step_forward(self, x: Tensor) -> Tensor:
        share = (1 - self.k) / self.size[0] ** 2
        self.x = self.k * self.x + share * x.sum(-3, keepdim=True)
        return x - self.w * self.x

    def extra_repr(self) -> str:
        return f"size={self.size}, k={self.k}, step_mode={self.step_mode}"
