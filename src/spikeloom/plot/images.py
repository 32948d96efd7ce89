"""Values as colours: a heat map over time, and feature maps in a grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeloom.checks import checked_count
from spikeloom.errors import ShapeError
from spikeloom.plot.arrays import as_array, time_by_neuron, which_sample
from spikeloom.plot.axes import axes_or_new, count, integer_ticks, neuron_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heatmap(
    array: Any,
    ax: Axes | None = None,
    *,
    sample: int | None = None,
    title: str | None = None,
    xlabel: str = "time step",
    ylabel: str = "neuron",
    colorbar: bool = True,
    colorbar_label: str = "magnitude",
    cmap: str = "viridis",
    x_max: float | None = None,
    int_x_ticks: bool = True,
    int_y_ticks: bool = True,
    figsize: tuple[float, float] = (8, 4),
    dpi: float | None = None,
) -> Axes:
    """A value per neuron and time step as a colour: potentials, rates, traces. The first neuron is on top.

    Args:
        array: the values.
        ax: where to draw; default: a new pyplot figure.
        sample: which one of ``[T, N, ...]``; default: two dimensions are ``[T, neurons]``, of more the first.
        title: default: the numbers of neurons and of time steps, and the sample, if there are several.
        xlabel, ylabel, colorbar_label: texts.
        colorbar: whether to draw what the colours stand for.
        cmap: colour map.
        x_max: the time at the right edge, for an axis in other units than steps, which begins at 0.
        int_x_ticks, int_y_ticks: whether ticks stand at whole numbers only, of time if it is in steps.
        figsize, dpi: of the new figure, in inches and dots per inch.
    Shape:
        array ``[T]``, ``[T, neurons]`` or ``[T, N, *]``.
    Returns:
        the axes of the heat map
    Raises:
        ShapeError, TypeError, ValueError: ``array`` is empty, of another shape, not numeric, or not finite.
    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> ax = heatmap(torch.rand(20, 5), Figure().subplots())
        >>> ax.images[0].get_array().shape
        (5, 20)
    """
    values = time_by_neuron("array", array, sample)
    num_steps, num_neurons = values.shape
    ax = axes_or_new(ax, figsize, dpi)
    left, right = (-0.5, num_steps - 0.5) if x_max is None else (0.0, x_max)
    if right <= left:
        raise ValueError(f"`x_max` must be positive, got {x_max}.")
    image = ax.imshow(values.T, aspect="auto", cmap=cmap, extent=(left, right, num_neurons - 0.5, -0.5))
    neuron_rows(ax, num_neurons, int_y_ticks)
    integer_ticks(ax, x=int_x_ticks and x_max is None, y=False)
    if title is None:
        title = f"{count(num_neurons, 'neuron').capitalize()} over {count(num_steps, 'time step')}"
        title += which_sample(array, sample)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label=colorbar_label, pad=0.02)
    return ax


def feature_maps(
    maps: Any,
    ax: Axes | None = None,
    *,
    num_columns: int | None = None,
    num_rows: int | None = None,
    gap: int = 1,
    title: str | None = None,
    colorbar: bool = True,
    cmap: str = "viridis",
    figsize: tuple[float, float] = (8, 6),
    dpi: float | None = None,
) -> Axes:
    """Images side by side in a grid, row by row, on one scale of colours: channels, kernels, weights.

    Args:
        maps: the images.
        ax: where to draw; default: a new pyplot figure.
        num_columns, num_rows: size of the grid; default: nearly square. Either follows from the other.
        gap: empty pixels between images.
        title: default: the number and the size of the images.
        colorbar: whether to draw what the colours stand for.
        cmap: colour map.
        figsize, dpi: of the new figure, in inches and dots per inch.
    Shape:
        maps ``[H, W]``, ``[C, H, W]`` or ``[N, H, W]``.
    Returns:
        the axes
    Raises:
        ShapeError: ``maps`` is empty or of another shape, or does not fit into the grid.
        TypeError, ValueError: ``maps`` is not numeric, or not finite; a size is out of range.
    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> ax = feature_maps(torch.rand(6, 4, 4), Figure().subplots(), num_columns=3)
        >>> ax.images[0].get_array().shape  # 2 rows and 3 columns of 4 x 4 pixels, and the gaps between
        (9, 14)
    """
    images = as_array("maps", maps)
    if images.ndim == 2:
        images = images[None]
    if images.ndim != 3:
        raise ShapeError(f"`maps` must be [C, H, W], got shape {list(images.shape)}. Choose one sample.")
    num_maps, height, width = images.shape
    canvas = tiled("maps", images, num_rows, num_columns, gap, fill=np.nan)
    ax = axes_or_new(ax, figsize, dpi)
    drawn = ax.imshow(canvas, cmap=cmap, interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(f"{count(num_maps, 'map')} of {height} x {width}" if title is None else title)
    if colorbar:
        ax.figure.colorbar(drawn, ax=ax, label="value", pad=0.02, shrink=0.8)
    return ax


def tiled(
    name: str, images: np.ndarray, rows: int | None, columns: int | None, gap: int, fill: float
) -> np.ndarray:
    """One image of all ``images`` ``[N, H, W]`` or ``[N, H, W, colours]`` in a grid, ``fill`` between them.

    Args:
        name: the argument's name, for errors.
        images: what goes into the grid, row by row.
        rows, columns: of the grid; ``None`` makes it nearly square, or follows from the other.
        gap: empty pixels between images.
        fill: value of the gaps, and of places without an image.
    """
    checked_count("gap", gap, least=0)
    num_images, height, width = images.shape[:3]
    rows, columns = _grid(name, num_images, rows, columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, *images.shape[3:])
    canvas = np.full(shape, fill)
    for index, image in enumerate(images):
        y, x = index // columns * (height + gap), index % columns * (width + gap)
        canvas[y : y + height, x : x + width] = image
    return canvas


def _grid(name: str, num_images: int, rows: int | None, columns: int | None) -> tuple[int, int]:
    """Rows and columns that hold ``num_images``."""
    for argument, size in (("num_rows", rows), ("num_columns", columns)):
        if size is not None:
            checked_count(argument, size)
    if columns is None:
        columns = math.ceil(math.sqrt(num_images)) if rows is None else math.ceil(num_images / rows)
    if rows is None:
        rows = math.ceil(num_images / columns)
    if rows * columns < num_images:
        raise ShapeError(
            f"`{name}` must fit into {rows} x {columns}, got {num_images} {name}. Give the grid more rows."
        )
    return rows, columns
