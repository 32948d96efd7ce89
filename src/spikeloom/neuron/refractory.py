"""A leaky neuron that neither integrates nor fires for a while after each spike."""

from collections.abc import Callable

import torch
from torch import Tensor

from spikeloom.checks import checked_count
from spikeloom.neuron.leaky import LIFNode


class RefractoryLIFNode(LIFNode):
    r"""Leaky integrate-and-fire neuron with an absolute refractory period.

    .. math:: r_{t-1} = 0:&\quad h_t, s_t, v_t \text{ of LIFNode},\quad r_t = R\, s_t\\
              r_{t-1} > 0:&\quad h_t = v_t = v_{t-1},\quad s_t = 0,\quad r_t = r_{t-1} - 1

    For ``R`` steps after a spike the potential stands still, and input is lost; so two spikes are at least
    ``R + 1`` steps apart.

    Args:
        refractory_steps: ``R``, an integer of 0 or more.
        tau, decay_input: as for :class:`~spikeloom.neuron.LIFNode`.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``countdown``: ``[N, *]``.
    Raises:
        TypeError, ValueError: ``refractory_steps`` is not an integer of 0 or more, or ``tau`` is not greater
            than 1.
    Source: Gerstner & Kistler, Spiking Neuron Models, 2002, sec. 4.1.
    Example:
        >>> neuron = RefractoryLIFNode(refractory_steps=2, step_mode="m")
        >>> neuron(torch.full([7], 5.0)).tolist()
        [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]
    """

    def __init__(
        self,
        refractory_steps: int = 2,
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
        super().__init__(tau, decay_input, v_threshold, v_reset, *common)
        self.refractory_steps = checked_count("refractory_steps", refractory_steps, least=0)
        self.register_memory("countdown", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        held = self.v
        super().neuronal_charge(x)
        self.v = torch.where(self.countdown > 0, held, self.v)

    def neuronal_fire(self) -> Tensor:
        spike = super().neuronal_fire()
        return spike * (self.countdown <= 0).to(spike.dtype)

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        # A comparison, which has no gradient; half, so that a smooth surrogate in place of spikes works too.
        left = (self.countdown - 1.0).clamp(min=0.0)
        self.countdown = torch.where(spike >= 0.5, float(self.refractory_steps), left)
