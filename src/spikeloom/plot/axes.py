"""The axes that plots draw on, and their ticks. Matplotlib is imported when a figure is made, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart with every common colour blindness: Okabe & Ito, Color Universal Design, 2008.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#666666"
FEW = 12  # so many rows get a tick each


def axes_or_new(ax: Axes | None, figsize: tuple[float, float], dpi: float | None = None) -> Axes:
    """``ax``, or the axes of a new pyplot figure, which ``plt.show()`` and notebooks then display."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=figsize, dpi=dpi, layout="constrained")[1]


def stacked(title: str, rows: int, height: float, sharex: bool = False) -> tuple[Figure, list[Axes]]:
    """A new figure with a title, and its panels, one above the other, each ``height`` inches high."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    return figure, list(figure.subplots(rows, 1, squeeze=False, sharex=sharex)[:, 0])


def size_in_points(ax: Axes) -> tuple[float, float]:
    """Width and height of ``ax`` as they are now; a layout may still change them a little."""
    box = ax.get_window_extent()
    return box.width * 72 / ax.figure.dpi, box.height * 72 / ax.figure.dpi


def integer_ticks(ax: Axes, x: bool = True, y: bool = True) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    for axis, wanted in ((ax.xaxis, x), (ax.yaxis, y)):
        if wanted:
            axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def neuron_rows(ax: Axes, num_neurons: int, integer: bool = True) -> None:
    """A y axis with one row per neuron, the first on top."""
    ax.set_ylim(num_neurons - 0.5, -0.5)
    if integer and num_neurons <= FEW:
        ax.set_yticks(range(num_neurons))
    else:
        integer_ticks(ax, x=False, y=integer)


def count(number: int, noun: str) -> str:
    """A number with its noun: ``1 neuron``, ``2 neurons``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
