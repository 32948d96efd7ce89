"""Pooling of spike times: of each window, the spike that comes first."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeloom.checks import checked_count
from spikeloom.errors import ShapeError
from spikeloom.timing.checks import check_finite, pair


class EarliestPool2d(nn.Module):
    """The earliest spike time of each window; the gradient goes to the neuron that spiked then.

    Args:
        kernel_size: height and width of the windows; one number for both.
        stride: pixels from one window to the next; ``None`` puts them side by side.
        padding: silent pixels on each side, at most half of the window.
    Shape:
        input ``[N, C, H, W]``: spike times, negative for no spike; output as of ``nn.MaxPool2d``: -1 where
        nothing in the window spikes. Of several earliest spikes, the gradient goes to the first in the
        image.
    Raises:
        ValueError: a size is out of range, or a time is NaN or infinite.
        ShapeError: the input is no batch of images, or smaller than a window.
    Example:
        >>> pool = EarliestPool2d(2)
        >>> pool(torch.tensor([[[[3.0, -1.0, -1.0, -1.0], [2.0, 5.0, -1.0, -1.0]]]]))
        tensor([[[[ 2., -1.]]]])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int = 0,
    ):
        super().__init__()
        self.kernel_size = pair("kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair("stride", stride)
        checked_count("padding", padding, least=0)
        if 2 * padding > min(self.kernel_size):
            raise ValueError(
                f"`padding` must be at most half of `kernel_size`, got {padding} for {self.kernel_size}. "
                "Take larger windows."
            )
        self.padding = padding

    def forward(self, times: Tensor) -> Tensor:
        padded = [size + 2 * self.padding for size in times.shape[-2:]]
        if times.dim() != 4 or padded[0] < self.kernel_size[0] or padded[1] < self.kernel_size[1]:
            raise ShapeError(
                f"`times` must be [N, C, H, W], at least as large as the windows {self.kernel_size}, got "
                f"{list(times.shape)}. Add the dimensions that are missing, or take smaller windows."
            )
        check_finite(times)
        earliness = -torch.where(times < 0, math.inf, times)
        first = -F.max_pool2d(earliness, self.kernel_size, self.stride, self.padding)
        return first.masked_fill(first == math.inf, -1.0)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
