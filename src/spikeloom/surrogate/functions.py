"""Surrogates as functions, under the names that older scripts use: ``surrogate.sigmoid.apply(x, 4.0)``."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from spikeloom.surrogate import rectified, smooth, window
from spikeloom.surrogate.base import SurrogateFunction


class Applied:
    """A surrogate as a function of ``x`` and of what its class takes.

    Args:
        curve: the class.
    Example:
        >>> import torch
        >>> x = torch.tensor([0.0], requires_grad=True)
        >>> sigmoid.apply(x, 4.0).backward()
        >>> x.grad
        tensor([1.])
    """

    def __init__(self, curve: Callable[..., SurrogateFunction]):
        self.curve = curve

    def apply(self, x: Tensor, *settings: Any) -> Tensor:
        """The spikes of ``x``, with the curve's slope; ``settings`` are those of the class, in order."""
        return self.curve(*settings)(x)


atan = Applied(smooth.ATan)
deterministic_pass = Applied(rectified.DeterministicPass)
erf = Applied(smooth.Erf)
fake_numerical_gradient = Applied(rectified.FakeNumericalGradient)
leaky_k_relu = Applied(rectified.LeakyKReLU)
log_tailed_relu = Applied(rectified.LogTailedReLU)
nonzero_sign_log_abs = Applied(smooth.NonzeroSignLogAbs)
piecewise_exp = Applied(smooth.PiecewiseExp)
piecewise_leaky_relu = Applied(window.PiecewiseLeakyReLU)
piecewise_quadratic = Applied(window.PiecewiseQuadratic)
q_pseudo_spike = Applied(smooth.QPseudoSpike)
rect = Applied(window.Rect)
s2nn = Applied(smooth.S2NN)
sigmoid = Applied(smooth.Sigmoid)
soft_sign = Applied(smooth.SoftSign)
squarewave_fourier_series = Applied(smooth.SquarewaveFourierSeries)
super_spike = Applied(smooth.SuperSpike)
