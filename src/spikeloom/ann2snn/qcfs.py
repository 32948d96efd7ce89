"""The activation to train a network with that will be converted: as coarse as a firing rate."""

import math

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_inside, is_number

SMALLEST = 1e-3  # of a threshold in training; one that reached 0 would divide by it


class QCFS(nn.Module):
    r"""Quantisation, clip, floor, shift: ReLU with a ceiling, in ``L`` steps.

    .. math:: h(x) = \lambda \,\mathrm{clip}\!\left(\tfrac{1}{L}
              \left\lfloor \tfrac{x L}{\lambda} + \tfrac12 \right\rfloor, 0, 1\right)

    That is what an integrate-and-fire neuron with threshold :math:`\lambda` makes of a constant input in
    ``L`` time steps, if it starts half-way to the threshold. Its threshold is learned; the gradient passes
    the steps as if they were a line.

    Args:
        L: steps between 0 and the ceiling.
        threshold: the ceiling at the start; greater than 0.
    Shape:
        input and output the same.
    Raises:
        ValueError: ``L`` is no whole number of at least 1, or ``threshold`` is not positive and finite.
    Source: Bu et al., Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural
        networks, ICLR 2022.
    Example:
        >>> QCFS(L=4, threshold=1.0)(torch.tensor([-1.0, 0.1, 0.2, 0.7, 5.0])).tolist()
        [0.0, 0.0, 0.25, 0.75, 1.0]
    """

    def __init__(self, L: int = 4, threshold: float = 8.0):
        super().__init__()
        if not is_number(L) or not math.isfinite(L) or int(L) != L or L < 1:
            raise ValueError(f"`L` must be a whole number of at least 1, got {L!r}.")
        self.L = int(L)
        start = checked_inside("threshold", threshold, 0)
        self.threshold = nn.Parameter(torch.tensor(float(start)))

    def forward(self, x: Tensor) -> Tensor:
        threshold = self.threshold.clamp(min=SMALLEST)
        part = (x / threshold).clamp(0, 1)
        steps = torch.floor(part * self.L + 0.5) / self.L
        return threshold * (part + (steps - part).detach())

    def extra_repr(self) -> str:
        return f"L={self.L}, threshold={self.threshold.item():.4g}"
