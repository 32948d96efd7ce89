"""Surrogates as functions, under the names that older scripts use: ``surrogate.sigmoid.apply(x, 4.0)``."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from spikeloom.surrogate.base import SurrogateFunction
from spikeloom.surrogate.rectified import DeterministicPass, FakeNumericalGradient, LeakyKReLU, LogTailedReLU
from spikeloom.surrogate.smooth import (
    S2NN,
    ATan,
    Erf,
    NonzeroSignLogAbs,
    PiecewiseExp,
    QPseudoSpike,
    Sigmoid,
    SoftSign,
    SquarewaveFourierSeries,
    SuperSpike,
)
from spikeloom.surrogate.window import PiecewiseLeakyReLU, PiecewiseQuadratic, Rect


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


atan = Applied(ATan)
deterministic_pass = Applied(DeterministicPass)
erf = Applied(Erf)
fake_numerical_gradient = Applied(FakeNumericalGradient)
leaky_k_relu = Applied(LeakyKReLU)
log_tailed_relu = Applied(LogTailedReLU)
nonzero_sign_log_abs = Applied(NonzeroSignLogAbs)
piecewise_exp = Applied(PiecewiseExp)
piecewise_leaky_relu = Applied(PiecewiseLeakyReLU)
piecewise_quadratic = Applied(PiecewiseQuadratic)
q_pseudo_spike = Applied(QPseudoSpike)
rect = Applied(Rect)
s2nn = Applied(S2NN)
sigmoid = Applied(Sigmoid)
soft_sign = Applied(SoftSign)
squarewave_fourier_series = Applied(SquarewaveFourierSeries)
super_spike = Applied(SuperSpike)
