"""Pooling layers as windows that the compiled loop reads."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from spikeloom import layer
from spikeloom.event.calls import Call, refusal
from spikeloom.event.window import pair


class Windows(NamedTuple):
    """Windows over images.

    Args:
        sizes: channels, width, height and width of the output, 1 for the largest and 0 for the average, and
            by how many the sum is divided (0: by as many as are in the window).
        rows, columns: of each output the first one in its window, and the one after the last.
    """

    sizes: list[int]
    rows: np.ndarray
    columns: np.ndarray


def windows(call: Call, shape: torch.Size, to_shape: torch.Size) -> Windows:
    """The windows of a pooling of one sample.

    Raises:
        ConversionError: it does what the compiled loop cannot.
    """
    module: Any = call.module
    if isinstance(module, layer.VotingLayer):
        if len(shape) != 1:
            raise refusal(call.name, f"must take [N, F], gets images {list(shape)}.")
        voters = module.voting_size
        one, votes = _strided(1, 1, 1, 1, 0), _strided(shape[0], to_shape[0], voters, voters, 0)
        return Windows([1, shape[0], 1, to_shape[0], 0, voters], one, votes)
    if len(shape) != 3:
        raise refusal(call.name, f"must take images, gets {list(shape)}.")
    sizes = [shape[0], shape[2], *to_shape[1:]]
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return Windows([*sizes, 0, 0], *map(_adaptive, shape[1:], to_shape[1:]))
    is_max = isinstance(module, nn.MaxPool2d)
    size, stride, padding = map(pair, (module.kernel_size, module.stride, module.padding))
    if is_max and (pair(module.dilation) != (1, 1) or module.return_indices):
        raise refusal(call.name, "must pool without dilation and without indices.")
    if not is_max and module.ceil_mode:
        raise refusal(call.name, "must average whole windows, without ceil_mode.")
    counts_all = is_max or module.count_include_pad
    divisor = getattr(module, "divisor_override", None) or (size[0] * size[1] if counts_all else 0)
    rows, columns = map(_strided, shape[1:], to_shape[1:], size, stride, padding)
    return Windows([*sizes, int(is_max), divisor], rows, columns)


def _strided(size: int, to_size: int, window: int, stride: int, padding: int) -> np.ndarray:
    """Windows of one size, without what lies in the padding."""
    begins = np.arange(to_size) * stride - padding
    return np.stack([begins.clip(0, size), (begins + window).clip(0, size)], 1).astype(np.int64)


def _adaptive(size: int, to_size: int) -> np.ndarray:
    """Windows that cover an input in as many parts as there are outputs."""
    parts = np.arange(to_size)
    return np.stack([parts * size // to_size, -(-(parts + 1) * size // to_size)], 1).astype(np.int64)
