"""Figures of one pattern: its spikes, those that layers answer with, and the potentials that it causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from spikeloom import plot
from spikeloom.errors import ShapeError
from spikeloom.plot.axes import count, neuron_rows, stacked
from spikeloom.timing.spikes import list_spikes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spikeloom.timing.tempotron import Tempotron

SHOWN = 500  # neurons of a layer at most; others are left out at even distances


@torch.no_grad()
def draw_pattern(neuron: Tempotron, times: Tensor, title: str = "") -> dict[str, Figure]:
    """What a tempotron does with one pattern.

    Args:
        neuron: whose potentials are drawn.
        times: spike times ``[in_features]`` or ``[1, in_features]``.
        title: of both figures.
    Returns:
        ``'raster'``, the input spikes, and ``'membrane'``, the potential of each neuron with the threshold
    Raises:
        ShapeError: ``times`` holds several patterns.
        ValueError: a time is refused by the neuron.
    Example:
        >>> from spikeloom.timing import Tempotron
        >>> sorted(draw_pattern(Tempotron(4, 2, T=20), torch.tensor([3.0, 5.0, -1.0, 0.0])))
        ['membrane', 'raster']
    """
    times = times[None] if times.dim() == 1 else times
    _check_one(times, "[in_features]")
    v = neuron(times, "v")[0].t().cpu()  # [T, out]
    spikes = list_spikes(times.cpu())
    trains = torch.zeros(neuron.T, neuron.in_features)
    trains[spikes.time.long(), spikes.source] = 1
    shown = min(neuron.out_features, 10)
    raster, (input_panel,) = stacked(title, 1, 3.6)
    membrane, (potential_panel,) = stacked(title, 1, 2.6 + 0.45 * shown)
    counted = f"input: {count(neuron.in_features, 'neuron')}, {count(len(spikes.time), 'spike')}"
    plot.raster(trains, input_panel, title=counted)
    plot.membrane(
        v,
        ax=potential_panel,
        v_threshold=neuron.v_threshold,
        neurons=range(shown),
        title=f"{shown} of {count(neuron.out_features, 'output neuron')}",
    )
    return {"raster": raster, "membrane": membrane}


@torch.no_grad()
def draw_spike_times(
    net: nn.Sequential, times: Tensor, title: str = "", xlabel: str = "time"
) -> dict[str, Figure]:
    """When the neurons of each layer spike for one pattern.

    Args:
        net: layers that take and return spike times; those with an attribute ``T``, the end of their window,
            are drawn.
        times: spike times of one sample ``[1, *]``.
        title: of the figure.
        xlabel: the time, with its unit.
    Returns:
        ``'raster'``, a panel for the input and for each layer
    Raises:
        ShapeError: ``times`` holds several patterns.
        ValueError: no layer has a window.
    Example:
        >>> from spikeloom.timing import ReLPSPLinear
        >>> net = nn.Sequential(ReLPSPLinear(4, 3, T=4), ReLPSPLinear(3, 2, T=4))
        >>> figure = draw_spike_times(net, torch.rand(1, 4))["raster"]
        >>> [panel.get_title().split(":")[0] for panel in figure.axes]
        ['input', "layer '0'", "layer '1'"]
    """
    _check_one(times, "[1, *]")
    panels, end = {"input": _by_neuron(times)}, 0.0
    for name, layer in net.named_children():
        times = layer(times)
        if last := getattr(layer, "T", None):
            end = max(end, last)
            panels[f"layer '{name}'"] = _by_neuron(times.masked_fill(times > last, -1))
    if not end:
        raise ValueError("`net` must have a layer on spike times, with an attribute `T`, got none.")
    figure, axes = stacked(title, len(panels), 2.2, sharex=True)
    for ax, (name, trains) in zip(axes, panels.items(), strict=True):
        every = -(-len(trains) // SHOWN)
        neurons, places = (trains[::every] >= 0).nonzero(as_tuple=True)
        spikes = trains[::every][neurons, places]
        ax.plot(spikes.tolist(), (neurons * every).tolist(), "|", color="black", markersize=4)
        ax.set(xlim=(-0.02 * end, 1.02 * end), ylabel="neuron")
        neuron_rows(ax, len(trains))
        some = f", one in {every} drawn" if every > 1 else ""
        ax.set_title(f"{name}: {int((trains >= 0).any(1).sum())} of {len(trains)} neurons spike{some}")
    figure.axes[-1].set_xlabel(xlabel)
    return {"raster": figure}


def _check_one(times: Tensor, shape: str) -> None:
    if times.dim() == 0 or len(times) != 1:
        raise ShapeError(f"`times` must be one pattern {shape}, got {list(times.shape)}. Choose one row.")


def _by_neuron(times: Tensor) -> Tensor:
    """The spike times of one pattern as ``[neurons, spikes of a neuron]``."""
    return times[0] if times.dim() == 3 else times.reshape(-1, 1)
