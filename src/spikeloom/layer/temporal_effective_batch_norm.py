"""Batch normalisation over time with a learned scale for each time step."""

from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count
from spikeloom.errors import ShapeError, describe
from spikeloom.layer.normalisation import BatchNorm1d, BatchNorm2d, BatchNorm3d
from spikeloom.layer.time_wise import TimeWise


class _TemporalEffective(TimeWise):
    r"""Temporal effective batch normalisation (TEBN): one scale for each time step, learned, 1 at the start.

    .. math:: y_t = p_t \left(\gamma\,\frac{x_t - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta\right)

    with :math:`\mu` and :math:`\sigma` over time and batch. It needs whole sequences: ``step_mode`` is always
    ``'m'``.

    Args:
        T: number of time steps of every sequence.
        args, kwargs: as for the batch normalisation of these dimensions.
    Shape:
        input and output ``[T, N, C, *]``, as the batch normalisation of these dimensions.
    Raises:
        ShapeError: a sequence does not have ``T`` steps.
    Source: Duan et al., Temporal effective batch normalization in spiking neural networks, NeurIPS 2022.
    Example:
        >>> from spikeloom import layer
        >>> norm = layer.TemporalEffectiveBatchNorm2d(4, num_features=2)
        >>> norm.scale.tolist(), norm(torch.rand(4, 8, 2, 5, 5)).shape
        ([1.0, 1.0, 1.0, 1.0], torch.Size([4, 8, 2, 5, 5]))
    """

    _step_modes = ("m",)

    def __init__(self, T: int, *args: Any, step_mode: str = "m", **kwargs: Any):
        super().__init__(*args, step_mode=step_mode, **kwargs)
        self.T = checked_count("T", T)
        self.scale = nn.Parameter(torch.ones(T))

    def _check(self, x: Tensor) -> None:
        super()._check(x)
        if x.shape[0] != self.T:
            raise ShapeError(
                f"{describe(self)} has a scale for each of T = {self.T} time steps, got {list(x.shape)}. "
                f"Give it {self.T} steps, or build it with T={x.shape[0]}."
            )

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * self.scale.view(-1, *[1] * (input.dim() - 1))


class TemporalEffectiveBatchNorm1d(_TemporalEffective, BatchNorm1d):
    __doc__ = _TemporalEffective.__doc__


class TemporalEffectiveBatchNorm2d(_TemporalEffective, BatchNorm2d):
    __doc__ = _TemporalEffective.__doc__


class TemporalEffectiveBatchNorm3d(_TemporalEffective, BatchNorm3d):
    __doc__ = _TemporalEffective.__doc__
