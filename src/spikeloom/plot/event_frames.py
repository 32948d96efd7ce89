"""Event frames: what an event camera saw in each time step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from spikeloom.errors import ShapeError
from spikeloom.plot.arrays import as_array, one_sample, which_sample
from spikeloom.plot.axes import BLUE, VERMILLION, axes_or_new, count
from spikeloom.plot.images import tiled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAINTEST = 0.3  # of a colour, so that a single event can be seen beside pixels with many


def event_frames(
    frames: Any,
    ax: Axes | None = None,
    *,
    sample: int | None = None,
    num_columns: int | None = None,
    num_rows: int | None = None,
    gap: int = 1,
    title: str | None = None,
    on_color: str = VERMILLION,
    off_color: str = BLUE,
    figsize: tuple[float, float] = (8, 6),
    dpi: float | None = None,
) -> Axes:
    """Frames of an event camera side by side, row by row in order of time: ON and OFF in two colours.

    The more events on a pixel, the stronger its colour; all frames share one scale. A pixel with events of
    both polarities shows a mixture, one without any is white.

    Args:
        frames: counts or spikes; channel 0 is OFF, channel 1 is ON.
        ax: where to draw; default: a new pyplot figure.
        sample: which one of ``[T, N, 2, H, W]``; default: the first.
        num_columns, num_rows: size of the grid; default: nearly square. Either follows from the other.
        gap: pixels between frames.
        title: default: the number and the size of the frames, and the sample, if there are several.
        on_color, off_color: of brighter and of darker pixels.
        figsize, dpi: of the new figure, in inches and dots per inch.
    Shape:
        frames ``[2, H, W]``, ``[T, 2, H, W]`` or ``[T, N, 2, H, W]``.
    Returns:
        the axes
    Raises:
        ShapeError: ``frames`` is empty or of another shape, or does not fit into the grid.
        TypeError, ValueError: ``frames`` is not numeric, not finite, or negative; a size is out of range.
    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> ax = event_frames(torch.ones(6, 2, 4, 4), Figure().subplots(), num_columns=3)
        >>> ax.images[0].get_array().shape  # 2 rows and 3 columns of 4 x 4 pixels, and the gaps between
        (9, 14, 3)
    """
    array = _frames_of(frames, sample)
    num_frames, _, height, width = array.shape
    canvas = tiled("frames", _coloured(array, on_color, off_color), num_rows, num_columns, gap, fill=0.75)
    ax = axes_or_new(ax, figsize, dpi)
    ax.imshow(canvas, interpolation="nearest")
    ax.set_axis_off()
    if title is None:
        title = f"{count(num_frames, 'frame')} of {height} x {width}"
        title += which_sample(frames, sample) if as_array("frames", frames).ndim == 5 else ""
    ax.set_title(title)
    legend: dict[str, Any] = {"ON": on_color, "OFF": off_color}
    if (array > 0).all(1).any():
        legend["both"] = _coloured(np.ones((1, 2, 1, 1)), on_color, off_color)[0, 0, 0]
    for name, color in legend.items():
        ax.plot([], [], "s", color=color, label=name)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False)
    return ax


def _frames_of(frames: Any, sample: int | None) -> np.ndarray:
    """``frames`` as ``[T, 2, H, W]``."""
    array = as_array("frames", frames)
    if array.ndim == 3:
        array = array[None]
    if sample is not None and array.ndim != 5:
        raise ShapeError(f"`frames` must be [T, N, 2, H, W] for `sample`, got shape {list(array.shape)}.")
    if array.ndim == 5:
        array = one_sample("frames", array, sample)
    if array.ndim != 4 or array.shape[1] != 2:
        raise ShapeError(
            "`frames` must be [T, 2, H, W], with channels OFF and ON, or [T, N, 2, H, W], "
            f"got shape {list(array.shape)}."
        )
    if array.min() < 0:
        raise ValueError(f"`frames` must be at least 0, got {array.min():g}.")
    return array


def _coloured(frames: np.ndarray, on_color: str, off_color: str) -> np.ndarray:
    """RGB images ``[T, H, W, 3]``: each polarity takes from white what its colour lacks."""
    from matplotlib.colors import to_rgb

    strength = frames / (frames.max() or 1.0)
    strength = np.where(frames > 0, _FAINTEST + (1 - _FAINTEST) * strength, 0.0)  # [T, 2, H, W]
    lacking = 1 - np.array([to_rgb(off_color), to_rgb(on_color)])  # [2, 3]
    return (1 - np.einsum("tchw,ck->thwk", strength, lacking)).clip(0, 1)
