"""When a potential that is a difference of exponentials between spikes first reaches the threshold."""

from collections.abc import Iterator

import torch
from torch import Tensor

from spikeloom.timing.psp import DoubleExponential
from spikeloom.timing.spike_response import bisected
from spikeloom.timing.spikes import Spikes


@torch.no_grad()
def first_crossing(
    kernel: DoubleExponential, arrivals: Iterator[tuple[Tensor, Tensor]], threshold: float, T: int
) -> Tensor:
    """The first time in ``[0, T - 1]`` at which each potential reaches the threshold, also between steps.

    Between two arrivals a potential has at most one extremum, whose place is known in closed form. So an
    interval is either free of a crossing, or holds one between a point below and a point above the threshold,
    which bisection then finds.

    Args:
        kernel: of the postsynaptic potential.
        arrivals: times ``[N, 1]`` in order, and the weights ``[N, out]`` that arrive then; in float64.
        threshold: firing threshold.
        T: time steps of the window.
    Returns:
        ``[N, out]`` in float64; -1 where the threshold is not reached
    """
    now, first = next(arrivals)  # nothing moves before
    slow, fast = first.clone(), first.clone()
    at = torch.full_like(first, -1.0)  # start of the interval of the crossing
    held = torch.zeros(3, *first.shape, dtype=first.dtype, device=first.device)  # slow, fast, point above
    for then, added in _closed(arrivals, now, T):
        gap = then - now  # [N, 1]
        top = _top(kernel, slow, fast, gap)
        new = (at < 0) & (_potential(kernel, slow, fast, top) >= threshold)
        at = torch.where(new, now, at)
        held = torch.where(new, torch.stack([slow, fast, top]), held)
        slow = slow * (-gap / kernel.tau).exp() + added
        fast = fast * (-gap / kernel.tau_s).exp() + added
        now = then
    found = at + bisected(lambda lag: _potential(kernel, held[0], held[1], lag) >= threshold, held[2])
    return torch.where((at < 0) | (found > T - 1), -1.0, found)


def arrivals_on_grid(weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Arrivals at whole time steps, from arriving weights ``[N, out, T]``."""
    for step in range(weights.shape[-1]):
        yield weights.new_full((len(weights), 1), step), weights[..., step]


def arrivals_one_by_one(spikes: Spikes, weight: Tensor, num_samples: int, T: int) -> Iterator:
    """Arrivals at any times: entry ``k`` is each sample's ``k``-th spike. ``weight`` is ``[in, out]``."""
    order = spikes.time.argsort(stable=True)
    order = order[spikes.sample[order].argsort(stable=True)]  # by sample, and then by time
    counts = spikes.sample.bincount(minlength=num_samples)  # [N]
    start = counts.cumsum(0) - counts
    for k in range(max(1, int(counts.amax()) if num_samples else 0)):
        there = k < counts
        spike = order[torch.where(there, start + k, 0)]  # [N]; any for a sample that has no more
        time = torch.where(there, spikes.time[spike], T)
        yield time[:, None], weight[spikes.source[spike]] * there[:, None]


def _closed(arrivals: Iterator[tuple[Tensor, Tensor]], now: Tensor, T: int) -> Iterator:
    """The arrivals, and the end of the window, where nothing arrives."""
    yield from arrivals
    yield torch.full_like(now, T), torch.zeros_like(now)


def _potential(kernel: DoubleExponential, slow: Tensor, fast: Tensor, t: Tensor) -> Tensor:
    return kernel.scale * (slow * (-t / kernel.tau).exp() - fast * (-t / kernel.tau_s).exp())


def _top(kernel: DoubleExponential, slow: Tensor, fast: Tensor, gap: Tensor) -> Tensor:
    """Where the potential is highest in ``(0, gap]`` if it starts below the threshold: at its maximum, or at
    the end. A minimum lies below 0, from where it does not come back."""
    peak = (fast * kernel.tau / (slow * kernel.tau_s)).log() / (1 / kernel.tau_s - 1 / kernel.tau)
    inside = (peak > 0) & (peak < gap) & (slow > 0)  # NaN is not
    return torch.where(inside, peak, gap)
