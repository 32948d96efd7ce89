"""Normalisation whose statistics, in multi-step mode, are over time too."""

from torch import Tensor, nn

from spikeloom.errors import ShapeError, describe
from spikeloom.layer import synchronised
from spikeloom.layer.time_wise import TimeWise


class BatchNorm1d(TimeWise, synchronised.BatchNorm1d, shapes=("N C", "N C L")):
    """Batch normalisation; in multi-step mode the statistics are over time and batch, ``T * N``."""

    def _check(self, x: Tensor) -> None:
        super()._check(x)
        channels = 2 if self.step_mode == "m" else 1
        if x.shape[channels] != self.num_features:  # [T, N, C] given as [N, C, L], or the reverse
            raise ShapeError(
                f"{describe(self)} expects C = {self.num_features} in {self._shapes.shown(self.step_mode)}, "
                f"got {list(x.shape)}. A sequence [T, N, C] needs functional.set_step_mode(net, 'm'), "
                "a single step 's'."
            )


class BatchNorm2d(TimeWise, synchronised.BatchNorm2d, shapes=("N C H W",)):
    """Batch normalisation of images; in multi-step mode the statistics are over time too."""


class BatchNorm3d(TimeWise, synchronised.BatchNorm3d, shapes=("N C D H W",)):
    """Batch normalisation of volumes; in multi-step mode the statistics are over time too."""


class GroupNorm(TimeWise, nn.GroupNorm, shapes=("N C *",)):
    """Normalisation over groups of channels, of each sample and time step alone."""
