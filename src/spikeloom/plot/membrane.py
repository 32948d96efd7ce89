"""Membrane potentials over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeloom.errors import ShapeError
from spikeloom.plot.arrays import as_array, spikes_by_neuron, time_by_neuron, which_sample
from spikeloom.plot.axes import (
    BLUE,
    GREY,
    VERMILLION,
    axes_or_new,
    count,
    integer_ticks,
    size_in_points,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_TRACES = 24


def membrane(
    v: Any,
    spikes: Any = None,
    ax: Axes | None = None,
    *,
    v_threshold: Any = 1.0,
    v_reset: float | None = None,
    neurons: Iterable[int] | None = None,
    sample: int | None = None,
    title: str | None = None,
    xlabel: str = "time step",
    ylabel: str | None = None,
    figsize: tuple[float, float] | None = None,
    dpi: float | None = None,
) -> Axes:
    """Membrane potentials with the threshold and the spikes; several neurons are stacked, the first on top.

    Stacked neurons have the potential at the right, on one scale for all.
    A recorded potential is the one after the reset, and so below the threshold: spikes are ticks above it.

    Args:
        v: potentials after each step.
        spikes: of the same shape, as for :func:`raster`; default: none are drawn.
        ax: where to draw; default: a new pyplot figure.
        v_threshold: threshold, dashed: a number, or of the shape of ``v``; ``None`` draws none.
        v_reset: potential after a spike, dotted; ``None`` draws none.
        neurons: which neurons to draw; default: all, 24 at most.
        sample: which one of ``[T, N, ...]``; default: two dimensions are ``[T, neurons]``, of more the first.
        title: default: the numbers of neurons and of time steps, and the sample, if there are several.
        xlabel, ylabel: axis labels.
        figsize, dpi: of the new figure, in inches and dots per inch.
    Shape:
        v and spikes ``[T]``, ``[T, neurons]`` or ``[T, N, *]``.
    Returns:
        the axes
    Raises:
        ShapeError: the shapes differ, or there are too many neurons to read; also as for :func:`raster`.
    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> ax = membrane([0.3, 0.75, 0.0], [0, 0, 1], Figure().subplots(), v_reset=0.0)
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['potential after reset', 'threshold', 'reset', 'spike']
    """
    v_array = time_by_neuron("v", v, sample)
    spike_array = np.zeros_like(v_array) if spikes is None else spikes_by_neuron("spikes", spikes, sample)
    if spike_array.shape != v_array.shape:
        raise ShapeError(f"`spikes` must be as `v`, {list(v_array.shape)}, got {list(spike_array.shape)}.")
    thresholds = None if v_threshold is None else _thresholds(v_threshold, sample, v_array.shape)
    chosen = _chosen(neurons, v_array.shape[1])
    thresholds = None if thresholds is None else thresholds[:, chosen]
    v_array, spike_array = v_array[:, chosen], spike_array[:, chosen]
    num_steps, num_traces = v_array.shape
    ax = axes_or_new(ax, figsize or (8, 3 + 0.45 * (num_traces - 1)), dpi)

    levels = [] if v_reset is None else [v_reset]
    levels += [] if thresholds is None else [thresholds.min(), thresholds.max()]
    low, high = min([*levels, v_array.min()]), max([*levels, v_array.max()])
    height = (high - low) or 1.0
    top = high + 0.06 * height  # spikes stand between here and `tick` above
    tick = 0.18 * height if spikes is not None else 0.0
    offsets = -1.4 * (height + tick) * np.arange(num_traces)
    times = np.arange(num_steps)
    marker = "." if num_steps <= 40 else ""  # a short line needs its points; a single step is nothing else
    traces = ax.plot(times, v_array + offsets, color=BLUE, linewidth=1.2, marker=marker)
    line = {"xmin": -0.5, "xmax": num_steps - 0.5, "linewidth": 0.8}
    if thresholds is not None and (thresholds == thresholds[0, 0]).all():
        ax.hlines(thresholds[0, 0] + offsets, colors=GREY, linestyles="dashed", label="threshold", **line)
    elif thresholds is not None:
        dashed = ax.plot(times, thresholds + offsets, color=GREY, linestyle="dashed", linewidth=0.8)
        dashed[0].set_label("threshold")
    if v_reset is not None:
        ax.hlines(v_reset + offsets, colors=GREY, linestyles="dotted", label="reset", **line)
    if spikes is not None:
        steps, rows = np.nonzero(spike_array)
        base = top + offsets[rows]
        ax.vlines(steps, base, base + tick, colors=VERMILLION, linewidths=1.4, label="spike")
    traces[0].set_label("potential" if spikes is None else "potential after reset")

    ax.set_xlim(-0.5, num_steps - 0.5)
    bottom, top = low + offsets[-1] - 0.25 * height, top + tick + 0.06 * height
    legend_share = min(0.5, 20 / size_in_points(ax)[1])  # one line of text, kept free of traces
    ax.set_ylim(bottom, top + (top - bottom) * legend_share / (1 - legend_share))
    integer_ticks(ax, y=False)
    if num_traces > 1:
        ax.set_yticks((low + high) / 2 + offsets, [str(neuron) for neuron in chosen])
        _scale(ax, low, high, offsets)
    ax.legend(loc="upper right", ncols=4, fontsize="small", frameon=False, borderaxespad=0.1)
    if title is None:
        title = f"Membrane potential of {count(num_traces, 'neuron')} over {count(num_steps, 'time step')}"
        title += which_sample(v, sample)
    ylabel = ylabel or ("membrane potential" if num_traces == 1 else "neuron")
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return ax


def _scale(ax: Axes, low: float, high: float, offsets: np.ndarray) -> None:
    """An axis at the right with the potential of each trace, at two round values."""
    from matplotlib.ticker import MaxNLocator

    slack = 1e-6 * (high - low)  # for what is rounded off a potential at its threshold
    values = np.asarray(MaxNLocator(2, steps=[1, 2, 5, 10]).tick_values(low, high)) + 0.0  # 0, and not -0
    values = values[(values >= low - slack) & (values <= high + slack)]
    values = values[[0, -1]] if len(values) > 1 else np.array([low])
    side = ax.secondary_yaxis("right")
    side.set_yticks((values + offsets[:, None]).ravel(), [f"{value:g}" for value in values] * len(offsets))
    side.tick_params(labelsize="x-small")
    side.set_ylabel("membrane potential")


def _thresholds(given: Any, sample: int | None, shape: tuple[int, ...]) -> np.ndarray:
    """The threshold of each neuron at each step: one number for all, or as potentials are given."""
    array = as_array("v_threshold", given)
    array = time_by_neuron("v_threshold", given, sample) if array.ndim else np.full(shape, float(array))
    if array.shape != shape:
        raise ShapeError(f"`v_threshold` must be a number or as `v`, {list(shape)}, got {list(array.shape)}.")
    return array


def _chosen(neurons: Iterable[int] | None, num_neurons: int) -> list[int]:
    chosen = list(range(num_neurons) if neurons is None else neurons)
    wrong = [neuron for neuron in chosen if not 0 <= neuron < num_neurons]
    if wrong or not chosen:
        raise ShapeError(
            f"`neurons` must be from 0 to {num_neurons - 1}, as `v` has them, got {wrong or chosen}."
        )
    if len(chosen) > MAX_TRACES:
        raise ShapeError(
            f"At most {MAX_TRACES} potentials can be read in one plot, got {len(chosen)}. Choose some with "
            "`neurons=range(10)`, or use `heatmap`."
        )
    return chosen
