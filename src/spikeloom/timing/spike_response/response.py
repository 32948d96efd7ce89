"""The spike response model: how input spikes and a neuron's own spikes move its potential, and when it fires.

This is the plain PyTorch form, which the compiled one in loops.py is tested against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.checks import checked_count, checked_inside

BISECTIONS = 52  # down to the last bit of a float64


class Fired(NamedTuple):
    """When neurons fire.

    Args:
        time: ``[N, out, num_spikes]`` in float64; -1 where a neuron does not fire, or not again.
        slope: of the potential at these times; 0 where there is none.
    """

    time: Tensor
    slope: Tensor


class Settings(NamedTuple):
    """What gradients need to know, and which backend computes.

    Args:
        layer: what it is called in errors.
        min_slope: the least slope that gradients are divided by.
        wake: strength of the pull on neurons that fire for no sample; 0 for none.
        backend: ``'auto'``, ``'numba'`` or ``'torch'``.
    """

    layer: str
    min_slope: float
    wake: float
    backend: str


def bisected(is_above: Callable[[Tensor], Tensor], high: Tensor) -> Tensor:
    """The first times at which a condition holds that is false at 0 and true at ``high``."""
    low = torch.zeros_like(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = is_above(middle)
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return high


@dataclass(frozen=True)
class SpikeResponse:
    r"""A leaky potential, driven by a current that decays too.

    .. math:: \tau \dot V = -V + I,\quad \tau_s \dot I = -I

    An input spike adds its weight to :math:`I`; the neuron fires when :math:`V` reaches the threshold, and
    its spike takes ``refractory`` off :math:`V`. So input spike :math:`e`, which arrives at :math:`a_e`, and
    own spikes at :math:`t_m` add up to

    .. math:: V(t) = \sum_e w_e\, \varepsilon(t - a_e) - \sum_m R\, e^{-(t - t_m)/\tau},\quad
              \varepsilon(s) = \frac{\tau_s}{\tau - \tau_s} \left( e^{-s/\tau} - e^{-s/\tau_s} \right)

    with :math:`\varepsilon(s) = \frac{s}{\tau} e^{-s/\tau}` if the time constants are equal.

    Args:
        tau: time constant of the potential.
        tau_s: time constant of the current; it may equal ``tau``.
        v_threshold: potential at which a neuron fires.
        T: end of the window; no spike comes later.
        refractory: ``R``, by how much a neuron's own spike lowers its potential.
        num_spikes: that a neuron may fire; after the last it is silent.
    Raises:
        ValueError: a value is not positive, or the time constants are nearly alike.
    Source: Bohte, Kok & La Poutré, Neurocomputing 48, 2002; Wunderlich & Pehle, Sci. Rep. 11:12829, 2021.
    """

    tau: float
    tau_s: float
    v_threshold: float
    T: float
    refractory: float
    num_spikes: int = 1

    def __post_init__(self) -> None:
        for name in ("tau", "tau_s", "v_threshold", "T", "refractory"):
            object.__setattr__(self, name, float(checked_inside(name, getattr(self, name), 0)))
        if 0 < abs(self.tau - self.tau_s) < 1e-3 * self.tau:
            raise ValueError(
                f"`tau_s` must be `tau`, or differ from it by a thousandth or more, got {self.tau_s} and "
                f"{self.tau}: the difference of two exponentials that are nearly alike is inaccurate."
            )
        checked_count("num_spikes", self.num_spikes)

    @property
    def peak(self) -> float:
        r"""The largest value of :math:`\varepsilon`."""
        if self.tau == self.tau_s:
            return math.exp(-1)
        ratio = self.tau / self.tau_s
        return ratio ** (-self.tau / (self.tau - self.tau_s))

    def psp(self, lag: Tensor) -> Tensor:
        r"""The response :math:`\varepsilon` to a spike that arrived ``lag`` ago; 0 before it."""
        lag = lag.clamp(min=0)  # before the spike the exponentials would overflow
        slow = (-lag / self.tau).exp()
        if self.tau == self.tau_s:
            return lag / self.tau * slow
        return self.tau_s / (self.tau - self.tau_s) * (slow - (-lag / self.tau_s).exp())

    def psp_slope(self, lag: Tensor) -> Tensor:
        r"""The derivative of :math:`\varepsilon`; 0 before the spike."""
        slope = ((-lag.clamp(min=0) / self.tau_s).exp() - self.psp(lag)) / self.tau
        return torch.where(lag > 0, slope, 0.0)

    @torch.no_grad()
    def potential(self, arrivals: Tensor, weight: Tensor, fired: Tensor, at: Tensor) -> Tensor:
        """The potentials ``[N, out, len(at)]`` at the times ``at`` of neurons that have fired at the times
        ``fired`` ``[N, out, num_spikes]``; the others are as for :meth:`fire`."""
        points = []
        for now in at.double():
            own = (fired >= 0) & (fired <= now)
            lowered = torch.where(own, ((fired - now).clamp(max=0) / self.tau).exp(), 0.0).sum(2)
            points.append(self.psp(now - arrivals) @ weight.t() - self.refractory * lowered)
        return torch.stack(points, -1)

    @torch.no_grad()
    def fire(self, arrivals: Tensor, weight: Tensor) -> Fired:
        """When neurons fire.

        Between two arrivals the potential ``x``, driven by the current ``c``, has at most one extremum, and
        its place is known. So an interval is free of a crossing, or holds one between a point below and a
        point above the threshold, which bisection then finds.

        Args:
            arrivals: when input spikes arrive ``[N, E]``, in float64; infinite for none.
            weight: ``[out, E]`` in float64.
        """
        x = arrivals.new_zeros(len(arrivals), len(weight))  # [N, out]: the potential
        c = torch.zeros_like(x)  # the current
        fired = Fired(*(x.new_full((*x.shape, self.num_spikes), value) for value in (-1.0, 0.0)))
        for start, gap, added in self.intervals(arrivals, weight):
            x, c = self._cross(x, c + added, start, gap, fired)
        return fired

    def intervals(self, arrivals: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What lies between arrivals: when it starts ``[N, 1]``, how long it is ``[N, 1]``, and the weights
        that arrive at its start ``[N, out]``."""
        last = int((arrivals < self.T).sum(1).amax()) if arrivals.numel() else 0
        arrivals, order = arrivals.clamp(max=self.T).sort(dim=1, stable=True)
        ends = torch.cat([arrivals[:, 1:], torch.full_like(arrivals[:, :1], self.T)], 1)
        for k in range(last):
            start = arrivals[:, k : k + 1]
            yield start, ends[:, k : k + 1] - start, weight.t()[order[:, k]]

    def _cross(self, x: Tensor, c: Tensor, start: Tensor, gap: Tensor, fired: Fired) -> tuple[Tensor, Tensor]:
        """Enter the spikes of an interval into ``fired``; what ``x`` and ``c`` are at its end."""
        spent = torch.zeros_like(x)  # of the interval
        while True:
            left = gap - spent
            top = self._top(x, c, left)
            rest = fired.time < 0  # [N, out, num_spikes]
            new = (self._potential(x, c, top) >= self.v_threshold) & rest[..., -1]
            if not bool(new.any()):
                return self._potential(x, c, left), self._decayed(c, left)
            after = bisected(lambda lag, x=x, c=c: self._potential(x, c, lag) >= self.v_threshold, top)
            decayed = self._decayed(c, after)
            place = new[..., None] & rest & (rest.cumsum(-1) == 1)  # the first that is free
            fired.time[place] = (start + spent + after)[new]
            fired.slope[place] = self._slope(decayed)[new]
            spent = torch.where(new, spent + after, spent)
            x = torch.where(new, self.v_threshold - self.refractory, x)
            c = torch.where(new, decayed, c)

    def _potential(self, x: Tensor, c: Tensor, lag: Tensor) -> Tensor:
        return x * (-lag / self.tau).exp() + c * self.psp(lag)

    def _decayed(self, c: Tensor, lag: Tensor) -> Tensor:
        return c * (-lag / self.tau_s).exp()

    def _slope(self, c: Tensor) -> Tensor:
        """Of a potential at the threshold."""
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
