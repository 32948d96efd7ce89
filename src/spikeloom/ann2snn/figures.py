"""Figures of a conversion: accuracy over time, and the spikes of one sample."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from spikeloom import plot
from spikeloom.ann2snn.network import ConvertedNet
from spikeloom.ann2snn.simulate import outputs_over_time
from spikeloom.errors import ShapeError
from spikeloom.monitor import record
from spikeloom.neuron import IFNode
from spikeloom.plot.axes import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, stacked

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_accuracy(curves: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Accuracy against time steps: a line for each spiking network, a dashed one for each ANN.

    Args:
        curves: by the network's name: the accuracy after each time step, or the one of an ANN.
        title: of the figure.
    Raises:
        ShapeError: there are no curves, or one has no values.
    Example:
        >>> figure = draw_accuracy({"max": [0.3, 0.8, 0.9], "ANN": [0.91]})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['max: 90.00 % at T=3', 'ANN: 91.00 %']
    """
    from matplotlib.figure import Figure

    if not curves:
        raise ShapeError("`curves` must have at least one curve, got none.")
    if empty := [name for name, curve in curves.items() if not len(curve)]:
        raise ShapeError(f"`curves` must have at least one value each, got none for {empty[0]!r}.")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    panel = figure.subplots()
    dashes = itertools.cycle(["--", "-.", ":"])
    colors = itertools.cycle([BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY])
    for name, curve in curves.items():
        last = f"{100 * curve[-1]:.2f} %"
        if len(curve) == 1:
            style = {"linestyle": next(dashes), "color": GREY, "linewidth": 1}
            panel.axhline(100 * curve[0], label=f"{name}: {last}", **style)
        else:
            steps = range(1, len(curve) + 1)
            label = f"{name}: {last} at T={len(curve)}"
            panel.plot(steps, [100 * one for one in curve], color=next(colors), label=label)
    panel.set(xlabel="time steps T", ylabel="test accuracy in %", title=title)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")
    return figure


def draw_spikes(snn: ConvertedNet, x: Tensor, T: int, title: str = "") -> Figure:
    """The spikes of each layer for one sample.

    Args:
        snn: a converted network; it is reset before and after.
        x: one input of the ANN, ``[1, *]``.
        T: time steps.
        title: of the figure.
    Raises:
        ShapeError: ``x`` holds several samples.
    Example:
        >>> from spikeloom.ann2snn import convert
        >>> import torch
        >>> x = torch.rand(1, 3)
        >>> len(draw_spikes(convert(torch.nn.ReLU(), x), x, T=8).axes)
        1
    """
    if len(x) != 1:
        raise ShapeError(f"`x` must be one sample [1, *], got {list(x.shape)}. Choose one.")
    with record(snn, "spike", instance=IFNode) as records:
        outputs_over_time(snn, x, T)
    figure, panels = stacked(title, len(records), 2.8)
    for panel, (place, layer) in zip(panels, records.items(), strict=True):
        spikes = layer["spike"][:, 0].flatten(1)  # [T, neurons]
        name = place.removeprefix("graph_module.").removesuffix(".node")
        counted = f"{spikes.shape[1]} neurons, {int(spikes.sum())} spikes"
        plot.raster(spikes, panel, title=f"layer '{name}': {counted}")
    return figure
