"""Attention over time, channels and places: factors between 0 and 1 for what matters in a sequence."""

import torch
from torch import Tensor, nn

from spikeloom.checks import check_tensor, checked_count
from spikeloom.errors import ShapeError, describe
from spikeloom.steps import StepModule


class _Attention(StepModule, nn.Module):
    """A layer that needs whole sequences."""

    _step_mode = "m"
    _step_modes = ("m",)

    def _refuse(self, expected: str, x_seq: Tensor) -> ShapeError:
        return ShapeError(f"{describe(self)} expects {expected}, got {list(x_seq.shape)}.")


class TemporalWiseAttention(_Attention):
    r"""A factor for each time step of a sample.

    .. math:: y_t = \sigma(W_2 \max(0, W_1 \bar x) + W_2 \max(0, W_1 \hat x))_t\; x_t

    with the mean :math:`\bar x` and the maximum :math:`\hat x` of each time step.

    Args:
        T: number of time steps of every sequence.
        reduction: ``T`` is divided by it in the hidden layer; at most ``T``.
        dimension: 4 for images, 2 for vectors; any input of the two shapes is taken.
    Shape:
        input and output ``[T, N, C, H, W]`` or ``[T, N, M]``.
    Raises:
        ValueError: ``reduction`` is greater than ``T``, or ``dimension`` neither 2 nor 4.
        ShapeError: the input has another shape.
    Source: Yao et al., Temporal-wise attention spiking neural networks for event streams classification,
        ICCV 2021.
    Example:
        >>> TemporalWiseAttention(T=4, reduction=2)(torch.rand(4, 3, 2, 5, 5)).shape
        torch.Size([4, 3, 2, 5, 5])
    """

    def __init__(self, T: int, reduction: int = 16, dimension: int = 4):
        super().__init__()
        if dimension not in (2, 4):
            raise ValueError(f"`dimension` must be 4 (images) or 2 (vectors), got {dimension!r}.")
        self.T = checked_count("T", T)
        self.sharedMLP = _squeezed(T, "reduction", reduction)

    def forward(self, x_seq: Tensor) -> Tensor:
        check_tensor("x_seq", x_seq)
        if x_seq.dim() not in (3, 5) or x_seq.shape[0] != self.T:
            raise self._refuse(f"[T, N, C, H, W] or [T, N, M] with T = {self.T}", x_seq)
        return x_seq * _factors(self.sharedMLP, x_seq, 0)


MultiStepTemporalWiseAttention = TemporalWiseAttention  # its name in older scripts


class MultiDimensionalAttention(_Attention):
    """Factors for each time step, then for each channel, then for each place; then a rectifier.

    Args:
        T, C: time steps and channels of every sequence.
        reduction_t, reduction_c: they are divided by these in the hidden layers.
        kernel_size: of the convolution that looks at the neighbours of a place, 3 or 7.
        use_temporal, use_channel, use_spatial: which of the three there are.
    Shape:
        input and output ``[T, N, C, H, W]``.
    Raises:
        ValueError: a reduction is greater than what it divides, ``kernel_size`` is another, or nothing is
            used.
        ShapeError: the input has another shape.
    Source: Yao et al., Attention spiking neural networks, IEEE TPAMI 2023.
    Example:
        >>> MultiDimensionalAttention(4, 8, reduction_t=2, reduction_c=4)(torch.rand(4, 3, 8, 5, 5)).shape
        torch.Size([4, 3, 8, 5, 5])
    """

    def __init__(
        self,
        T: int,
        C: int,
        reduction_t: int = 16,
        reduction_c: int = 16,
        kernel_size: int = 3,
        use_temporal: bool = True,
        use_channel: bool = True,
        use_spatial: bool = True,
    ):
        super().__init__()
        if not (use_temporal or use_channel or use_spatial):
            raise ValueError("one of `use_temporal`, `use_channel` and `use_spatial` must be True.")
        if kernel_size not in (3, 7):
            raise ValueError(f"`kernel_size` must be 3 or 7, got {kernel_size!r}.")
        self.T, self.C = checked_count("T", T), checked_count("C", C)
        self.temporal = _squeezed(T, "reduction_t", reduction_t) if use_temporal else None
        self.channel = _squeezed(C, "reduction_c", reduction_c) if use_channel else None
        convolution = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.spatial = convolution if use_spatial else None

    def forward(self, x_seq: Tensor) -> Tensor:
        check_tensor("x_seq", x_seq)
        if x_seq.dim() != 5 or (x_seq.shape[0], x_seq.shape[2]) != (self.T, self.C):
            raise self._refuse(f"[T, N, C, H, W] with T = {self.T} and C = {self.C}", x_seq)
        if self.temporal is not None:
            x_seq = x_seq * _factors(self.temporal, x_seq, 0)
        if self.channel is not None:
            x_seq = x_seq * _factors(self.channel, x_seq, 2)
        if self.spatial is not None:
            seen = torch.stack([x_seq.mean((0, 2)), x_seq.amax((0, 2))], 1)  # [N, 2, H, W]
            x_seq = x_seq * self.spatial(seen).sigmoid()
        return x_seq.relu()


def _squeezed(size: int, name: str, reduction: int) -> nn.Sequential:
    """Two layers with a narrower one between them."""
    hidden = size // checked_count(name, reduction, most=size)
    return nn.Sequential(nn.Linear(size, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, size, bias=False))


def _factors(layers: nn.Module, x_seq: Tensor, axis: int) -> Tensor:
    """A factor for each place on an axis of each sample, from its mean and its maximum over all others."""
    others = [dim for dim in range(x_seq.dim()) if dim not in (axis, 1)]
    mean, most = x_seq.mean(others, keepdim=True), x_seq.amax(others, keepdim=True)
    factors = layers(mean.movedim(axis, -1)) + layers(most.movedim(axis, -1))  # [..., size]
    return factors.sigmoid().movedim(-1, axis)
