"""Batch normalisation with statistics and a scale of its own for each time step."""

from typing import Any, ClassVar

from torch import Tensor, nn

from spikeloom.checks import checked_count
from spikeloom.errors import ShapeError, describe
from spikeloom.layer import synchronised
from spikeloom.memory import HALF, MemoryModule


class _ThroughTime(MemoryModule):
    r"""Batch normalisation through time (BNTT): each time step has its statistics and its scale; no shift.

    .. math:: y_t = \gamma_t\,\frac{x_t - \mu_t}{\sqrt{\sigma_t^2 + \epsilon}}

    Memory: ``t``, the step that comes next.

    Args:
        T: number of time steps of the longest sequence.
        num_features, eps, momentum, affine, track_running_stats: as for the batch normalisation of these
            dimensions.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input and output ``[N, C, *]`` (single-step) or ``[T', N, C, *]`` (multi-step), ``T' <= T``.
    Raises:
        ShapeError: there are more than ``T`` steps without a reset.
    Source: Kim & Panda, Revisiting batch normalization for training low-latency deep spiking neural networks
        from scratch, Frontiers in Neuroscience 2021.
    Example:
        >>> import torch
        >>> from spikeloom import layer
        >>> layer.BatchNormThroughTime2d(4, 2, step_mode="m")(torch.rand(4, 8, 2, 5, 5)).shape
        torch.Size([4, 8, 2, 5, 5])
    """

    _norm: ClassVar[Any]
    t: int

    def __init__(
        self,
        T: int,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        step_mode: str = "s",
    ):
        super().__init__(step_mode)
        self.T = checked_count("T", T)
        settings = (num_features, eps, momentum, affine, track_running_stats)
        self.bn_list = nn.ModuleList([self._norm(*settings) for _ in range(T)])
        for norm in self.bn_list:
            norm.register_parameter("bias", None)
        self.register_memory("t", 0)

    def single_step_forward(self, x: Tensor) -> Tensor:
        if self.t >= self.T:
            raise ShapeError(
                f"{describe(self)} has statistics for T = {self.T} time steps, and gets one more. Call "
                "functional.reset_net(net) before the next sequence, or build it with a larger T."
            )
        norm = self.bn_list[self.t]
        kind = getattr(norm.weight, "dtype", None)
        normalised = norm(x.to(kind) if kind in HALF else x)  # without a bias PyTorch mixes no types
        self.t = self.t + 1
        return normalised


class BatchNormThroughTime1d(_ThroughTime):
    __doc__ = _ThroughTime.__doc__
    _norm = synchronised.BatchNorm1d


class BatchNormThroughTime2d(_ThroughTime):
    __doc__ = _ThroughTime.__doc__
    _norm = synchronised.BatchNorm2d


class BatchNormThroughTime3d(_ThroughTime):
    __doc__ = _ThroughTime.__doc__
    _norm = synchronised.BatchNorm3d
