"""A slow current that follows the potential as it is now: an adaptive neuron that swings and stays stable."""

from collections.abc import Callable

import torch
from torch import Tensor

from spikeloom.checks import checked_positive, checked_range
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.setting import function


class SEAdLIFNode(BaseNode):
    r"""Adaptive leaky integrate-and-fire neuron in the order of the symplectic Euler method (SE-adLIF).

    .. math:: h_t = \alpha v_{t-1} + (1-\alpha)(x_t - w_{t-1}),\quad s_t = \Theta(h_t - v_{th}),\quad
              v_t = h_t (1 - s_t),\\
              w_t = \beta w_{t-1} + (1-\beta)(a v_t + b s_t),\quad
              \alpha = e^{-1/\tau},\quad \beta = e^{-1/\tau_w}

    With another ``v_reset`` than 0 it stands for 0 here: potentials leak to it and are counted from it.
    The current takes the new potential, after its reset, where Euler's forward method takes the one before.
    So a swing decays, as it does in continuous time, as long as :math:`a < (1+\alpha)(1+\beta) / ((1-\alpha)
    (1-\beta))`, that is, unless a step is nearly half a period.

    Args:
        tau: membrane time constant, in time steps; greater than 0; a number, a tensor (kept as a buffer) or
            an ``nn.Parameter``, like the next three.
        tau_w: time constant of the current, in time steps; greater than 0.
        a: how strongly the current follows the potential; not negative. A potential below threshold swings if
            ``a`` is large, with a period near :math:`2\pi\sqrt{\tau \tau_w / (1 + a)}`.
        b: how strongly a spike adds to the current; not negative.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`. ``detach_reset`` leaves the gradient through ``w`` as it is.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``w``: ``[N, *]``.
    Raises:
        ValueError: ``tau`` or ``tau_w`` is not greater than 0, ``a`` or ``b`` is negative, or a swing would
            grow.
    Differs from: :class:`AdaptiveLIFNode`, whose current takes the potential before its reset and is not
        scaled by :math:`1-\beta`.
    Source: Baronig, Ferrand, Sabathiel & Legenstein, Advancing spatio-temporal processing through adaptation
        in spiking neural networks, Nat. Commun. 16, 2025.
    Example:
        >>> import torch
        >>> neuron = SEAdLIFNode(tau=10.0, tau_w=100.0, a=40.0, step_mode="m", store_v_seq=True)
        >>> _ = neuron(torch.cat([torch.ones(1), torch.zeros(99)]))
        >>> (neuron.v_seq.diff().sign().diff() != 0).nonzero().flatten().tolist()  # it turns every 16 steps
        [12, 28, 44, 60, 76, 92]
    """

    def __init__(
        self,
        tau: float | Tensor = 15.0,
        tau_w: float | Tensor = 180.0,
        a: float | Tensor = 60.0,
        b: float | Tensor = 120.0,
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
        self.add_setting("tau", checked_positive("tau", tau))
        self.add_setting("tau_w", checked_positive("tau_w", tau_w))
        self.add_setting("a", checked_range("a", a, 0.0))
        self.add_setting("b", checked_range("b", b, 0.0))
        alpha, beta = (function("exp", -1.0 / one) for one in (self.tau, self.tau_w))
        above, below = (1.0 + alpha) * (1.0 + beta), (1.0 - alpha) * (1.0 - beta)
        if not bool(torch.as_tensor(self.a * below < above).all()):
            most = torch.as_tensor(above / below).min().item()
            raise ValueError(
                f"`a` must be less than {most:.4g} with these time constants, or a swing would "
                f"grow; got {a}. Take shorter time steps, which are larger time constants."
            )
        self.register_memory("w", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        alpha = function("exp", -1.0 / self.tau)
        self.v = (self.v - self.rest) * alpha + self.rest + (x - self.w) * (1.0 - alpha)

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        beta = function("exp", -1.0 / self.tau_w)
        self.w = self.w * beta + ((self.v - self.rest) * self.a + spike * self.b) * (1.0 - beta)
