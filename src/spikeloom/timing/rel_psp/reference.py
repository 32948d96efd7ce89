"""When non-leaky potentials that rise linearly after each spike reach the threshold, in plain PyTorch.

The truth that the compiled loops are tested against. One neuron per window of a sample, whose spikes come
one after the other; nothing of the size samples x inputs x neurons is ever held.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.timing.rel_psp.geometry import Geometry

CHUNK = 1 << 22  # spike times of windows that are written out at once


def first_crossing(
    times: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, threshold: float, T: float
) -> tuple[Tensor, Tensor]:
    """When each neuron fires, and how fast its potential rises then.

    Args:
        times: of the input ``[N, channels * height * width]``, negative for no spike.
        weight: ``[channels * rows * columns, out]``.
        bias: weights ``[out]`` of a spike at time 0 that comes with each sample.
        geometry: which input reaches which neuron.
        threshold: greater than 0.
        T: end of the window; what comes later does not count.
    Returns:
        times, -1 for no spike, and slopes, 0 for no spike: both ``[N, positions, out]``
    """
    found = [_fire(rows, weight, bias, threshold, T) for rows in _windows(times, geometry)]
    out, slope = (torch.cat(parts) for parts in zip(*found, strict=True))
    shape = len(times), geometry.positions, weight.shape[1]
    return out.view(shape), slope.view(shape)


def gradients(
    times: Tensor, weight: Tensor, geometry: Geometry, out: Tensor, scale: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of the input's times and of the weights.

    Args:
        times, weight, geometry, out: as for :func:`first_crossing`, ``out`` the times that it found.
        scale: the gradient of ``out`` over the slope, ``[N, positions, out]``; 0 where there is no spike.
        wanted: which of the two gradients.
    """
    out, scale = out.flatten(0, 1), scale.flatten(0, 1)
    to_weight = torch.zeros_like(weight)
    parts, start = [], 0
    for rows in _windows(times, geometry):
        late, part = out[start : start + len(rows)], scale[start : start + len(rows)]
        to_rows = torch.zeros_like(rows)
        for place, time in enumerate(rows.unbind(1)):
            since = time[:, None] - late  # negative for a spike that counts
            counts = (time >= 0)[:, None] & (since < 0)
            to_weight[place] += torch.where(counts, part * since, 0.0).sum(0)
            to_rows[:, place] = torch.where(counts, part, 0.0) @ weight[place]
        parts.append(to_rows)
        start += len(rows)
    return _folded(torch.cat(parts), geometry) if wanted[0] else None, to_weight


def _fire(
    times: Tensor, weight: Tensor, bias: Tensor | None, threshold: float, T: float
) -> tuple[Tensor, Tensor]:
    """As :func:`first_crossing`, for samples ``[N, in]`` of a linear layer."""
    counting = (times >= 0) & (times <= T)
    ordered, order = torch.where(counting, times, float("inf")).sort(dim=1, stable=True)
    shape = len(times), weight.shape[1]
    rise, moment = times.new_zeros(shape), times.new_zeros(shape)  # the potential is rise * time - moment
    rise = rise if bias is None else rise + bias
    out, slope = torch.full_like(rise, -1.0), torch.zeros_like(rise)
    before = times.new_zeros(len(times), 1)
    most = int(counting.sum(1).amax()) if len(times) else 0
    # The end of the window comes last, where nothing arrives.
    ordered, order = F.pad(ordered, (0, 1), value=float("inf")), F.pad(order, (0, 1))
    for k in range(most + 1):
        there = ordered[:, k : k + 1] <= T
        now = torch.where(there, ordered[:, k : k + 1], T)
        v = rise * now - moment
        fires = (v >= threshold) & (rise > 0)  # by rounding, one that does not rise can seem to reach it
        time = now - (v - threshold) / rise
        # Rounding must not put it among the spikes that caused it.
        time = torch.where(time > before, time, torch.nextafter(before, now))
        out, slope = torch.where(fires, time, out), torch.where(fires, rise, slope)
        moment = moment.masked_fill(fires, float("inf"))
        before = now
        added = torch.where(there, weight[order[:, k]], 0.0)
        rise, moment = rise + added, moment + added * now
    return out, slope


def _windows(times: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    """The spike times that each window sees, ``[windows, channels * taps]``, for some samples at a time."""
    size = max(1, CHUNK // (geometry.positions * geometry.channels * geometry.taps))
    return (geometry.windows(part) for part in times.split(size))


def _folded(windows: Tensor, geometry: Geometry) -> Tensor:
    """Gradients of what windows saw, added up over the windows that saw the same spike."""
    inputs = windows.shape[1]
    columns = windows.view(-1, geometry.positions, inputs).transpose(1, 2)
    size, kernel = (geometry.height, geometry.width), (geometry.rows, geometry.columns)
    images = F.fold(columns, size, kernel, padding=geometry.padding, stride=geometry.stride)
    return images.flatten(1)
