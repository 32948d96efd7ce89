"""Figures of one pattern: the input spikes, and the potentials that they cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikeloom import plot
from spikeloom.errors import ShapeError
from spikeloom.timing.spikes import list_spikes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spikeloom.timing.tempotron import Tempotron


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
    from matplotlib.figure import Figure

    times = times[None] if times.dim() == 1 else times
    if len(times) != 1:
        raise ShapeError(
            f"`times` must be one pattern [in_features], got {list(times.shape)}. Choose one row."
        )
    v = neuron(times, "v")[0].t()  # [T, out]
    spikes = list_spikes(times)
    trains = torch.zeros(neuron.T, neuron.in_features)
    trains[spikes.time.long(), spikes.source] = 1
    shown = min(neuron.out_features, 10)
    figures = {name: Figure(figsize=(8, 4), layout="constrained") for name in ("raster", "membrane")}
    figures["membrane"].set_size_inches(8, 3 + 0.45 * shown)
    for figure in figures.values():
        figure.suptitle(title)
    counted = f"input: {neuron.in_features} neurons, {len(spikes.time)} spikes"
    plot.raster(trains, figures["raster"].subplots(), title=counted)
    plot.membrane(
        v,
        ax=figures["membrane"].subplots(),
        v_threshold=neuron.v_threshold,
        neurons=range(shown),
        title="potentials of the output neurons",
    )
    return figures
