"""CLIF: a second potential that remembers spikes, and lets gradients reach further back."""

from collections.abc import Callable

from torch import Tensor

from spikeloom import surrogate
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.leaky import checked_tau, leaky_charge


class CLIFNode(BaseNode):
    r"""Complementary leaky integrate-and-fire neuron.

    .. math:: h_t = (1 - \tfrac{1}{\tau}) v_{t-1} + x_t,\quad s_t = \Theta(h_t - v_{th}),\\
              m_t = m_{t-1}\, \sigma(h_t / \tau) + s_t,\quad v_t = h_t - s_t (v_{th} + \sigma(m_t))

    Args:
        tau: membrane time constant, in time steps; greater than 1; a number, a tensor (kept as a buffer) or
            an ``nn.Parameter``.
        v_threshold, step_mode, backend, store_v_seq: as for :class:`~spikeloom.neuron.BaseNode`.
        surrogate_function: as for :class:`~spikeloom.neuron.BaseNode`; default ``surrogate.Rect()``.
        detach_reset: whether the gradient ignores the path through the reset, and with it through ``m``'s
            spike.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``m``: ``[N, *]``.
    Raises:
        ValueError: ``tau`` is not greater than 1.
    Source: Huang et al., CLIF: complementary leaky integrate-and-fire neuron for spiking neural networks,
        ICML 2024.
    Example:
        >>> import torch
        >>> neuron = CLIFNode(step_mode="m", store_v_seq=True)
        >>> neuron(torch.tensor([0.6, 1.2, 2.5])), neuron.v_seq
        (tensor([0., 1., 1.]), tensor([ 0.6000, -0.2311,  0.5304]))
    """

    default_surrogate = surrogate.Rect

    def __init__(
        self,
        tau: float | Tensor = 2.0,
        v_threshold: float | Tensor = 1.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        super().__init__(v_threshold, None, surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        self.add_setting("tau", checked_tau(tau))
        self.register_memory("m", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        self.v = leaky_charge(self.v, x, self.tau, 0.0, decay_input=False)

    def neuronal_reset(self, spike: Tensor) -> None:
        if self.detach_reset:
            spike = spike.detach()
        self.m = self.m * (self.v / self.tau).sigmoid() + spike
        self.v = self.v - spike * (self.m.sigmoid() + self.v_threshold)
