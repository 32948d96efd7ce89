"""Traces: how recently, and how often, a neuron has fired."""

import math

import torch
from torch import Tensor

from spikeloom.checks import checked_inside, checked_range


def trace_sequence(spikes: Tensor, start: Tensor | None, decay: float, nearest: bool = False) -> Tensor:
    r"""The trace after each time step.

    .. math:: r_t = d\, r_{t-1} + s_t \;\text{(all spikes count)}\quad\text{or}\quad
              r_t = s_t \text{ where } s_t \ne 0, \text{ else } d\, r_{t-1}\;\text{(the last spike counts)}

    Args:
        spikes: time first.
        start: the trace before the first step; ``None`` is 0.
        decay: :math:`d`, from 0 to 1.
        nearest: whether a spike replaces the trace instead of adding to it.
    Shape:
        spikes ``[T, *]``, start ``[*]``; output ``[T, *]``.
    Example:
        >>> trace_sequence(torch.tensor([1.0, 0.0, 1.0]), None, 0.5)
        tensor([1.0000, 0.5000, 1.2500])
        >>> trace_sequence(torch.tensor([1.0, 0.0, 1.0]), None, 0.5, nearest=True)
        tensor([1.0000, 0.5000, 1.0000])
    """
    trace = torch.empty_like(spikes)
    last = torch.zeros_like(spikes[0]) if start is None else start
    for now, spike in zip(trace, spikes, strict=True):
        torch.add(spike, last, alpha=decay, out=now)
        if nearest:
            torch.where(spike != 0, spike, now, out=now)
        last = now
    return trace


def before_each_step(trace: Tensor, start: Tensor | None, decay: float) -> Tensor:
    """A trace as each step's spikes find it, decayed but without them: of the trace after each step."""
    first = torch.zeros_like(trace[0]) if start is None else start
    return torch.cat([first[None], trace[:-1]]) * decay


def euler_decay(name: str, tau: float) -> float:
    """What is left of a trace after a step: 1 - 1/tau.

    Raises:
        ValueError: ``tau``, the argument ``name``, is less than 1 or infinite.
    """
    return 1 - 1 / checked_range(name, tau, 1)


def exponential_decay(name: str, tau: float) -> float:
    """What is left of a trace after a step: exp(-1/tau).

    Raises:
        ValueError: ``tau``, the argument ``name``, is not greater than 0, or infinite.
    """
    return math.exp(-1 / checked_inside(name, tau, 0))
