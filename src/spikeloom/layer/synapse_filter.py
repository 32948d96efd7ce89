"""Synaptic current: spikes passed through a low-pass filter."""

import math

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_above, checked_inside, checked_number
from spikeloom.memory import MemoryModule


class SynapseFilter(MemoryModule):
    r"""First-order synapse: a spike adds 1 to the current, which decays while there is none.

    .. math:: i_t = i_{t-1} - (1 - x_t)\,\tfrac{1}{\tau}\,i_{t-1} + x_t

    A spike (:math:`x_t = 1`) suspends the decay for its step.

    Args:
        tau: time constant of the synapse, in time steps; greater than 1.
        learnable: whether ``tau`` is learned, one value for the layer, as the parameter ``w`` with
            :math:`1/\tau = \mathrm{sigmoid}(w)`.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step), spikes in {0, 1}; output the same,
        the current.
    Raises:
        ValueError: ``tau`` is not greater than 1.
    Differs from: the usual exponential filter ``i = i * (1 - 1 / tau) + x``, which decays at spikes too.
    Example:
        >>> synapse = SynapseFilter(tau=4.0, step_mode="m")
        >>> synapse(torch.tensor([[1.0], [0.0], [0.0], [1.0]])).flatten()
        tensor([1.0000, 0.7500, 0.5625, 1.5625])
    """

    out_i: Tensor | float

    def __init__(self, tau: float = 100.0, learnable: bool = False, step_mode: str = "s"):
        super().__init__(step_mode)
        check = checked_inside if learnable else checked_above  # what learns starts at a finite one
        self._tau = float(check("tau", checked_number("tau", tau), 1.0))
        self.learnable = learnable
        if learnable:
            self.w = nn.Parameter(torch.tensor(-math.log(tau - 1)))
        self.register_memory("out_i", 0.0)

    @property
    def tau(self) -> Tensor | float:
        """The time constant; a tensor if it is learned."""
        return 1 / self.w.sigmoid() if self.learnable else self._tau

    def single_step_forward(self, x: Tensor) -> Tensor:
        leak = (1 - x) * self.out_i
        leak = leak * self.w.sigmoid() if self.learnable else leak / self._tau
        self.out_i = self.out_i - leak + x
        return self.out_i

    def extra_repr(self) -> str:
        tau = self.tau.item() if isinstance(self.tau, Tensor) else self.tau
        return f"tau={tau:.4g}, learnable={self.learnable}, step_mode={self.step_mode}"
