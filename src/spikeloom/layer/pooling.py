"""Pooling of each time step."""

from torch import nn

from spikeloom.layer.time_wise import TimeWise

_SHAPES_1D, _SHAPES_2D, _SHAPES_3D = ("N C L", "C L"), ("N C H W", "C H W"), ("N C D H W", "C D H W")


class MaxPool1d(TimeWise, nn.MaxPool1d, shapes=_SHAPES_1D):
    """One-dimensional maximum pooling of each time step."""


class MaxPool2d(TimeWise, nn.MaxPool2d, shapes=_SHAPES_2D):
    """Two-dimensional maximum pooling of each time step."""


class MaxPool3d(TimeWise, nn.MaxPool3d, shapes=_SHAPES_3D):
    """Three-dimensional maximum pooling of each time step."""


class AvgPool1d(TimeWise, nn.AvgPool1d, shapes=_SHAPES_1D):
    """One-dimensional average pooling of each time step."""


class AvgPool2d(TimeWise, nn.AvgPool2d, shapes=_SHAPES_2D):
    """Two-dimensional average pooling of each time step."""


class AvgPool3d(TimeWise, nn.AvgPool3d, shapes=_SHAPES_3D):
    """Three-dimensional average pooling of each time step."""


class AdaptiveAvgPool1d(TimeWise, nn.AdaptiveAvgPool1d, shapes=_SHAPES_1D):
    """One-dimensional average pooling to a given size, of each time step."""


class AdaptiveAvgPool2d(TimeWise, nn.AdaptiveAvgPool2d, shapes=_SHAPES_2D):
    """Two-dimensional average pooling to a given size, of each time step."""


class AdaptiveAvgPool3d(TimeWise, nn.AdaptiveAvgPool3d, shapes=_SHAPES_3D):
    """Three-dimensional average pooling to a given size, of each time step."""


class AdaptiveMaxPool1d(TimeWise, nn.AdaptiveMaxPool1d, shapes=_SHAPES_1D):
    """One-dimensional maximum pooling to a given size, of each time step."""


class AdaptiveMaxPool2d(TimeWise, nn.AdaptiveMaxPool2d, shapes=_SHAPES_2D):
    """Two-dimensional maximum pooling to a given size, of each time step."""


class AdaptiveMaxPool3d(TimeWise, nn.AdaptiveMaxPool3d, shapes=_SHAPES_3D):
    """Three-dimensional maximum pooling to a given size, of each time step."""


class MaxUnpool1d(TimeWise, nn.MaxUnpool1d, shapes=_SHAPES_1D):
    """One-dimensional inverse of maximum pooling, of each time step."""


class MaxUnpool2d(TimeWise, nn.MaxUnpool2d, shapes=_SHAPES_2D):
    """Two-dimensional inverse of maximum pooling, of each time step."""


class MaxUnpool3d(TimeWise, nn.MaxUnpool3d, shapes=_SHAPES_3D):
    """Three-dimensional inverse of maximum pooling, of each time step."""
