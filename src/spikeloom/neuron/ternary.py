"""Ternary spikes: -1, 0 and 1."""

from collections.abc import Callable

from torch import Tensor

from spikeloom.checks import checked_positive
from spikeloom.neuron.leaky import LIFNode


class TernaryLIFNode(LIFNode):
    r"""Leaky integrate-and-fire neuron with positive and negative spikes.

    .. math:: s_t = \Theta(h_t - v_{th}) - \Theta(-h_t - v_{th}),\quad
              v_t = h_t (1 - |s_t|) + v_{reset} |s_t| \;\text{(hard)}\quad\text{or}\quad
              v_t = h_t - v_{th} s_t \;\text{(soft)}

    with :math:`h_t` that of :class:`~spikeloom.neuron.LIFNode`.

    Args:
        tau, decay_input: as for :class:`~spikeloom.neuron.LIFNode`.
        v_threshold: greater than 0; otherwise as for :class:`~spikeloom.neuron.BaseNode`.
        v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {-1, 0, 1}.
    Raises:
        ValueError: ``tau`` is not greater than 1, or ``v_threshold`` not greater than 0.
    Source: Guo et al., Ternary spike: learning ternary spikes for spiking neural networks, AAAI 2024.
    Example:
        >>> import torch
        >>> neuron = TernaryLIFNode()
        >>> neuron(torch.tensor([-3.0, 1.0, 2.0]))
        tensor([-1.,  0.,  1.])
    """

    def __init__(
        self,
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
        common = (surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        super().__init__(tau, decay_input, checked_positive("v_threshold", v_threshold), v_reset, *common)

    def neuronal_fire(self) -> Tensor:
        return self._above() - self._below()

    def neuronal_reset(self, spike: Tensor) -> None:
        if self.v_reset is None:
            super().neuronal_reset(spike)
        else:  # the magnitude as a sum, because that of the spike has no gradient at 0
            super().neuronal_reset(self._above() + self._below())

    def _above(self) -> Tensor:
        return self.surrogate_function(self.v - self.v_threshold)

    def _below(self) -> Tensor:
        return self.surrogate_function(-self.v - self.v_threshold)
