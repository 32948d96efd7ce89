"""Changes to training images that keep their class; drawn per sample, so that batches do not matter."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.checks import checked_count, checked_range
from spikeloom.encoding import UniformSource
from spikeloom.errors import ShapeError


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
        TypeError, ValueError: an amount is no finite number of at least 0, or ``scale`` is 1 or more.
        ShapeError: the images have another shape.
    Example:
        >>> from spikeloom.encoding import SampleGenerator
        >>> moved = random_affine(torch.ones(2, 1, 8, 8), SampleGenerator(0, [3, 5]), shift=2)
        >>> moved.shape, moved.mean().item() < 1
        (torch.Size([2, 1, 8, 8]), True)
    """
    for name, amount in (("shift", shift), ("degrees", degrees), ("scale", scale)):
        checked_range(name, amount, 0.0)
    if scale >= 1:
        raise ValueError(f"`scale` must be at least 0 and less than 1, got {scale}.")
    _check_images(images)
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
    low = images.amin((1, 2, 3), keepdim=True).clamp(max=0)  # [N, 1, 1, 1]
    high = images.amax((1, 2, 3), keepdim=True).clamp(min=0)
    return F.grid_sample(images, grid, mode, "zeros", align_corners=False).clamp(low, high)


def random_crop(images: Tensor, random: UniformSource, *, padding: int = 4, flip: bool = False) -> Tensor:
    """Each image padded by zeros, and a window of its old size cut out anywhere.

    Args:
        images: ``[N, C, H, W]``.
        random: where the numbers come from, three for each image.
        padding: pixels on each side, so the largest shift.
        flip: whether to mirror half of the images, left to right.
    Shape:
        the same as ``images``.
    Raises:
        ShapeError: these are no images.
        ValueError: ``padding`` is negative.
    Example:
        >>> from spikeloom.encoding import SampleGenerator
        >>> random_crop(torch.ones(2, 3, 8, 8), SampleGenerator(0, [3, 5]), padding=2, flip=True).shape
        torch.Size([2, 3, 8, 8])
    """
    _check_images(images)
    checked_count("padding", padding, least=0)
    height, width = images.shape[-2:]
    drawn = random.rand((len(images), 3), images.device, torch.float32)  # [N, 3]
    down, across = (drawn[:, :2] * (2 * padding + 1)).long().unbind(1)  # [N] each, from 0 to 2 * padding
    rows = down[:, None] + torch.arange(height, device=images.device)  # [N, H]
    columns = torch.arange(width, device=images.device)
    if flip:
        mirrored = drawn[:, 2:] < 0.5  # [N, 1]
        columns = torch.where(mirrored, width - 1 - columns, columns)  # [N, W]
    columns = across[:, None] + columns  # [N, W]
    samples = torch.arange(len(images), device=images.device)
    padded = F.pad(images, [padding] * 4)
    return padded[samples[:, None, None], :, rows[:, :, None], columns[:, None]].movedim(-1, 1)


def cutout(images: Tensor, random: UniformSource, *, size: int) -> Tensor:
    """Each image with a square of zeros whose middle is anywhere in it; at an edge less is cut out.

    Args:
        images: ``[N, C, H, W]``.
        random: where the numbers come from, two for each image.
        size: of the square's sides, in pixels.
    Shape:
        the same as ``images``.
    Raises:
        ShapeError: these are no images.
        ValueError: ``size`` is negative.
    Source: DeVries & Taylor, Improved regularization of convolutional neural networks with cutout, 2017.
    Example:
        >>> from spikeloom.encoding import SampleGenerator
        >>> cut = cutout(torch.ones(1, 3, 8, 8), SampleGenerator(0, [3]), size=2)
        >>> int((cut == 0).sum())  # 2 x 2 pixels of 3 channels
        12
    """
    _check_images(images)
    checked_count("size", size, least=0)
    height, width = images.shape[-2:]
    drawn = random.rand((len(images), 2), images.device, torch.float32)  # [N, 2]
    top, left = (drawn[:, :1] * height).long() - size // 2, (drawn[:, 1:] * width).long() - size // 2
    rows = torch.arange(height, device=images.device) - top  # [N, H], 0 where the square begins
    columns = torch.arange(width, device=images.device) - left  # [N, W]
    inside = ((rows >= 0) & (rows < size))[:, :, None] & ((columns >= 0) & (columns < size))[:, None]
    return images.masked_fill(inside[:, None], 0.0)


def _check_images(images: Tensor) -> None:
    if images.dim() != 4:
        raise ShapeError(f"`images` must be [N, C, H, W], got {list(images.shape)}.")
