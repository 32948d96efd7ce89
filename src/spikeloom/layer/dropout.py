"""Dropout with one mask for all time steps of a sequence."""

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.checks import checked_range
from spikeloom.layer.shapes import Shapes
from spikeloom.memory import MemoryModule


class Dropout(MemoryModule):
    """Dropout whose mask is drawn with the first time step and kept until :meth:`reset`.

    A new mask at every step (``torch.nn.Dropout``) would average out over time, and drop nothing.
    In evaluation it is the identity.

    Args:
        p: probability that an element is dropped; what stays is scaled by ``1 / (1 - p)``.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input and output ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step).
    Raises:
        ValueError: ``p`` is not between 0 and 1.
    Source: Lee et al., Enabling spike-based backpropagation for training deep neural network architectures,
        Frontiers in Neuroscience 2020.
    Example:
        >>> dropout = Dropout(0.5, step_mode="m")
        >>> y = dropout(torch.ones(3, 100))
        >>> bool((y[0] == y[1]).all() and (y[0] == y[2]).all()), sorted(set(y[0].tolist()))
        (True, [0.0, 2.0])
    """

    computes_in_float32 = False
    _spatial_dims = 0
    mask: Tensor | None

    def __init__(self, p: float = 0.5, step_mode: str = "s"):
        super().__init__(step_mode)
        self.p = checked_range("p", p, 0, 1)
        self.register_memory("mask", None)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training and self.p > 0 else x

    def single_step_forward(self, x: Tensor) -> Tensor:
        return x * self._mask_for(x)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        return x_seq * self._mask_for(x_seq[0])

    def _unshared(self, output: Tensor) -> Tensor:
        return output  # a product, which nothing keeps, so that the caller may write into it

    def _mask_for(self, x: Tensor) -> Tensor:
        if self.mask is None:
            kept = x.shape[: x.dim() - self._spatial_dims] + (1,) * self._spatial_dims
            ones = torch.ones_like(x) if kept == x.shape else x.new_ones(kept)
            self.mask = F.dropout(ones, self.p, training=True)
        return self.mask.to(x.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}, step_mode={self.step_mode}"


class _ChannelDropout(Dropout):
    """Dropout of whole channels, with one mask for all time steps; see :class:`Dropout`.

    Args:
        p: probability that a channel is dropped.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input and output ``[N, C, *]`` or ``[C, *]`` (single-step), ``[T, N, C, *]`` (multi-step), where ``*``
        is as many dimensions as the name of the class says.
    Raises:
        ShapeError: the input does not have these dimensions.
    """

    _shapes: Shapes

    def __init__(self, p: float = 0.2, step_mode: str = "s"):
        super().__init__(p, step_mode)

    def forward(self, x: Tensor) -> Tensor:
        self._shapes.check(self, x)
        return super().forward(x)


class Dropout1d(_ChannelDropout):
    __doc__ = _ChannelDropout.__doc__
    _spatial_dims, _shapes = 1, Shapes("N C L", "C L")


class Dropout2d(_ChannelDropout):
    __doc__ = _ChannelDropout.__doc__
    _spatial_dims, _shapes = 2, Shapes("N C H W", "C H W")


class Dropout3d(_ChannelDropout):
    __doc__ = _ChannelDropout.__doc__
    _spatial_dims, _shapes = 3, Shapes("N C D H W", "C D H W")


class MultiStepDropout(Dropout):
    """:class:`Dropout` with ``step_mode='m'``, under its name of SpikingJelly 0.0.0.0.12 and before."""

    def __init__(self, p: float = 0.5):
        super().__init__(p, "m")


class MultiStepDropout2d(Dropout2d):
    """:class:`Dropout2d` with ``step_mode='m'``, under its name of SpikingJelly 0.0.0.0.12 and before."""

    def __init__(self, p: float = 0.2):
        super().__init__(p, "m")
