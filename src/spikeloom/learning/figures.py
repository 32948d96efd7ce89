"""Figures of plasticity: the window of a rule, and what it does along two spike trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from spikeloom.plot.axes import BLUE, GREY, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_window(delays: Tensor, changes: Tensor, ax: Axes) -> None:
    """The change of a weight against the time from the spike before to the spike behind it.

    Args:
        delays, changes: as :func:`stdp_window` returns them, ``[delays]``.
        ax: where to draw.
    """
    stronger = changes > 0
    for part, color in ((stronger, BLUE), (~stronger, VERMILLION)):
        ax.vlines(delays[part].numpy(), 0, changes[part].numpy(), color=color, linewidth=2)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set(
        title="STDP window", xlabel="time from spike before to spike behind (steps)", ylabel="weight change"
    )


def draw_traces(axes: list[Axes], spikes: Tensor, traces: Tensor, weight: Tensor) -> None:
    """Spikes before and behind a synapse with their traces, and its weight below.

    Args:
        axes: three panels, one above the other.
        spikes, traces: before and behind, ``[T, 2]``.
        weight: after each step, ``[T]``.
    """
    sides = (("before", BLUE), ("behind", VERMILLION))
    for index, (side, color) in enumerate(sides):
        ax = axes[index]
        ax.vlines(spikes[:, index].nonzero().flatten().numpy(), 0, 0.3, color=GREY, linewidth=1)
        ax.plot(traces[:, index].numpy(), color=color)
        ax.set(title=f"Spikes and trace {side} the synapse", ylabel="trace")
    axes[2].plot(weight.numpy(), color="black")
    axes[2].set(title="Weight", xlabel="time step", ylabel="weight")
