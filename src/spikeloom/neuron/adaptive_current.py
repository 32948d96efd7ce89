"""A slow current that follows the potential and jumps with each spike, with learned constants."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_range
from spikeloom.neuron.base import BaseNode

# Where the learned constants live, and where they start, uniformly: those of the source.
_RANGES = {
    "alpha": (math.exp(-1 / 5), math.exp(-1 / 25)),
    "beta": (math.exp(-1 / 30), math.exp(-1 / 120)),
    "a": (-1.0, 1.0),
    "b": (0.0, 2.0),
}


class AdaptiveLIFNode(BaseNode):
    r"""Adaptive leaky integrate-and-fire neuron (adLIF), whose four constants are learned.

    .. math:: h_t = \alpha v_{t-1} + (1-\alpha)(x_t - w_{t-1}),\quad s_t = \Theta(h_t - v_{th}),\\
              w_t = \beta w_{t-1} + a h_t + b s_t,\quad v_t = h_t - v_{th} s_t

    With another ``v_reset`` than 0 it stands for 0 here: potentials leak to it and are counted from it.

    Order of update: the potential first, with the current of the step before; the current last, with the
    potential before its reset, and the new spike. With :math:`u_t = h_t` this is the source's order, which
    computes :math:`w_t = \beta w_{t-1} + a u_{t-1} + b s_{t-1}` at the start of the next step.

    Args:
        alpha, beta: decay per time step of the potential and of the current, in [0, 1].
        a: how strongly the current follows the potential.
        b: jump of the current at a spike. Each of the four is a number or a tensor (fixed), an
            ``nn.Parameter`` (learned), or ``None``: learned from a uniform random start in the source's
            range, [e^(-1/5), e^(-1/25)], [e^(-1/30), e^(-1/120)], [-1, 1], [0, 2]. Learned constants act
            clamped to that range, as in the source; outside of it they have no gradient. With ``a`` below 0
            the current pushes a potential on that moves away from 0, which may grow without bound.
        shape: shape of the constants that are ``None``; broadcasts against the input, as ``(features,)`` or
            ``(channels, 1, 1)``; the default is one of each for the layer.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`; here the reset is soft by default. ``detach_reset`` leaves
            the gradient through ``w`` as it is.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``w``: ``[N, *]``.
    Raises:
        ValueError: ``alpha`` or ``beta`` is outside [0, 1].
    Differs from: the authors' code, which starts from random memories; here they start at 0.
    Source: Bittar & Garner, A surrogate gradient spiking baseline for speech command recognition, Front.
        Neurosci. 16:865897, 2022.
    Example:
        >>> neuron = AdaptiveLIFNode(alpha=0.5, beta=0.5, a=0.5, b=0.0)
        >>> [(neuron(torch.ones(1)).item(), neuron.v.item(), neuron.w.item()) for _ in range(2)]
        [(0.0, 0.5, 0.25), (0.0, 0.625, 0.4375)]
        >>> sum(parameter.numel() for parameter in AdaptiveLIFNode(shape=(10,)).parameters())
        40
    """

    def __init__(
        self,
        alpha: float | Tensor | None = None,
        beta: float | Tensor | None = None,
        a: float | Tensor | None = None,
        b: float | Tensor | None = None,
        shape: int | tuple[int, ...] = (),
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
        for name, value in {"alpha": alpha, "beta": beta, "a": a, "b": b}.items():
            if value is None:
                value = nn.Parameter(torch.empty(shape).uniform_(*_RANGES[name]))
            decays = name in ("alpha", "beta")
            self.add_setting(name, checked_range(name, value, 0.0, 1.0) if decays else value)
        # By name, because whoever computes with other values in their place may not bring parameters.
        self.learned = tuple(name for name in _RANGES if isinstance(getattr(self, name), nn.Parameter))
        self.register_memory("w", 0.0)

    def constant(self, name: str) -> Any:
        """The constant of that name as it acts: clamped to its range if it is learned."""
        value = getattr(self, name)
        return value.clamp(*_RANGES[name]) if name in self.learned else value

    def neuronal_charge(self, x: Tensor) -> None:
        alpha = self.constant("alpha")
        self.v = (self.v - self.rest) * alpha + self.rest + (x - self.w) * (1.0 - alpha)

    def neuronal_reset(self, spike: Tensor) -> None:
        follow = self.constant("a") * (self.v - self.rest)
        self.w = self.w * self.constant("beta") + follow + spike * self.constant("b")
        super().neuronal_reset(spike)
