"""Convolutions of each time step."""

from torch import nn

from spikeloom.layer.time_wise import TimeWise

_SHAPES_1D, _SHAPES_2D, _SHAPES_3D = ("N C L", "C L"), ("N C H W", "C H W"), ("N C D H W", "C D H W")


class Conv1d(TimeWise, nn.Conv1d, shapes=_SHAPES_1D):
    """One-dimensional convolution of each time step."""


class Conv2d(TimeWise, nn.Conv2d, shapes=_SHAPES_2D):
    """Two-dimensional convolution of each time step."""


class Conv3d(TimeWise, nn.Conv3d, shapes=_SHAPES_3D):
    """Three-dimensional convolution of each time step."""


class ConvTranspose1d(TimeWise, nn.ConvTranspose1d, shapes=_SHAPES_1D):
    """One-dimensional transposed convolution of each time step."""


class ConvTranspose2d(TimeWise, nn.ConvTranspose2d, shapes=_SHAPES_2D):
    """Two-dimensional transposed convolution of each time step."""


class ConvTranspose3d(TimeWise, nn.ConvTranspose3d, shapes=_SHAPES_3D):
    """Three-dimensional transposed convolution of each time step."""
