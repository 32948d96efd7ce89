"""The plots under the names, and with the arguments and results, that tutorials use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikeloom.errors import ShapeError
from spikeloom.plot.arrays import as_array, time_by_neuron
from spikeloom.plot.images import feature_maps, heatmap
from spikeloom.plot.membrane import membrane
from spikeloom.plot.raster import raster

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_1d_spikes(
    spikes: Any,
    title: str,
    xlabel: str,
    ylabel: str,
    int_x_ticks: bool = True,
    int_y_ticks: bool = True,
    plot_firing_rate: bool = True,
    firing_rate_map_title: str = "firing rate",
    figsize: tuple[float, float] = (12, 8),
    dpi: float = 200,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """:func:`raster` under a name that people know.

    Args:
        spikes, title, xlabel, ylabel, int_x_ticks, int_y_ticks, figsize, dpi, ax: as for :func:`raster`.
        plot_firing_rate: its ``firing_rate``.
        firing_rate_map_title: its ``firing_rate_title``.
    Shape:
        spikes ``[T, neurons]``.
    Returns:
        the figure and the axes of the raster
    Differs from: SpikingJelly's, which draws a colour per neuron, and the firing rates as a heat map.
    """
    ax = raster(
        spikes,
        ax,
        firing_rate=plot_firing_rate,
        title=title,
        xlabel=xlabel,
        ylabel=ylabel,
        int_x_ticks=int_x_ticks,
        int_y_ticks=int_y_ticks,
        firing_rate_title=firing_rate_map_title,
        figsize=figsize,
        dpi=dpi,
    )
    return ax.figure, ax  # type: ignore[return-value]


def plot_2d_heatmap(
    array: Any,
    title: str,
    xlabel: str,
    ylabel: str,
    int_x_ticks: bool = True,
    int_y_ticks: bool = True,
    plot_colorbar: bool = True,
    colorbar_y_label: str = "magnitude",
    x_max: float | None = None,
    figsize: tuple[float, float] = (12, 8),
    dpi: float = 200,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """:func:`heatmap` under a name that people know.

    Args:
        array, title, xlabel, ylabel, int_x_ticks, int_y_ticks, x_max, figsize, dpi, ax: as for
            :func:`heatmap`.
        plot_colorbar: its ``colorbar``.
        colorbar_y_label: its ``colorbar_label``.
    Shape:
        array ``[T, neurons]``.
    Returns:
        the figure and the axes of the heat map
    """
    ax = heatmap(
        array,
        ax,
        title=title,
        xlabel=xlabel,
        ylabel=ylabel,
        colorbar=plot_colorbar,
        colorbar_label=colorbar_y_label,
        x_max=x_max,
        int_x_ticks=int_x_ticks,
        int_y_ticks=int_y_ticks,
        figsize=figsize,
        dpi=dpi,
    )
    return ax.figure, ax  # type: ignore[return-value]


def plot_2d_feature_map(
    x3d: Any,
    nrows: int,
    ncols: int,
    space: int,
    title: str,
    figsize: tuple[float, float] = (12, 8),
    dpi: float = 200,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """:func:`feature_maps` under a name that people know.

    Args:
        x3d: its ``maps``.
        nrows, ncols: its ``num_rows`` and ``num_columns``.
        space: its ``gap``.
        title, figsize, dpi, ax: as for :func:`feature_maps`.
    Shape:
        x3d ``[C, H, W]``.
    Returns:
        the figure and the axes
    """
    ax = feature_maps(
        x3d, ax, num_rows=nrows, num_columns=ncols, gap=space, title=title, figsize=figsize, dpi=dpi
    )
    return ax.figure, ax  # type: ignore[return-value]


def plot_2d_bar_in_3d(
    array: Any,
    title: str,
    xlabel: str,
    ylabel: str,
    zlabel: str,
    int_x_ticks: bool = True,
    int_y_ticks: bool = True,
    int_z_ticks: bool = False,
    dpi: float = 200,
) -> tuple[Figure, Axes]:
    """Rows of bars behind each other, such as the firing rate of each neuron (row) over epochs (column).

    Args:
        array: heights of the bars.
        title, xlabel, ylabel, zlabel, dpi: of the new pyplot figure.
        int_x_ticks, int_y_ticks, int_z_ticks: whether only whole numbers are marked on an axis.
    Shape:
        array ``[rows, columns]``; x counts the columns, y the rows.
    Returns:
        the figure and the axes
    Raises:
        ShapeError: there are not two dimensions.
    """
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    heights = as_array("array", array)
    if heights.ndim != 2:
        raise ShapeError(f"`array` must be [rows, columns], got {list(heights.shape)}.")
    figure = pyplot.figure(dpi=dpi)
    ax: Any = figure.add_subplot(projection="3d")
    for column, bars in enumerate(heights.T):
        ax.bar(range(len(bars)), bars, column, zdir="x", color=f"C{column % 10}", alpha=0.8)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, zlabel=zlabel)
    whole = (int_x_ticks, int_y_ticks, int_z_ticks)
    for axis, integer in zip((ax.xaxis, ax.yaxis, ax.zaxis), whole, strict=True):
        axis.set_major_locator(MaxNLocator(integer=integer, min_n_ticks=1))
    return figure, ax


def plot_one_neuron_v_s(
    v: Any,
    s: Any,
    v_threshold: float = 1.0,
    v_reset: float | None = 0.0,
    title: str = "$V[t]$ and $S[t]$ of the neuron",
    figsize: tuple[float, float] = (12, 8),
    dpi: float = 200,
) -> tuple[Figure, Axes, Axes]:
    """A neuron's potential (:func:`membrane`) and, below, its spikes (:func:`raster`).

    Args:
        v: potential after each step.
        s: spikes, 0 or 1.
        v_threshold, v_reset: threshold and reset potential; ``v_reset=None`` draws none.
        title, figsize, dpi: of the new pyplot figure.
    Shape:
        v and s ``[T]`` or ``[T, 1]``.
    Returns:
        the figure, the axes of the potential, the axes of the spikes
    Raises:
        ShapeError: there is more than one neuron, or the shapes differ.
    """
    potential, spikes = time_by_neuron("v", v), time_by_neuron("s", s)
    for name, array in (("v", potential), ("s", spikes)):
        if array.shape != (len(potential), 1):
            raise ShapeError(
                f"`{name}` must be one neuron's [T], T = {len(potential)}, got {list(array.shape)}. "
                "Choose a neuron, or use `membrane`, which draws several."
            )
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=figsize, dpi=dpi, layout="constrained", sharex=True, height_ratios=(4, 1)
    )
    membrane(potential, None, above, v_threshold=v_threshold, v_reset=v_reset, title=title, xlabel="")
    raster(spikes, below, title="", ylabel="spike")
    below.set_yticks([])
    return figure, above, below
