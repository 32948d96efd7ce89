"""Interpolation to a larger or smaller grid."""

from torch import Tensor, nn

from spikeloom.layer.shapes import Shapes
from spikeloom.layer.time_wise import TimeWise

_BY_MODE = {
    "linear": Shapes("N C L"),
    "bilinear": Shapes("N C H W"),
    "bicubic": Shapes("N C H W"),
    "trilinear": Shapes("N C D H W"),
}


class Upsample(TimeWise, nn.Upsample, shapes=("N C L", "N C H W", "N C D H W")):
    """Interpolation of each time step; the dimensions must fit ``mode``."""

    def _check(self, x: Tensor) -> None:
        _BY_MODE.get(self.mode, self._shapes).check(self, x)
