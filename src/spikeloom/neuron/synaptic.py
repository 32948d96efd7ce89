"""Synaptic currents: the input arrives as a current that decays, or through an alpha kernel."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikeloom import surrogate
from spikeloom.checks import checked_inside, checked_range
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.setting import function


class CubaLIFNode(BaseNode):
    r"""Current-based leaky integrate-and-fire neuron.

    .. math:: c_t = d_c\, c_{t-1} + x_t,\qquad h_t = d_v\, v_{t-1} + c_t

    With ``v_reset`` other than 0, the potential decays towards it.

    Args:
        c_decay: what is left of the synaptic current after a time step, in [0, 1]; a number, a tensor (kept
            as a buffer) or an ``nn.Parameter``, like the next.
        v_decay: what is left of the potential after a time step, in [0, 1].
        v_threshold, v_reset, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`.
        surrogate_function: as for :class:`~spikeloom.neuron.BaseNode`; default ``surrogate.Rect()``.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``c``: ``[N, *]``.
    Raises:
        ValueError: ``c_decay`` or ``v_decay`` is outside [0, 1].
    Differs from: snnTorch's ``Synaptic`` (``alpha`` and ``beta`` are ``c_decay`` and ``v_decay``; it fires on
        ``>``, and resets one step later).
    Source: Davies et al., Loihi: a neuromorphic manycore processor with on-chip learning, IEEE Micro 38(1),
        2018.
    Example:
        >>> import torch
        >>> neuron = CubaLIFNode(v_threshold=10.0, step_mode="m", store_v_seq=True)
        >>> neuron(torch.tensor([1.0, 0.0, 0.0])), neuron.v_seq
        (tensor([0., 0., 0.]), tensor([1.0000, 1.2500, 1.1875]))
    """

    default_surrogate = surrogate.Rect

    def __init__(
        self,
        c_decay: float | Tensor = 0.5,
        v_decay: float | Tensor = 0.75,
        v_threshold: float | Tensor = 0.5,
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
        self.add_setting("c_decay", checked_range("c_decay", c_decay, 0.0, 1.0))
        self.add_setting("v_decay", checked_range("v_decay", v_decay, 0.0, 1.0))
        self.register_memory("c", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        self.c = self.c * self.c_decay + x
        self.v = (self.v - self.rest) * self.v_decay + self.rest + self.c


class AlphaNode(BaseNode):
    r"""Spike-response neuron with an alpha kernel: the potential is a difference of two decaying currents.

    .. math:: e_t = \alpha e_{t-1} + x_t,\quad i_t = \beta i_{t-1} - x_t,\quad
              h_t = v_{reset} + \kappa (e_t + i_t),\quad
              \kappa = 1 + \frac{\ln\alpha}{\ln\beta - \ln\alpha}

    An input of 1 at step 0 leaves :math:`h_t = v_{reset} + \kappa(\alpha^t - \beta^t)`, which rises from 0 at
    its own step and peaks at :math:`t = \ln(\ln\beta / \ln\alpha) / (\ln\alpha - \ln\beta)`. A hard reset
    sets both currents to 0; a soft one takes :math:`v_{th} / \kappa` off ``e``, so that the potential drops
    by the threshold, and the drop decays as the current does.

    Args:
        alpha: decay per time step of the rising current; a number, a tensor (kept as a buffer) or an
            ``nn.Parameter``, like the next.
        beta: decay per time step of the counter current; ``0 < beta < alpha < 1``.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``e``, ``i``: ``[N, *]``.
    Raises:
        ValueError: not ``0 < beta < alpha < 1``.
    Differs from: snnTorch's ``Alpha`` (fires on ``>``, and resets one step later, whose input it forgets; its
        soft reset acts on all three memories).
    Source: Gerstner & Kistler, Spiking Neuron Models, 2002, sec. 4.1 and 4.2; Eshraghian et al., Training
        spiking neural networks using lessons from deep learning, Proc. IEEE 111(9), 2023.
    Example:
        >>> import torch
        >>> neuron = AlphaNode(alpha=0.9, beta=0.6, v_threshold=2.0, step_mode="m", store_v_seq=True)
        >>> neuron(torch.tensor([1.0, 0.0, 0.0])), neuron.v_seq
        (tensor([0., 0., 0.]), tensor([0.0000, 0.3780, 0.5669]))
    """

    def __init__(
        self,
        alpha: float | Tensor = 0.9,
        beta: float | Tensor = 0.8,
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
        self.add_setting("alpha", checked_inside("alpha", alpha, 0.0, 1.0))
        self.add_setting("beta", checked_inside("beta", beta, 0.0, 1.0))
        if not bool(torch.as_tensor(self.beta < self.alpha).all()):
            raise ValueError(f"`beta` must be less than `alpha`, got beta={beta!r} and alpha={alpha!r}.")
        self.register_memory("e", 0.0)
        self.register_memory("i", 0.0)

    @property
    def kappa(self) -> Any:
        """The kernel's scale."""
        log_alpha = function("log", self.alpha)
        return 1.0 + log_alpha / (function("log", self.beta) - log_alpha)

    def neuronal_charge(self, x: Tensor) -> None:
        self.e = self.e * self.alpha + x
        self.i = self.i * self.beta - x
        self.v = (self.e + self.i) * self.kappa + self.rest

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        if self.detach_reset:
            spike = spike.detach()
        if self.v_reset is None:
            self.e = self.e - spike * self.v_threshold / self.kappa
        else:
            self.e = (1.0 - spike) * self.e
            self.i = (1.0 - spike) * self.i
