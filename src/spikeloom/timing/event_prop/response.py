"""The leaky neuron with exponential synaptic currents: its potential, when it fires, and when it is highest.

This is the plain PyTorch form, which the compiled one in loops.py is tested against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.checks import checked_inside
from spikeloom.timing.spike_response import LONGEST, SpikeResponse


@dataclass(frozen=True)
class CurrentResponse(SpikeResponse):
    r"""A leaky potential, driven by a current that decays too.

    .. math:: \tau \dot V = -V + I,\quad \tau_s \dot I = -I

    An input spike adds its weight to :math:`I`, and a spike of the neuron takes ``refractory`` off :math:`V`.
    In the words of :class:`SpikeResponse`, ``x`` is :math:`V`, ``c`` is :math:`I`, and

    .. math:: \varepsilon(s) = \frac{\tau_s}{\tau - \tau_s} \left( e^{-s/\tau} - e^{-s/\tau_s} \right)

    or :math:`\frac{s}{\tau} e^{-s/\tau}` if the time constants are equal.

    Args:
        tau_s: time constant of the current.
    Raises:
        ValueError: as for :class:`SpikeResponse`; or a time constant is out of all proportion to another, or
            to ``T``.
    Source: Wunderlich & Pehle, Sci. Rep. 11:12829, 2021.
    """

    tau_s: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tau_s", float(checked_inside("tau_s", self.tau_s, 0)))
        if self.T / self.tau_s > LONGEST:
            raise ValueError(f"`T` must be at most {LONGEST} times `tau_s`, got {self.T} and {self.tau_s}.")
        if 0 < abs(self.tau - self.tau_s) < 1e-3 * self.tau:
            raise ValueError(
                f"`tau_s` must be `tau`, or differ from it by a thousandth or more, got {self.tau_s} and "
                f"{self.tau}: the difference of two exponentials that are nearly alike is inaccurate."
            )

    @property
    def peak(self) -> float:
        r"""The largest value of :math:`\varepsilon`."""
        if self.tau == self.tau_s:
            return math.exp(-1)
        ratio = self.tau / self.tau_s
        return ratio ** (-self.tau / (self.tau - self.tau_s))

    def psp(self, lag: Tensor) -> Tensor:
        r"""The response :math:`\varepsilon` to a spike that arrived ``lag`` ago; 0 before it."""
        return self._rise(lag.clamp(min=0))

    def psp_slope(self, lag: Tensor) -> Tensor:
        r"""The derivative of :math:`\varepsilon`; 0 before the spike."""
        late = lag.clamp(min=0)
        slope = ((-late / self.tau_s).exp() - self._rise(late)) / self.tau
        return torch.where(lag > 0, slope, 0.0)

    def _rise(self, lag: Tensor) -> Tensor:
        """What a current of 1 makes of the potential."""
        slow = (-lag / self.tau).exp()
        if self.tau == self.tau_s:
            return lag / self.tau * slow
        return self.tau_s / (self.tau - self.tau_s) * (slow - (-lag / self.tau_s).exp())

    def _kick(self, added: Tensor) -> Tensor:
        return added

    def _potential(self, x: Tensor, c: Tensor, lag: Tensor) -> Tensor:
        return x * (-lag / self.tau).exp() + c * self._rise(lag)

    def _decayed(self, c: Tensor, lag: Tensor) -> Tensor:
        return c * (-lag / self.tau_s).exp()

    def _slope(self, c: Tensor) -> Tensor:
        return (c - self.v_threshold) / self.tau

    def _top(self, x: Tensor, c: Tensor, gap: Tensor) -> Tensor:
        """Where the potential is highest in ``(0, gap]`` if it rises at first: at its maximum, or at the end.
        A potential that does not rise at first never reaches a threshold that it was below."""
        if self.tau == self.tau_s:
            peak = self.tau * (1 - x / c)
        else:
            scale = self.tau_s / (self.tau - self.tau_s)
            ratio = scale * c * self.tau / ((x + scale * c) * self.tau_s)
            peak = ratio.log() / (1 / self.tau_s - 1 / self.tau)
        return torch.where((c > 0) & (c > x) & (peak > 0) & (peak < gap), peak, gap)  # NaN is not inside

    @torch.no_grad()
    def highest(self, arrivals: Tensor, weight: Tensor) -> Highest:
        """When the potential of a neuron that never fires is highest in ``[0, T]``.

        Args:
            arrivals, weight: as for :meth:`fire`.
        """
        x = arrivals.new_zeros(len(arrivals), len(weight))  # [N, out]
        found = Highest(x, x, x, torch.full_like(x, -1, dtype=torch.long))
        ordered, order = arrivals.sort(dim=1, stable=True)
        following = torch.where(ordered < self.T, order, -1).roll(-1, 1)
        following[:, -1:] = -1
        c = torch.zeros_like(x)
        for k, (start, gap, added) in enumerate(self.intervals(arrivals, weight)):
            c = c + added
            top = self._top(x, c, gap)
            v, current = self._potential(x, c, top), self._decayed(c, top)
            new, last = v > found.potential, top == gap
            event = torch.where(last, following[:, k : k + 1], -1)
            slope = torch.where(event >= 0, (current - v) / self.tau, 0.0)
            values = Highest(start + top, v, slope, event)
            found = Highest(*(torch.where(new, one, old) for one, old in zip(values, found, strict=True)))
            x, c = self._potential(x, c, gap), self._decayed(c, gap)
        return found


class Highest(NamedTuple):
    """When potentials are highest, each ``[N, out]``.

    Args:
        time: when; 0 for one that never rises above 0.
        potential: how high.
        slope: with which it came there, if an input spike ends the rise; else 0.
        event: that input spike; -1 for none.
    """

    time: Tensor
    potential: Tensor
    slope: Tensor
    event: Tensor
