"""Which neuron fires when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from spikeloom.plot.arrays import spikes_by_neuron, which_sample
from spikeloom.plot.axes import (
    BLUE,
    FEW,
    GREY,
    SKY,
    axes_or_new,
    count,
    integer_ticks,
    neuron_rows,
    size_in_points,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def raster(
    spikes: Any,
    ax: Axes | None = None,
    *,
    sample: int | None = None,
    firing_rate: bool = False,
    title: str | None = None,
    xlabel: str = "time step",
    ylabel: str = "neuron",
    color: str = BLUE,
    int_x_ticks: bool = True,
    int_y_ticks: bool = True,
    firing_rate_title: str = "firing rate",
    figsize: tuple[float, float] = (8, 4),
    dpi: float | None = None,
) -> Axes:
    """Spike raster: a row per neuron, a tick per spike, the first neuron on top.

    Args:
        spikes: 0 or 1, whole numbers, or multiples of one size: any value but 0 counts as a spike.
        ax: where to draw; default: a new pyplot figure.
        sample: which one of ``[T, N, ...]``; default: two dimensions are ``[T, neurons]``, of more the first.
        firing_rate: whether to draw, at the right, how often each neuron fires, in spikes per time step.
        title: default: the numbers of neurons and of time steps, and the sample, if there are several.
        xlabel, ylabel, color: texts and the spikes' colour.
        int_x_ticks, int_y_ticks: whether ticks stand at whole numbers only.
        firing_rate_title: title of the firing rates.
        figsize, dpi: of the new figure, in inches and dots per inch.
    Shape:
        spikes ``[T]``, ``[T, neurons]`` or ``[T, N, *]``.
    Returns:
        the axes of the raster
    Raises:
        ShapeError, TypeError, ValueError: ``spikes`` is empty, of another shape, not numeric, not finite, or
            no spikes, such as potentials.
    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> ax = raster(torch.eye(5), Figure().subplots())
        >>> ax.get_title()
        'Spikes of 5 neurons over 5 time steps'
    """
    array = spikes_by_neuron("spikes", spikes, sample)
    num_steps, num_neurons = array.shape
    ax = axes_or_new(ax, figsize, dpi)
    steps, neurons = np.nonzero(array)
    half, line_width = _spike_size(ax, num_steps, num_neurons)
    # Unsnapped: thin rows would be rounded to differing heights, a pattern that is not in the data.
    ax.vlines(steps, neurons - half, neurons + half, colors=color, linewidths=line_width, snap=False)
    if len(steps) == 0:
        ax.text(0.5, 0.5, "no spikes", transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.set_xlim(-0.5, num_steps - 0.5)
    neuron_rows(ax, num_neurons, int_y_ticks)
    integer_ticks(ax, x=int_x_ticks, y=False)
    if title is None:
        title = f"Spikes of {count(num_neurons, 'neuron')} over {count(num_steps, 'time step')}"
        title += which_sample(spikes, sample)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if firing_rate:
        _draw_rates(ax, (array != 0).mean(0), firing_rate_title)
    return ax


def _spike_size(ax: Axes, num_steps: int, num_neurons: int) -> tuple[float, float]:
    """Half a spike's height in rows, and its width in points: neither a block nor invisible."""
    width, height = size_in_points(ax)
    row = height / num_neurons
    half = max(0.4, 0.75 / row)
    return half, float(np.clip(0.6 * width / num_steps, 0.7, 2.0 if row > 6 else 4.0))


def _draw_rates(ax: Axes, rates: np.ndarray, title: str) -> None:
    """Bars beside ``ax``, in its rows."""
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    side = make_axes_locatable(ax).append_axes("right", size="18%", pad=0.12, sharey=ax)
    side.stairs(rates, np.arange(len(rates) + 1) - 0.5, orientation="horizontal", fill=True, color=SKY)
    largest = float(rates.max()) or 1.0
    few = len(rates) <= FEW
    side.set_xlim(0, largest * 1.5)  # room for the number at the longest bar
    side.tick_params(axis="y", left=False, labelleft=False)
    side.set_title(title, fontsize="small")
    side.set_xlabel("per time step", fontsize="small")
    if few:  # the numbers themselves, so no axis for them
        side.set_xticks([])
        for neuron, rate in enumerate(rates):
            side.text(rate + 0.04 * largest, neuron, f"{rate:.2f}", va="center", fontsize="small")
    else:
        side.set_xticks([0, largest], ["0", f"{largest:.2g}"], fontsize="small")
    side.spines[["top", "right"]].set_visible(False)
