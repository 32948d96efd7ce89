"""Batch normalisation that starts on the scale of the neurons' threshold."""

from typing import Any

from torch import nn

from spikeloom.layer.normalisation import BatchNorm1d, BatchNorm2d, BatchNorm3d
from spikeloom.layer.time_wise import TimeWise


class _ThresholdDependent(TimeWise):
    r"""Threshold-dependent batch normalisation (tdBN): neurons get input on the scale of their threshold.

    .. math:: y = \gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta, \quad
              \gamma = \alpha V_{th} \text{ and } \beta = 0 \text{ at the start}

    Args:
        alpha: 1, or less where branches are added: ``1 / sqrt(2)`` for the two of a residual block.
        v_th: firing threshold of the neurons that follow.
        args, kwargs: as for the batch normalisation of these dimensions; ``affine`` must stay true.
        step_mode: ``'m'`` takes the statistics over time and batch, ``'s'`` those of one step.
    Shape:
        as the batch normalisation of these dimensions.
    Raises:
        ValueError: ``affine=False``, which leaves nothing to scale.
    Differs from: the paper's equation, which multiplies a scale that starts at 1 by a fixed :math:`\alpha
        V_{th}`. The output at the start is the same; here, as in code of its followers, the product is what
        is learned.
    Source: Zheng et al., Going deeper with directly-trained larger spiking neural networks, AAAI 2021.
    Example:
        >>> import torch
        >>> from spikeloom import layer
        >>> norm = layer.ThresholdDependentBatchNorm2d(alpha=0.5, v_th=3.0, num_features=2)
        >>> norm.weight.tolist(), norm(torch.rand(4, 8, 2, 5, 5)).shape
        ([1.5, 1.5], torch.Size([4, 8, 2, 5, 5]))
    """

    weight: Any

    def __init__(self, alpha: float, v_th: float, *args: Any, step_mode: str = "m", **kwargs: Any):
        super().__init__(*args, step_mode=step_mode, **kwargs)
        if self.weight is None:
            raise ValueError("`affine` must be True, got False. Use BatchNorm where nothing is to be scaled.")
        self.alpha = alpha
        self.v_th = v_th
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin anew, on the scale of the threshold."""
        super().reset_parameters()  # type: ignore[misc]
        if hasattr(self, "v_th"):  # not when the batch normalisation's own constructor calls this
            nn.init.constant_(self.weight, self.alpha * self.v_th)


class ThresholdDependentBatchNorm1d(_ThresholdDependent, BatchNorm1d):
    __doc__ = _ThresholdDependent.__doc__


class ThresholdDependentBatchNorm2d(_ThresholdDependent, BatchNorm2d):
    __doc__ = _ThresholdDependent.__doc__


class ThresholdDependentBatchNorm3d(_ThresholdDependent, BatchNorm3d):
    __doc__ = _ThresholdDependent.__doc__


# Names of older scripts, which mean the same.
MultiStepThresholdDependentBatchNorm1d = ThresholdDependentBatchNorm1d
MultiStepThresholdDependentBatchNorm2d = ThresholdDependentBatchNorm2d
MultiStepThresholdDependentBatchNorm3d = ThresholdDependentBatchNorm3d
