"""Layers whose weights are standardised before each use."""

import torch
from torch import Tensor, nn

from spikeloom.layer.convolution import Conv2d
from spikeloom.layer.linear import Linear
from spikeloom.layer.time_wise import TimeWise


class _Standardised(TimeWise):
    """What the layers below share: the gain, and the standardised weight."""

    weight: Tensor
    gain: nn.Parameter | None
    eps: float

    def _add_gain(self, gain: bool, eps: float) -> None:
        if self.weight[0].numel() < 2:
            raise ValueError(
                f"Each output of {type(self).__name__} must have at least 2 weights to standardise, got 1."
            )
        self.eps = eps
        shape = [self.weight.shape[0]] + [1] * (self.weight.dim() - 1)
        self.gain = nn.Parameter(self.weight.new_ones(shape)) if gain else None

    def get_weight(self) -> Tensor:
        """The standardised weight, which the layer computes with."""
        dims = tuple(range(1, self.weight.dim()))
        variance, mean = torch.var_mean(self.weight, dims, keepdim=True)
        scale = torch.rsqrt(variance * self.weight[0].numel() + self.eps)
        if self.gain is not None:
            scale = scale * self.gain
        return (self.weight - mean) * scale


class WSConv2d(_Standardised, Conv2d):
    r"""Convolution with standardised weights, which does without batch normalisation.

    .. math:: \hat w = g\,\frac{w - \mathrm{mean}(w)}{\sqrt{n\,\mathrm{var}(w) + \epsilon}}

    for each output channel, over its :math:`n` weights; the variance is the unbiased one.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode: as for
            ``torch.nn.Conv2d``.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
        gain: whether to learn :math:`g`, one for each output channel, 1 at the start.
        eps: :math:`\epsilon`.
    Shape:
        as :class:`~spikeloom.layer.Conv2d`.
    Raises:
        ValueError: an output has only one weight.
    Source: Brock et al., Characterizing signal propagation to close the performance gap in unnormalized
        ResNets, ICLR 2021.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        step_mode: str = "s",
        gain: bool = True,
        eps: float = 1e-4,
    ):
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        super().__init__(*sizes, bias=bias, padding_mode=padding_mode, step_mode=step_mode)
        self._add_gain(gain, eps)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, self.get_weight(), bias)


class WSLinear(_Standardised, Linear):
    """Linear layer with standardised weights; see :class:`WSConv2d`.

    Args:
        in_features, out_features, bias: as for ``torch.nn.Linear``.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
        gain: whether to learn a factor for each output, 1 at the start.
        eps: as for :class:`WSConv2d`.
    Shape:
        as :class:`~spikeloom.layer.Linear`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        step_mode: str = "s",
        gain: bool = True,
        eps: float = 1e-4,
    ):
        super().__init__(in_features, out_features, bias=bias, step_mode=step_mode)
        self._add_gain(gain, eps)

    def _weight(self) -> Tensor:
        return self.get_weight()
