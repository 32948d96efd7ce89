"""Figures of one pattern in a network of layers in continuous time: its spikes, and the potentials."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spikeloom.plot.axes import GREY, stacked
from spikeloom.timing.figures import draw_spike_times
from spikeloom.timing.spike_response import EventProp, PeakPotential, SpikeProp

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 500  # of a curve
SHOWN = 10  # neurons of a layer at most
DRAWN = SpikeProp, EventProp, PeakPotential


@torch.no_grad()
def draw_potentials(
    net: nn.Sequential, times: Tensor, title: str = "", xlabel: str = "time"
) -> dict[str, Figure]:
    """What the layers of a network do with one pattern.

    Args:
        net: SpikeProp or EventProp layers; the last may be a PeakPotential.
        times: spike times of one sample ``[1, in_features]``.
        title: of both figures.
        xlabel: the time, with its unit.
    Returns:
        ``'raster'``, when which neurons spike; ``'membrane'``, the potentials of each layer's first neurons
    Raises:
        ShapeError: ``times`` holds several patterns.
    Example:
        >>> net = nn.Sequential(SpikeProp(4, 3), SpikeProp(3, 2))
        >>> figures = draw_potentials(net, torch.tensor([[3.0, 5.0, -1.0, 0.0]]))
        >>> [panel.get_title() for panel in figures["membrane"].axes]
        ["layer '0': 3 of 3 neurons, which fire once", "layer '1': 2 of 2 neurons, which fire once"]
    """
    layers = [(name, layer) for name, layer in net.named_children() if isinstance(layer, DRAWN)]
    silent = bool(layers) and isinstance(layers[-1][1], PeakPotential)
    firing = OrderedDict(list(net.named_children())[: -1 if silent else None])
    figures = draw_spike_times(nn.Sequential(firing), times, title, xlabel)
    figures["membrane"], panels = stacked(title, len(layers), 2.8, sharex=True)
    for ax, (name, layer) in zip(panels, layers, strict=True):
        at = torch.linspace(0, layer.T, POINTS)
        potentials = layer.potential(times, at)[0, :SHOWN].cpu()  # [neurons, POINTS]
        times = layer(times)
        for index, potential in enumerate(potentials):
            ax.plot(at, potential, linewidth=1.2, label=f"neuron {index}", **_style(index, len(potentials)))
        ax.set_title(f"layer '{name}': {len(potentials)} of {layer.out_features} neurons, {_fires(layer)}")
        if isinstance(layer, PeakPotential):
            most, where = potentials.max(1)
            _legend(ax)
            ax.plot(at[where], most, "k.", markersize=6)
            ax.set_ylabel("membrane potential")
            continue
        threshold, spikes = layer.response.v_threshold, times[0, : len(potentials)].flatten().cpu()
        spikes = spikes[spikes >= 0]
        ax.axhline(threshold, color=GREY, linestyle="dashed", linewidth=0.8, label="threshold")
        ax.plot(spikes, torch.full_like(spikes, threshold), "k|", markersize=12, label="spike")
        # What comes after the last spike may rise far above the threshold, and does not matter.
        ax.set_ylim(min(-0.2 * threshold, float(potentials.min())), 2.5 * threshold)
        ax.set_ylabel("membrane potential, cut off")
        _legend(ax)
    panels[-1].set_xlabel(xlabel)
    return figures


def _style(index: int, number: int) -> dict[str, Any]:
    """A colour for one of ``number`` neurons; two neighbours differ in brightness and in their dashes."""
    from matplotlib import colormaps

    return {
        "color": colormaps["viridis"](0.9 * index / max(1, number - 1)),
        "linestyle": "-" if index % 2 == 0 else "--",
    }


def _legend(ax: Axes) -> None:
    """What each line is, beside the panel."""
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="x-small", frameon=False)


def _fires(layer: SpikeProp | EventProp | PeakPotential) -> str:
    if isinstance(layer, PeakPotential):
        return "which do not fire; dots: highest potentials"
    num_spikes = layer.response.num_spikes
    return "which fire once" if num_spikes == 1 else f"which fire up to {num_spikes} times"
