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
    def runs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The windows that each pixel is in, as runs: windows side by side, within which its places are side
        by side too, in the order of :meth:`reversed_rows`.

        Returns:
            where the runs of each pixel start, ``[pixels + 1]``; of each run, the position of its first
            window, how many windows it has, and the pixel's place in the first
        """
        one = Geometry(1, self.height, self.width, self.rows, self.columns, self.stride, self.padding)
        pixels = torch.arange(self.pixels, dtype=torch.float64, device="cpu")[None]
        numbered = one.windows(pixels)
        numbered = numbered.view(-1, self.rows, self.columns).flip(2).flatten().long()
        entries = numbered.argsort(stable=True)[(numbered < 0).sum() :]  # without the padding
        window, place, pixel = entries // self.taps, entries % self.taps, numbered[entries]
        follows = (window.diff() == 1) & (place.diff() == 1) & (pixel.diff() == 0)
        first = F.pad(~follows, (1, 0), value=True).nonzero().flatten()
        counts = F.pad(first, (0, 1), value=len(entries)).diff()
        starts = F.pad(pixel[first].bincount(minlength=self.pixels).cumsum(0), (1, 0))
        return starts, window[first], counts, place[first]

    def reversed_rows(self, weight: Tensor) -> Tensor:
        """Weights ``[channels * taps, out]`` with each row of a window in reverse order: a pixel moves to
        the left within a window that moves to the right. Twice is as never."""
        if self.columns == 1:
            return weight
        return weight.view(-1, self.columns, weight.shape[1]).flip(1).view_as(weight)
