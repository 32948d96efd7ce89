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
    for part, color, label in ((stronger, BLUE, "strengthens"), (~stronger, VERMILLION, "weakens")):
        ax.vlines(delays[part].numpy(), 0, changes[part].numpy(), color=color, linewidth=2, label=label)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.legend(loc="upper left")
    ax.set(
        title="STDP window",
        xlabel="time from spike before to spike behind, in time steps",
        ylabel="change of the weight",
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
        times = spikes[:, index].nonzero().flatten().numpy()
        ax.vlines(times, -0.4, -0.1, color=GREY, linewidth=1, label="spike")
        ax.plot(traces[:, index].numpy(), color=color, label="trace")
        ax.set(title=f"Spikes and trace {side} the synapse", ylabel="trace", xlim=(0, len(spikes)))
        ax.tick_params(labelbottom=False)  # the time steps stand below the weight
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small", frameon=False)
    axes[2].plot(weight.numpy(), color="black")
    axes[2].set(title="Weight", xlabel="time step", ylabel="weight", xlim=(0, len(weight)))
