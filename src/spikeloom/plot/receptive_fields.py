"""What neurons respond to, as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spikeloom.errors import ShapeError
from spikeloom.plot.arrays import as_array
from spikeloom.plot.axes import count
from spikeloom.plot.images import feature_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def receptive_fields(
    weights: Any,
    shape: Sequence[int],
    ax: Axes | None = None,
    *,
    num_columns: int | None = None,
    num_rows: int | None = None,
    title: str | None = None,
    colorbar: bool = True,
    cmap: str = "hot_r",
    figsize: tuple[float, float] = (8, 8),
    dpi: float | None = None,
) -> Axes:
    """The weights into each neuron as a picture of its input, neurons in a grid, row by row.

    Args:
        weights: of the layer before the neurons.
        shape: height and width of the input.
        ax: where to draw; default: a new pyplot figure.
        num_columns, num_rows: size of the grid; default: nearly square.
        title: default: the number of neurons.
        colorbar: whether to draw what the colours stand for.
        cmap: colour map.
        figsize, dpi: of the new figure, in inches and dots per inch.
    Shape:
        weights ``[neurons, H * W]``.
    Returns:
        the axes
    Raises:
        ShapeError: ``weights`` are of another shape.
        TypeError, ValueError: ``weights`` are not numeric, or not finite.
    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> ax = receptive_fields(torch.rand(100, 784), (28, 28), Figure().subplots())
        >>> ax.images[0].get_array().shape  # 10 rows and columns of 28 x 28, and the gaps between
        (289, 289)
    """
    values = as_array("weights", weights)
    if len(shape) != 2 or values.ndim != 2 or values.shape[1] != math.prod(shape):
        raise ShapeError(
            f"`weights` must be [neurons, H * W], for `shape` {tuple(shape)}, got {list(values.shape)}."
        )
    ax = feature_maps(
        values.reshape(-1, *shape),
        ax,
        num_columns=num_columns,
        num_rows=num_rows,
        title=f"Weights into {count(len(values), 'neuron')}" if title is None else title,
        colorbar=colorbar,
        cmap=cmap,
        figsize=figsize,
        dpi=dpi,
    )
    if colorbar:
        ax.images[-1].colorbar.set_label("weight")  # type: ignore[union-attr]
    return ax
