"""Learning curves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeloom.errors import ShapeError, UnknownNameError, suggest
from spikeloom.plot.axes import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, integer_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS = {"train": BLUE, "test": VERMILLION} | dict.fromkeys(("validation", "valid", "val", "eval"), GREEN)
_OTHERS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
_TIMES = ("epoch", "step")
_SMALLER_IS_BETTER = ("loss", "error", "perplexity")


def curves(
    history: Sequence[Mapping[str, Any]],
    keys: Sequence[str] | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    *,
    title: str = "Learning curves",
    figsize: tuple[float, float] | None = None,
    dpi: float | None = None,
) -> list[Axes]:
    """Learning curves: a panel for each measure (loss, accuracy), a line for each part (train, test).

    A star marks each line's best value (the smallest of a loss or an error, else the largest), a dot its
    last; the legend gives both in numbers. Accuracies are drawn in per cent, unless some are above 1. A
    missing, ``None`` or NaN value leaves its point out.

    Args:
        history: a row of numbers per epoch; ``epoch`` or ``step`` gives the x axis, else the row's number.
        keys: which to draw, such as ``train_loss``, ``test/accuracy``; default: each loss and accuracy.
        ax: where to draw, one for each measure; default: a new pyplot figure.
        title: of the new figure; with ``ax``, panels are titled by their measure only.
        figsize, dpi: of the new figure, in inches and dots per inch.
    Returns:
        the panels, one axes for each measure
    Raises:
        UnknownNameError: a key is in no row.
        ShapeError: there are no rows, no loss or accuracy, or not one axes for each measure.
        TypeError: a row is none.
    Example:
        >>> from matplotlib.figure import Figure
        >>> rows = [{"train_loss": 2.3, "test_loss": 2.1}, {"train_loss": 1.2, "test_loss": 2.2}]
        >>> (panel,) = curves(rows, ax=Figure().subplots())
        >>> [text.get_text() for text in panel.get_legend().get_texts()]
        ['train: best 1.2 at 2, last 1.2', 'test: best 2.1 at 1, last 2.2', 'best', 'last']
    """
    if isinstance(history, Mapping) or not isinstance(history, Iterable):
        kind = type(history).__name__
        raise TypeError(f"`history` must be a list of rows, one for each epoch, got {kind}.")
    rows = list(history)
    for row in rows:
        if not isinstance(row, Mapping):
            raise TypeError(f"`history` must hold rows of numbers by name, got {row!r}.")
    if not rows:
        raise ShapeError("`history` must have at least one row, got none. Train for an epoch first.")
    groups: dict[str, dict[str, str]] = {}  # measure -> key -> part
    for key in _checked_keys(rows, keys):
        part, measure = _split(key)
        groups.setdefault(measure, {})[key] = part
    x_name = next((name for name in _TIMES if all(name in row for row in rows)), None)
    x = np.array([row[x_name] for row in rows] if x_name else range(1, len(rows) + 1), dtype=float)
    values = {
        key: np.array([np.nan if row.get(key) is None else float(row[key]) for row in rows])
        for parts in groups.values()
        for key in parts
    }
    if not any(np.isfinite(one).any() for one in values.values()):
        raise ShapeError(f"`history` must have at least one finite value of {list(values)}, got none.")
    panels = _panels(ax, len(groups), figsize, dpi, title)
    for panel, (measure, parts) in zip(panels, groups.items(), strict=True):
        unit = _unit(measure, [values[key] for key in parts])
        for index, (key, part) in enumerate(parts.items()):
            color = _PARTS.get(part, _OTHERS[index % len(_OTHERS)])
            _draw(panel, x, values[key] * (100 if unit else 1), part, measure, color, unit)
        for marker, name, size in (("*", "best", 9), ("o", "last", 5)):
            panel.plot([], [], marker, color=GREY, markersize=size, label=name)
        panel.set(title=measure, xlabel=x_name or "row", ylabel=f"{measure} in %" if unit else measure)
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
        integer_ticks(panel, y=False)
    return panels


def _unit(measure: str, values: list[np.ndarray]) -> str:
    """The sign of accuracies from 0 to 1, which are drawn in per cent; nothing for other measures."""
    is_accuracy = re.search(r"(?<![^\W_])acc(uracy)?$", measure)
    return " %" if is_accuracy and not any(np.nanmax(one, initial=0) > 1 for one in values) else ""


def _draw(ax: Axes, x: np.ndarray, y: np.ndarray, part: str, measure: str, color: str, unit: str) -> None:
    """One line with its best and last value marked."""
    there = np.isfinite(y)
    if not there.any():
        ax.plot([], [], color=color, label=f"{part}: nothing finite")
        return
    x, y = x[there], y[there]
    smaller = any(word in measure.lower() for word in _SMALLER_IS_BETTER)
    best = int(y.argmin() if smaller else y.argmax())
    text = f"{part}: best {y[best]:.4g}{unit} at {x[best]:g}, last {y[-1]:.4g}{unit}"
    ax.plot(x, y, color=color, linewidth=1.5, label=text)
    ax.plot(x[-1], y[-1], "o", color=color, markersize=5)
    ax.plot(x[best], y[best], "*", color=color, markersize=11, markeredgecolor="white")


def _checked_keys(rows: list[Mapping[str, Any]], keys: Sequence[str] | None) -> list[str]:
    known = list(dict.fromkeys(key for row in rows for key in row))
    if keys is None:
        keys = [key for key in known if re.search("loss|accuracy|acc$", key)]
        if not keys:
            raise ShapeError(f"`history` must name a loss or an accuracy, got {known}. Choose with `keys`.")
    keys = [keys] if isinstance(keys, str) else list(keys)
    for key in keys:
        if key not in known:
            raise UnknownNameError(f"`history` has no {key!r}. {suggest(key, known)}")
    return keys


def _split(key: str) -> tuple[str, str]:
    """``train_loss`` and ``loss/train`` as ``('train', 'loss')``; a key without a part is its own."""
    words = re.split(r"[/_ .]", key)
    part = next((word for word in words if word in _PARTS), None)
    if part is None or len(words) == 1:
        return key, key
    return part, " ".join(word for word in words if word != part)


def _panels(
    ax: Any, number: int, figsize: tuple[float, float] | None, dpi: float | None, title: str
) -> list[Axes]:
    if ax is not None:
        panels = list(np.ravel(np.asarray(ax, dtype=object)))
        if len(panels) != number:
            raise ShapeError(f"`ax` must be {number} axes, one for each measure, got {len(panels)}.")
        return panels
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, number, figsize=figsize or (5 * number, 3.6), dpi=dpi, layout="constrained", squeeze=False
    )
    figure.suptitle(title)
    return list(axes[0])
