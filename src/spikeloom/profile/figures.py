"""The figure of a profile: firing rates, energy, and memory against time steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikeloom.plot.axes import BLUE, GREY, VERMILLION, integer_ticks
from spikeloom.profile.memory import TrainingMemory
from spikeloom.profile.result import AC_ENERGY, MAC_ENERGY, Profile
from spikeloom.profile.table import joules, shortened, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.25  # inches of a bar


def draw_profile(
    profile: Profile,
    memory: TrainingMemory | None = None,
    title: str = "",
    *,
    mac: float = MAC_ENERGY,
    ac: float = AC_ENERGY,
) -> Figure:
    """Firing rates of the neurons, energy of the layers with synapses, and what training keeps against T.

    Args:
        profile: what :func:`count` returns.
        memory: what :func:`training_memory` returns; without it, there are two panels.
        title: of the figure.
        mac, ac: as for :meth:`Profile.energy`.
    Example:
        >>> import torch
        >>> from torch import nn
        >>> from spikeloom import neuron, profile
        >>> net = nn.Sequential(nn.Linear(4, 3), neuron.IFNode(step_mode="m"))
        >>> len(draw_profile(profile.count(net, torch.ones(8, 2, 4))).axes)
        2
    """
    from matplotlib.figure import Figure

    num_neurons = sum(layer.firing_rate is not None for layer in profile.layers)
    num_synapses = sum(layer.input_rate is not None for layer in profile.layers)
    rows = max(num_neurons, 2 * num_synapses, 10)
    num_panels = 3 if memory else 2
    figure = Figure(figsize=(13.2 if memory else 10.4, 1.4 + ROW * rows), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, num_panels)
    _draw_rates(profile, panels[0])
    _draw_energy(profile, panels[1], mac, ac)
    if memory:
        _draw_memory(memory, panels[2])
    return figure


def _draw_rates(profile: Profile, ax: Axes) -> None:
    """A bar for each layer of neurons."""
    rates = {layer.name: layer.firing_rate for layer in profile.layers if layer.firing_rate is not None}
    bars = ax.barh(range(len(rates)), list(rates.values()), color=BLUE)
    ax.bar_label(bars, [f"{100 * rate:.1f} %" for rate in rates.values()], padding=3, fontsize="small")
    ax.margins(x=0.2)
    _name_rows(ax, list(rates))
    ax.xaxis.set_major_formatter(lambda rate, _: f"{100 * rate:g}")
    ax.set(title="Firing rate", xlabel="spikes per neuron and time step, in %", ylabel="layer of neurons")


def _draw_energy(profile: Profile, ax: Axes, mac: float, ac: float) -> None:
    """Two bars for each layer with synapses, above one another: spiking, and as an ANN."""
    layers = [layer for layer in profile.layers if layer.input_rate is not None]
    snn, ann = profile.energy(mac, ac), profile.ann_energy(mac)
    for offset, color, name, total, energies in (
        (-0.2, BLUE, "SNN", snn, [layer.macs * mac + layer.acs * ac for layer in layers]),
        (0.2, GREY, "ANN", ann, [layer.ann_macs * mac for layer in layers]),
    ):
        places = [index + offset for index in range(len(layers))]
        bars = ax.barh(places, energies, 0.4, color=color, label=f"{name}, {joules(total)} in all")
        ax.bar_label(bars, [joules(energy) for energy in energies], padding=3, fontsize="small")
    ax.margins(x=0.25)
    _name_rows(ax, [layer.name for layer in layers])
    ax.locator_params(axis="x", nbins=5)
    ax.xaxis.set_major_formatter(lambda energy, _: joules(energy) if energy else "0")
    ax.set(
        title="Energy of the synaptic operations", xlabel="energy per sample", ylabel="layer with synapses"
    )
    if layers:
        ax.legend(fontsize="small")


def _draw_memory(memory: TrainingMemory, ax: Axes) -> None:
    """What is kept against time steps, and what does not depend on them."""
    unit = 2**20
    fixed = memory.parameters + memory.gradients + memory.optimizer
    steps, saved = list(memory.saved), [number / unit for number in memory.saved.values()]
    slope = f",\n{size(memory.per_step)} per step" if memory.per_step else ""
    ax.plot(steps, saved, "o-", color=VERMILLION, label=f"kept for the backward pass{slope}")
    constant = f"weights, gradients,\noptimiser: {size(fixed)}"
    ax.axhline(fixed / unit, color=GREY, linestyle="--", label=constant)
    ax.set_xlim(left=0)
    ax.set_ylim(0, 1.4 * max(*saved, fixed / unit))
    integer_ticks(ax, y=False)
    ax.grid(alpha=0.3)
    samples = "sample" if memory.num_samples == 1 else "samples"
    title = f"Memory of training, {memory.num_samples} {samples}"
    ax.set(title=title, xlabel="time steps T", ylabel="memory in MiB")
    ax.legend(fontsize="small", loc="upper left")


def _name_rows(ax: Axes, names: list[str]) -> None:
    """A name for each row, the first on top."""
    ax.set_yticks(range(len(names)), [shortened(name) for name in names])
    if names:
        ax.set_ylim(len(names) - 0.5, -0.5)
    else:
        ax.text(0.5, 0.5, "no such layers", ha="center", va="center", transform=ax.transAxes)
