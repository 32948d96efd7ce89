"""A figure of how an e-prop layer comes to an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikeloom import plot
from spikeloom.learning.eprop.layer import EProp
from spikeloom.plot.axes import stacked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 5  # thresholds


@torch.no_grad()
def draw_decision(net: EProp, x_seq: Tensor, title: str = "") -> dict[str, Figure]:
    """What the layer does with one sequence: spikes, the thresholds that rise most, and the outputs.

    Args:
        net: a layer in multi-step mode, reset; its memories are then those after the sequence.
        x_seq: spikes of one sample ``[T, 1, in_features]``.
        title: of the figure.
    Returns:
        the figure, as ``'decision'``
    Example:
        >>> net = EProp(4, 10, 2, beta=0.1, step_mode="m")
        >>> figure = draw_decision(net, torch.ones(20, 1, 4))["decision"]
        >>> [panel.get_ylabel() for panel in figure.axes]
        ['neuron', 'neuron', 'threshold', 'output']
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
    panels[2].plot(net.v_threshold + rise[:, highest])
    panels[2].legend([f"neuron {index}" for index in highest.tolist()], fontsize="small", loc="upper left")
    panels[2].set(title="The thresholds that rise most", ylabel="threshold")
    panels[3].plot(y_seq)
    panels[3].legend([f"output {index}" for index in range(y_seq.shape[1])], fontsize="small", loc="best")
    panels[3].set(title="Outputs", xlabel="time step", ylabel="output")
    return {"decision": figure}
