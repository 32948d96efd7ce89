"""A threshold that rises with the neuron's own spikes."""

from collections.abc import Callable

from torch import Tensor

from spikeloom.checks import checked_positive
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.setting import function


class ALIFNode(BaseNode):
    r"""Leaky integrate-and-fire neuron with an adaptive threshold, as in LSNNs.

    .. math:: h_t = \alpha v_{t-1} + (1-\alpha) x_t,\quad A_t = v_{th} + \beta b_{t-1},\quad
              s_t = \Theta(h_t - A_t),\\
              v_t = h_t - A_t s_t,\quad b_t = \rho b_{t-1} + s_t,\quad
              \alpha = e^{-1/\tau},\quad \rho = e^{-1/\tau_b}

    Each spike raises the threshold by :math:`\beta`, which decays. With ``v_reset``, the reset is that of
    :class:`~spikeloom.neuron.BaseNode`, and the potential leaks to ``v_reset``.

    Args:
        tau: membrane time constant, in time steps; greater than 0; a number, a tensor (kept as a buffer) or
            an ``nn.Parameter``, like the next two.
        tau_adaptation: time constant of the threshold's decay, in time steps; greater than 0.
        beta: rise of the threshold at a spike.
        decay_input: whether the input is multiplied by :math:`1-\alpha`.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`; here the reset is soft by default, by the adaptive threshold.
            ``detach_reset`` leaves the gradient through ``b`` as it is.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``b``: ``[N, *]``.
    Raises:
        ValueError: ``tau`` or ``tau_adaptation`` is not greater than 0.
    Differs from: the source, whose trace is :math:`b_t = \rho b_{t-1} + (1-\rho) s_t`, so that its
        :math:`\beta` is ours divided by :math:`1-\rho`, and counts in units of a threshold near 0.01: the
        default here is 1.6 there. It subtracts the threshold after the next leak; here the leak acts on the
        reset potential.
    Source: Bellec et al., Long short-term memory and learning-to-learn in networks of spiking neurons,
        NeurIPS 2018.
    Example:
        >>> import torch
        >>> neuron = ALIFNode(tau=10.0, tau_adaptation=100.0, beta=0.2, step_mode="m")
        >>> neuron(torch.full([100], 2.0)).nonzero().flatten().diff().tolist()
        [9, 12, 14, 16, 18, 19]
    """

    def __init__(
        self,
        tau: float | Tensor = 20.0,
        tau_adaptation: float | Tensor = 200.0,
        beta: float | Tensor = 0.8,
        decay_input: bool = True,
        v_threshold: float | Tensor = 1.0,
        v_reset: float | None = None,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.add_setting("tau", checked_positive("tau", tau))
        self.add_setting("tau_adaptation", checked_positive("tau_adaptation", tau_adaptation))
        self.add_setting("beta", beta)
        self.decay_input = decay_input
        self.register_memory("b", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        alpha = function("exp", -1.0 / self.tau)
        self.v = (self.v - self.rest) * alpha + self.rest + (x * (1.0 - alpha) if self.decay_input else x)

    def neuronal_fire(self) -> Tensor:
        return self.surrogate_function(self.v - (self.v_threshold + self.beta * self.b))

    def neuronal_reset(self, spike: Tensor) -> None:
        if self.v_reset is None:
            seen = spike.detach() if self.detach_reset else spike
            self.v = self.v - seen * (self.v_threshold + self.beta * self.b)
        else:
            super().neuronal_reset(spike)
        rho = function("exp", -1.0 / self.tau_adaptation)
        self.b = self.b * rho + spike
