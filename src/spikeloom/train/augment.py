"""Changes to training images that keep their class; drawn per sample, so that batches do not matter."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.encoding import UniformSource


def random_affine(
    images: Tensor,
    random: UniformSource,
    *,
    shift: float = 0.0,
    degrees: float = 0.0,
    scale: float = 0.0,
    mode: Literal["bilinear", "nearest"] = "bilinear",
) -> Tensor:
    """Each image shifted, turned and scaled by numbers of its own, all uniform; what comes in from outside is
    0.

    Args:
        images: ``[N, C, H, W]``.
        random: where the numbers come from, four for each image.
        shift: largest shift to each side, in pixels.
        degrees: largest rotation to each side.
        scale: largest change of size; 0.1 makes an image up to 10 % larger or smaller.
        mode: ``'bilinear'`` mixes four pixels; ``'nearest'`` takes one, so that spikes remain spikes.
    Shape:
        the same as ``images``; no value leaves the range of the images and 0.
    Raises:
        ValueError: an amount is negative, or ``scale`` is 1 or more.
    Example:
        >>> from spikeloom.encoding import SampleGenerator
        >>> moved = random_affine(torch.ones(2, 1, 8, 8), SampleGenerator(0, [3, 5]), shift=2)
        >>> moved.shape, moved.mean().item() < 1
        (torch.Size([2, 1, 8, 8]), True)
    """
    if min(shift, degrees, scale) < 0 or scale >= 1:
        raise ValueError(
            f"`shift`, `degrees` and `scale` must be at least 0, and `scale` below 1, got {shift}, {degrees} "
            f"and {scale}."
        )
    height, width = images.shape[-2:]
    drawn = random.rand((len(images), 4), images.device, images.dtype) * 2 - 1  # [N, 4], from -1 to 1
    angle, size, across, down = drawn.view(-1, 4, 1, 1).unbind(1)  # [N, 1, 1] each
    angle, size = angle * math.radians(degrees), 1 + size * scale
    across, down = across * shift, down * shift
    # Where each pixel of the result comes from, in pixels from the middle. Elementwise, and not as
    # F.affine_grid's matrix product, whose rounding may depend on the number of images.
    y = torch.arange(height, device=images.device, dtype=images.dtype).view(1, -1, 1) - (height - 1) / 2
    x = torch.arange(width, device=images.device, dtype=images.dtype).view(1, 1, -1) - (width - 1) / 2
    cos, sin = angle.cos() / size, angle.sin() / size
    from_x, from_y = x * cos - y * sin + across, x * sin + y * cos + down  # [N, H, W] each
    grid = torch.stack([from_x * (2 / width), from_y * (2 / height)], -1)  # [N, H, W, 2], from -1 to 1
    low, high = images.amin().clamp(max=0), images.amax().clamp(min=0)
    return F.grid_sample(images, grid, mode, "zeros", align_corners=False).clamp(low, high)
