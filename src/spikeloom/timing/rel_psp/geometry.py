"""Which neurons of a layer a spike reaches: all of a linear layer, windows of a convolution."""

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """Sizes of a convolution; a linear layer is one of images of one pixel, whose channels are the inputs.

    Args:
        channels, height, width: of the input.
        rows, columns: of the kernel.
        stride, padding: of the windows; padding is silent.
    """

    channels: int
    height: int = 1
    width: int = 1
    rows: int = 1
    columns: int = 1
    stride: int = 1
    padding: int = 0

    @property
    def down(self) -> int:
        """Height of the output."""
        return (self.height + 2 * self.padding - self.rows) // self.stride + 1

    @property
    def across(self) -> int:
        """Width of the output."""
        return (self.width + 2 * self.padding - self.columns) // self.stride + 1

    @property
    def positions(self) -> int:
        """Windows of a sample."""
        return self.down * self.across

    @property
    def pixels(self) -> int:
        """Inputs of a channel."""
        return self.height * self.width

    @property
    def taps(self) -> int:
        """Pixels of a window."""
        return self.rows * self.columns

    def windows(self, times: Tensor) -> Tensor:
        """What each window sees of spike times ``[N, channels * pixels]``: ``[N * positions, channels *
        taps]``."""
        images = times.view(-1, self.channels, self.height, self.width)
        images = F.pad(images, [self.padding] * 4, value=-1.0)
        columns = F.unfold(images, (self.rows, self.columns), stride=self.stride)
        return columns.transpose(1, 2).reshape(-1, self.channels * self.taps)

    @functools.lru_cache(64)  # noqa: B019 - of equal sizes, whichever object they belong to
    def targets(self) -> tuple[Tensor, Tensor, Tensor]:
        """The windows that each pixel is in.

        Returns:
            where the entries of each pixel start, ``[pixels + 1]``; of each entry, the position of the window
            and the pixel's place in it
        """
        one = Geometry(1, self.height, self.width, self.rows, self.columns, self.stride, self.padding)
        pixels = torch.arange(self.pixels, dtype=torch.float64, device="cpu")[None]
        numbered = one.windows(pixels).flatten().long()
        entries = numbered.argsort(stable=True)[(numbered < 0).sum() :]  # without the padding
        starts = F.pad(numbered[entries].bincount(minlength=self.pixels).cumsum(0), (1, 0))
        return starts, entries // self.taps, entries % self.taps
