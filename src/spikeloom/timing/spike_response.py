"""The spike response model: how input spikes and a neuron's own spikes move its potential, and when it fires.

This is the plain PyTorch form, which the compiled one in spike_prop/loops.py is tested against.
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
LONGEST = 500  # time constants in a window: exponentials of 700 and more overflow


class Fired(NamedTuple):
    """When neurons fire.

    Args:
        time: ``[N, out, num_spikes]`` in float64; -1 where a neuron does not fire, or not again.
        slope: of the potential at these times; 0 where there is none.
    """

    time: Tensor
    slope: Tensor

    def to(self, dtype: torch.dtype) -> Fired:
        """Both as a layer gives them: in this type, and without a dimension for one spike."""
        time, slope = (one.squeeze(2) if one.shape[2] == 1 else one for one in self)
        return Fired(time.to(dtype), slope.to(dtype))


class Settings(NamedTuple):
    """What gradients need to know, and which backend computes.

    Args:
        min_slope: the least slope that gradients are divided by.
        wake: strength of the pull on neurons that fire for no sample; 0 for none.
        backend: ``'auto'``, ``'numba'`` or ``'torch'``.
    """

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
    r"""A potential that is the sum of the neuron's responses to spikes.

    .. math:: x(t) = \sum_e w_e\, \varepsilon(t - a_e) - \sum_m R\, e^{-(t - t_m)/\tau},\quad
              \varepsilon(s) = \frac{s}{\tau} e^{1 - s/\tau},\; s > 0

    Input spike :math:`e` arrives at :math:`a_e`; :math:`t_m` are the neuron's own spikes so far. The neuron
    fires when :math:`x` reaches the threshold.

    Args:
        tau: time constant, and the time at which :math:`\varepsilon` has its peak, which is 1.
        v_threshold: potential at which a neuron fires.
        T: end of the window; no spike comes later.
        refractory: ``R``, by how much a neuron's own spike lowers its potential.
        num_spikes: that a neuron may fire; after the last it is silent.
    Raises:
        ValueError: a value is not positive, or ``T`` is out of all proportion to ``tau``.
    Source: Bohte, Kok & La Poutré, Neurocomputing 48, 2002; Gerstner & Kistler, Spiking Neuron Models, 2002.
    """

    tau: float
    v_threshold: float
    T: float
    refractory: float
    num_spikes: int = 1

    def __post_init__(self) -> None:
        for name in ("tau", "v_threshold", "T", "refractory"):
            object.__setattr__(self, name, float(checked_inside(name, getattr(self, name), 0)))
        if self.T / self.tau > LONGEST:
            raise ValueError(f"`T` must be at most {LONGEST} times `tau`, got {self.T} and {self.tau}.")
        checked_count("num_spikes", self.num_spikes)

    def psp(self, lag: Tensor) -> Tensor:
        r"""The response :math:`\varepsilon` to a spike that arrived ``lag`` ago; 0 before it."""
        lag = lag.clamp(min=0)  # before the spike the exponential would overflow
        return lag / self.tau * (1 - lag / self.tau).exp()

    def psp_slope(self, lag: Tensor) -> Tensor:
        r"""The derivative of :math:`\varepsilon`; 0 before the spike."""
        slope = (1 - lag / self.tau) / self.tau * (1 - lag.clamp(min=0) / self.tau).exp()
        return torch.where(lag > 0, slope, 0.0)

    def own(self, lag: Tensor) -> Tensor:
        """How much the neuron's own spike, ``lag`` ago, still lowers its potential; 0 before it."""
        return torch.where(lag >= 0, self.refractory * (-lag.clamp(min=0) / self.tau).exp(), 0.0)

    @torch.no_grad()
    def potential(self, arrivals: Tensor, weight: Tensor, fired: Tensor, at: Tensor) -> Tensor:
        """The potentials ``[N, out, len(at)]`` at the times ``at`` of neurons that have fired at the times
        ``fired`` ``[N, out, num_spikes]``; the others are as for :meth:`fire`."""
        points = []
        for now in at.double():
            own = torch.where(fired < 0, 0.0, self.own(now - fired)).sum(2)
            points.append(self.psp(now - arrivals) @ weight.t() - own)
        return torch.stack(points, -1)

    @torch.no_grad()
    def fire(self, arrivals: Tensor, weight: Tensor) -> Fired:
        """When neurons fire.

        Between two arrivals the potential is ``(x + c s) exp(-s / tau)``, which has at most one extremum, and
        its place is known. So an interval is free of a crossing, or holds one between a point below and a
        point above the threshold, which bisection then finds.

        Args:
            arrivals: when input spikes arrive ``[N, E]``, in float64; infinite for none.
            weight: ``[out, E]`` in float64.
        """
        x = arrivals.new_zeros(len(arrivals), len(weight))  # [N, out]: the potential
        c = torch.zeros_like(x)
        fired = Fired(*(x.new_full((*x.shape, self.num_spikes), value) for value in (-1.0, 0.0)))
        for start, gap, added in self.intervals(arrivals, weight):
            x, c = self._cross(x, c + self._kick(added), start, gap, fired)
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

    def _kick(self, added: Tensor) -> Tensor:
        """How much arriving weights add to ``c``."""
        return added * (math.e / self.tau)

    def _potential(self, x: Tensor, c: Tensor, lag: Tensor) -> Tensor:
        return (x + c * lag) * (-lag / self.tau).exp()

    def _decayed(self, c: Tensor, lag: Tensor) -> Tensor:
        return c * (-lag / self.tau).exp()

    def _slope(self, c: Tensor) -> Tensor:
        """Of a potential at the threshold."""
        return c - self.v_threshold / self.tau

    def _top(self, x: Tensor, c: Tensor, gap: Tensor) -> Tensor:
        """Where the potential is highest in ``(0, gap]`` if it starts below the threshold: at its maximum, or
        at the end. Without a maximum, ``c <= 0``, it cannot rise above 0."""
        peak = self.tau - x / c
        return torch.where((c > 0) & (peak > 0) & (peak < gap), peak, gap)

    def gradients(
        self, arrivals: Tensor, weight: Tensor, fired: Fired, grad: Tensor, min_slope: float
    ) -> tuple[Tensor, Tensor]:
        r"""The gradients of arrivals and weights, by the implicit rule :math:`dt = -dx / x'(t)`.

        Args:
            arrivals, weight, fired: as for :meth:`fire`, and what it gave.
            grad: the gradient of the times ``[N, out, num_spikes]``.
            min_slope: a slope below it counts as this.
        """
        grad_arrivals, grad_weight = torch.zeros_like(arrivals), torch.zeros_like(weight)
        grad = torch.where(fired.time >= 0, grad, 0.0)
        for k in reversed(range(self.num_spikes)):
            time = fired.time[..., k : k + 1]  # [N, out, 1]
            scaled = grad[..., k] / fired.slope[..., k].clamp(min=min_slope)
            lag = time - arrivals[:, None]  # [N, out, E]
            grad_weight -= torch.einsum("no,noe->oe", scaled, self.psp(lag))
            grad_arrivals += torch.einsum("no,oe,noe->ne", scaled, weight, self.psp_slope(lag))
            earlier = self.own(time - fired.time[..., :k]) / self.tau
            grad = torch.cat([grad[..., :k] + scaled[..., None] * earlier, grad[..., k:]], -1)
        return grad_arrivals, grad_weight
