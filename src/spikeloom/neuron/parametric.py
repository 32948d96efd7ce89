"""Parametric LIF: the time constant is learned."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_inside, checked_number
from spikeloom.neuron.base import BaseNode


class ParametricLIFNode(BaseNode):
    r"""Leaky integrate-and-fire neuron that learns its time constant, one for the whole layer.

    .. math:: h_t = v_{t-1} + \sigma(w)\,(x_t - (v_{t-1} - v_{rest}))
              \quad\text{or, with decay_input=False,}\quad
              h_t = v_{t-1} - \sigma(w)\,(v_{t-1} - v_{rest}) + x_t,\qquad \tfrac{1}{\tau} = \sigma(w)

    Args:
        init_tau: time constant to start from, in time steps; greater than 1. The parameter starts at
            ``w = -ln(init_tau - 1)``.
        decay_input: whether the input is multiplied by 1/tau too.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq, old: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Parameter ``w``: ``[]``.
    Raises:
        ValueError: ``init_tau`` is not greater than 1.
    Source: Fang et al., Incorporating learnable membrane time constant, ICCV 2021.
    Example:
        >>> neuron = ParametricLIFNode(init_tau=2.0)
        >>> neuron.w.sigmoid().item()
        0.5
    """

    def __init__(
        self,
        init_tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float | Tensor = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
        **old: Any,
    ):
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq, **old
        )
        init_tau = checked_inside("init_tau", checked_number("init_tau", init_tau), 1.0)
        self.w = nn.Parameter(torch.tensor(-math.log(init_tau - 1.0)))
        self.decay_input = decay_input

    def neuronal_charge(self, x: Tensor) -> None:
        leak = self.v - self.rest
        if self.decay_input:
            self.v = self.v + (x - leak) * self.w.sigmoid()
        else:
            self.v = self.v - leak * self.w.sigmoid() + x

    def extra_repr(self) -> str:
        tau = 1.0 / self.w.detach().sigmoid().item()
        return f"tau={tau:.4g}, {super().extra_repr()}"
