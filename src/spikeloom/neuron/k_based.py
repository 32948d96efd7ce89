"""KLIF: a learned slope scales the potential, and so the surrogate's width."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.leaky import checked_tau, leaky_charge


class KLIFNode(BaseNode):
    r"""Leaky integrate-and-fire neuron with a learned slope ``k``, one for the whole layer.

    .. math:: f_t = \max(k\, h_t, 0),\quad s_t = \Theta(f_t - v_{th}),\quad
              v_t = f_t (1 - s_t) + v_{reset} s_t \;\text{(hard)}\quad\text{or}\quad v_t = f_t - v_{th} s_t
              \;\text{(soft)}

    with :math:`h_t` that of :class:`~spikeloom.neuron.LIFNode`. The potential is never negative but by the
    reset.

    Args:
        scale_reset: divide by ``k`` at the reset: :math:`v_t = f_t/k\,(1 - s_t) + v_{reset} s_t` (hard) or
            :math:`v_t = (f_t - v_{th} s_t)/k` (soft).
        tau: membrane time constant, in time steps; greater than 1; a number, a tensor (kept as a buffer) or
            an ``nn.Parameter``.
        decay_input: whether the input is divided by ``tau`` too.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Parameter ``k``: ``[]``, starts at 1.
    Raises:
        ValueError: ``tau`` is not greater than 1.
    Source: Jiang & Zhang, KLIF: an optimized spiking neuron unit for tuning surrogate gradient slope and
        membrane potential, arXiv:2302.09238, 2023.
    Example:
        >>> neuron = KLIFNode()
        >>> neuron(torch.tensor([-3.0, 1.0, 3.0])), neuron.v
        (tensor([0., 0., 1.], ...), tensor([0.0000, 0.5000, 0.0000], ...))
    """

    def __init__(
        self,
        scale_reset: bool = False,
        tau: float | Tensor = 2.0,
        decay_input: bool = True,
        v_threshold: float | Tensor = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.scale_reset = scale_reset
        self.add_setting("tau", checked_tau(tau))
        self.decay_input = decay_input
        self.k = nn.Parameter(torch.tensor(1.0))

    def neuronal_charge(self, x: Tensor) -> None:
        charged = leaky_charge(self.v, x, self.tau, self.rest, self.decay_input)
        self.v = (charged * self.k).relu()

    def neuronal_reset(self, spike: Tensor) -> None:
        if self.scale_reset and self.v_reset is not None:
            self.v = self.v / self.k
        super().neuronal_reset(spike)
        if self.scale_reset and self.v_reset is None:
            self.v = self.v / self.k
