"""A figure of how an e-prop layer comes to an answer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikeloom import plot
from spikeloom.learning.eprop.layer import EProp
from spikeloom.plot.axes import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, stacked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 5  # thresholds
COLORS = BLUE, VERMILLION, GREEN, ORANGE, PURPLE


@torch.no_grad()
def draw_decision(
    net: EProp,
    x_seq: Tensor,
    title: str = "",
    *,
    xlabel: str = "time step",
    groups: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> dict[str, Figure]:
    """What the layer does with one sequence: spikes, the thresholds that rise most, and the outputs.

    Args:
        net: a layer in multi-step mode, reset; its memories are then those after the sequence.
        x_seq: spikes of one sample ``[T, 1, in_features]``.
        title: of the figure.
        xlabel: the time, with its unit.
        groups: what the inputs stand for, in groups of one size, the first on top; default: nothing is said.
        classes: what the outputs stand for; default: their numbers.
    Returns:
        the figure, as ``'decision'``
    Example:
        >>> net = EProp(4, 10, 2, beta=0.1, step_mode="m")
        >>> figure = draw_decision(net, torch.ones(20, 1, 4))["decision"]
        >>> [panel.get_ylabel() for panel in figure.axes]
        ['neuron', 'neuron', 'threshold (a. u.)', 'output (a. u.)']
    """
    y_seq, z_seq = net(x_seq)[:, 0].cpu(), net.z_seq[:, 0].cpu()
    thresholds = [torch.zeros(net.num_neurons)]
    for z in z_seq:
        thresholds.append(net.rho * thresholds[-1] + z)
    rise = torch.stack(thresholds[:-1]) * torch.as_tensor(net.beta, device="cpu")  # [T, neurons]
    highest = rise.amax(0).argsort(descending=True, stable=True)[:SHOWN].sort().values
    figure, panels = stacked(title, 4, 2.4, sharex=True)
    for ax, spikes, kind in ((panels[0], x_seq[:, 0].cpu(), "input"), (panels[1], z_seq, "recurrent")):
        count = f"{spikes.shape[1]} {kind} neurons, {int(spikes.sum())} spikes"
        plot.raster(spikes, ax, title=count)
        ax.set_xlabel("")
    _name_groups(panels[0], x_seq.shape[2], groups)
    for index, color in zip(highest.tolist(), COLORS, strict=False):
        panels[2].plot(net.v_threshold + rise[:, index], color=color, label=f"neuron {index}")
    panels[2].set(title=f"The {len(highest)} thresholds that rise most", ylabel="threshold (a. u.)")
    names = classes or [f"output {index}" for index in range(y_seq.shape[1])]
    for output, name, color in zip(y_seq.t(), names, itertools.cycle(COLORS)):
        panels[3].plot(output, color=color, label=name)
    panels[3].set(title="Outputs", xlabel=xlabel, ylabel="output (a. u.)")
    for panel in panels[2:]:
        panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small", frameon=False)
    return {"decision": figure}


def _name_groups(ax: Axes, num_inputs: int, groups: Sequence[str]) -> None:
    """The names of groups of inputs, at the right of their rows."""
    if not groups:
        return
    size = num_inputs / len(groups)
    side = ax.secondary_yaxis("right")
    side.set_yticks([size * (index + 0.5) - 0.5 for index in range(len(groups))], list(groups))
    side.tick_params(length=0)
