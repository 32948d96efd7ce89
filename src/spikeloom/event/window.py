"""How the window of a convolution lies over its input; that of a linear layer is one pixel."""

from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from torch import nn


def pair(value: Any) -> tuple[int, int]:
    """A size that is the same downwards and sideways, or two of them."""
    return (value, value) if isinstance(value, int) else tuple(value)


class Side(NamedTuple):
    """A window over an input in one direction.

    Args:
        size: of the input.
        window: how many places it has.
        stride: from one output to the next.
        before, after: padding.
        dilation: from one place to the next.
    """

    size: int = 1
    window: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def num_targets(self) -> int:
        """The size of the output; less than 1 where the input is too small."""
        padded = self.size + self.before + self.after
        return (padded - self.dilation * (self.window - 1) - 1) // self.stride + 1


def sides_of(conv: nn.Conv2d, height: int, width: int) -> tuple[Side, Side]:
    """The window of a convolution over images of this size, downwards and sideways."""
    left, right, above, below = conv._reversed_padding_repeated_twice
    downwards, sideways = zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
    return (
        Side(height, *downwards[:2], above, below, downwards[2]),
        Side(width, *sideways[:2], left, right, sideways[2]),
    )


@lru_cache(maxsize=1024)
def targets(side: Side) -> np.ndarray:
    """The output for each place of the window and each input; ``num_targets`` where there is none."""
    distances = np.arange(side.size) + side.before - np.arange(side.window)[:, None] * side.dilation
    found, rest = np.divmod(distances, side.stride)
    is_one = (rest == 0) & (found >= 0) & (found < side.num_targets)
    return np.where(is_one, found, side.num_targets).astype(np.uintp)


def covered(side: Side) -> int:
    """How often a place of the window lies on an input, over all outputs."""
    return int((targets(side) < side.num_targets).sum())


@lru_cache(maxsize=1024)
def runs(side: Side, joined: bool) -> np.ndarray:
    """The outputs that each input has, as runs that lie side by side, ``[size, window + 1, 3]``.

    Of a run: its first output; the place of the window for that, counted backwards; how many outputs it has,
    whose places follow each other. 0 outputs: there are no more runs. Unless ``joined``, each run has one.
    """
    table = np.zeros((side.size, side.window + 1, 3), np.uintp)
    for at in range(side.size):
        backwards = enumerate(targets(side)[::-1, at].tolist())
        pairs = [(target, place) for place, target in backwards if target < side.num_targets]
        # What stays the same along a run, in which outputs and places grow by 1.
        numbered = enumerate(pairs)
        alike = groupby(numbered, lambda one: (one[1][0] - one[0], one[1][1] - one[0], not joined and one[0]))
        for number, (_, run) in enumerate(alike):
            members = [pair for _, pair in run]
            table[at, number] = *members[0], len(members)
    return table


def sizes_of(sides: tuple[Side, Side], channels: int, to_channels: int, groups: int) -> np.ndarray:
    """The sizes that compiled functions read, in the order of :mod:`spikeloom.event.sparse`."""
    down, along = sides
    image = [channels, down.size, along.size, to_channels, down.num_targets, along.num_targets]
    return np.array([*image, groups, down.window, along.window], np.uintp)
