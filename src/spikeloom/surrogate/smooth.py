"""Curves whose slope is positive everywhere: sigmoids, and curves with heavier tails."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikeloom.checks import checked_count, checked_inside
from spikeloom.surrogate.base import SurrogateFunction

_HALF = (torch.float16, torch.bfloat16)


class Sigmoid(SurrogateFunction):
    r"""The logistic function.

    .. math:: g(x) = \sigma(\alpha x),\quad g'(x) = \alpha\,\sigma(\alpha x)\,(1 - \sigma(\alpha x))

    Args:
        alpha: steepness, greater than 0; the slope at the threshold is ``alpha / 4``.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Wu et al., Front. Neurosci. 12:331, 2018, there called h3, with a = 1/alpha.
    Example:
        >>> Sigmoid(spiking=False)(torch.zeros(1))
        tensor([0.5000])
    """

    def __init__(self, alpha: float | Tensor = 4.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return (x * alpha).sigmoid()

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        if x.dtype in _HALF:  # these hold few numbers near 1: of two tails that are alike, the one near 0
            sigmoid = (x.abs() * -alpha).sigmoid()
            return torch.addcmul(sigmoid, sigmoid, sigmoid, value=-1.0) * alpha
        sigmoid = (x * alpha).sigmoid()
        return (1.0 - sigmoid) * sigmoid * alpha


class LogisticDensity(SurrogateFunction):
    r"""STBP's third curve: the logistic distribution's density, which is :class:`Sigmoid` with alpha = 1/a.

    .. math:: g'(x) = \frac{1}{a} \frac{e^{-x/a}}{(1 + e^{-x/a})^2}

    Args:
        a: scale, greater than 0, in units of the membrane potential.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Wu et al., Front. Neurosci. 12:331, 2018, there called h3.
    """

    def __init__(self, a: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, a=checked_inside("a", a, 0))

    @staticmethod
    def primitive_function(x: Tensor, a: Any) -> Tensor:
        return Sigmoid.primitive_function(x, 1.0 / a)

    @staticmethod
    def derivative(x: Tensor, a: Any) -> Tensor:
        return Sigmoid.derivative(x, 1.0 / a)


class ATan(SurrogateFunction):
    r"""The arc tangent.

    .. math:: g(x) = \tfrac{1}{\pi} \arctan(\tfrac{\pi}{2} \alpha x) + \tfrac12,\quad
              g'(x) = \frac{\alpha / 2}{1 + (\tfrac{\pi}{2} \alpha x)^2}

    Args:
        alpha: steepness, greater than 0; the slope at the threshold is ``alpha / 2``.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Fang et al., Incorporating learnable membrane time constant, ICCV 2021.
    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> ATan()(x).sum().backward()
        >>> x.grad
        tensor([0.2884, 1.0000, 0.2884])
    """

    def __init__(self, alpha: float | Tensor = 2.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return torch.atan(x * (math.pi / 2 * alpha)) / math.pi + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        z = x * (math.pi / 2 * alpha)
        return alpha / 2 / (z * z + 1.0)


class Erf(SurrogateFunction):
    r"""The error function.

    .. math:: g(x) = \tfrac12 \operatorname{erfc}(-\alpha x),\quad
              g'(x) = \frac{\alpha}{\sqrt{\pi}} e^{-\alpha^2 x^2}

    Args:
        alpha: steepness, greater than 0; the slope at the threshold is ``alpha / sqrt(pi)``.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Wu et al., Front. Neurosci. 12:331, 2018, there called h4, with a = 1/(2 alpha^2).
    """

    def __init__(self, alpha: float | Tensor = 2.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return torch.erfc(-x * alpha) * 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        z = x * alpha
        return (-(z * z)).exp() * (alpha / math.sqrt(math.pi))


class Gaussian(SurrogateFunction):
    r"""STBP's fourth curve: the normal distribution's density, :class:`Erf` with alpha = (2 variance)^(-1/2).

    .. math:: g'(x) = \frac{1}{\sqrt{2 \pi a}} e^{-x^2 / (2a)},\quad a = \text{variance}

    Args:
        variance: greater than 0, in squared units of the membrane potential.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Wu et al., Front. Neurosci. 12:331, 2018, there called h4.
    """

    def __init__(self, variance: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, variance=checked_inside("variance", variance, 0))

    @staticmethod
    def primitive_function(x: Tensor, variance: Any) -> Tensor:
        return Erf.primitive_function(x, (2.0 * variance) ** -0.5)

    @staticmethod
    def derivative(x: Tensor, variance: Any) -> Tensor:
        return Erf.derivative(x, (2.0 * variance) ** -0.5)


class PiecewiseExp(SurrogateFunction):
    r"""Exponential decay on both sides of the threshold.

    .. math:: g'(x) = \tfrac{\alpha}{2} e^{-\alpha |x|}

    Args:
        alpha: steepness, greater than 0; the slope at the threshold is ``alpha / 2``.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Shrestha & Orchard, SLAYER, NeurIPS 2018.
    """

    def __init__(self, alpha: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return odd(x, lambda size: -torch.expm1(-size * alpha) * 0.5) + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        return (-x.abs() * alpha).exp() * (alpha / 2)


class SoftSign(SurrogateFunction):
    r"""The soft sign, scaled to rise from 0 to 1.

    .. math:: g(x) = \tfrac12 \left( \frac{\alpha x}{1 + |\alpha x|} + 1 \right),\quad
              g'(x) = \frac{\alpha}{2 (1 + |\alpha x|)^2}

    Args:
        alpha: steepness, greater than 0; the slope at the threshold is ``alpha / 2``.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Zenke & Ganguli, Neural Computation 30(6), 2018, for the shape of the slope.
    """

    def __init__(self, alpha: float | Tensor = 2.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return odd(x, lambda size: 0.5 - 0.5 / (size * alpha + 1.0)) + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        z = (x * alpha).abs() + 1.0
        return alpha / 2 / (z * z)


class SuperSpike(SurrogateFunction):
    r"""The slope of a fast sigmoid.

    .. math:: g(x) = \frac{\alpha x}{1 + |x|} + \tfrac12,\quad g'(x) = \frac{\alpha}{(1 + |x|)^2}

    Args:
        alpha: the slope at the threshold, greater than 0.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Differs from: the paper, whose slope is :math:`1 / (1 + \alpha |x|)^2`, the shape of :class:`SoftSign`;
        this is SpikingJelly's, which has no primitive.
    Source: Zenke & Ganguli, Neural Computation 30(6), 2018.
    """

    def __init__(self, alpha: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return odd(x, lambda size: (1.0 - 1.0 / (size + 1.0)) * alpha) + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        z = x.abs() + 1.0
        return alpha / (z * z)


class QPseudoSpike(SurrogateFunction):
    r"""A curve whose tail follows a power law: heavy for alpha near 1, exponential for a large one.

    .. math:: g'(x) = \left( 1 + \frac{2|x|}{\alpha - 1} \right)^{-\alpha}

    Args:
        alpha: exponent, greater than 1; the slope at the threshold is always 1.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Herranz-Celotti & Rouat, Surrogate gradients design, 2022.
    """

    def __init__(self, alpha: float | Tensor = 2.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 1))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return odd(x, lambda size: 0.5 - 0.5 * (size * (2.0 / (alpha - 1.0)) + 1.0) ** (1.0 - alpha)) + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        return (x.abs() * (2.0 / (alpha - 1.0)) + 1.0) ** -alpha


class NonzeroSignLogAbs(SurrogateFunction):
    r"""A logarithm on both sides of the threshold: its slope decays slowly, and nothing bounds it.

    .. math:: g(x) = \operatorname{sign}(x) \ln(1 + \alpha|x|),\quad g'(x) = \frac{\alpha}{1 + \alpha |x|}

    Args:
        alpha: the slope at the threshold, greater than 0.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    """

    def __init__(self, alpha: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return odd(x, lambda size: (size * alpha).log1p())

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        return alpha / ((x * alpha).abs() + 1.0)


class S2NN(SurrogateFunction):
    r"""A logistic function below the threshold, a logarithm above: large potentials keep a gradient.

    .. math:: g(x) = \sigma(\alpha x) \;\text{for}\; x < 0,\quad
              g(x) = \beta \ln(1 + x) + \tfrac12 \;\text{for}\; x \ge 0

    Args:
        alpha: steepness below the threshold, greater than 0.
        beta: slope at the threshold and above, greater than 0; ``alpha / 4`` makes the curve smooth.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Differs from: SpikingJelly, whose primitive has ``ln(1 + x + 1e-5)``; the gradients of the spikes agree.
    Source: Suetake et al., S2NN, Neural Networks 159, 2023.
    """

    def __init__(self, alpha: float | Tensor = 4.0, beta: float | Tensor = 1.0, spiking: bool = True):
        alpha, beta = checked_inside("alpha", alpha, 0), checked_inside("beta", beta, 0)
        super().__init__(spiking, alpha=alpha, beta=beta)

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any, beta: Any) -> Tensor:
        return torch.where(x < 0, Sigmoid.primitive_function(x, alpha), x.clamp(min=0).log1p() * beta + 0.5)

    @staticmethod
    def derivative(x: Tensor, alpha: Any, beta: Any) -> Tensor:
        return torch.where(x < 0, Sigmoid.derivative(x, alpha), beta / (x.clamp(min=0) + 1.0))


class SquarewaveFourierSeries(SurrogateFunction):
    r"""The first terms of the Fourier series of a square wave: a slope that oscillates.

    .. math:: g(x) = \tfrac12 + \tfrac{2}{\pi} \sum_{i=1}^{n-1} \frac{\sin((2i-1)\,2\pi x / T)}{2i - 1},\quad
              g'(x) = \tfrac{4}{T} \sum_{i=1}^{n-1} \cos((2i-1)\,2\pi x / T)

    Args:
        n: one more than the number of terms, as in SpikingJelly; an integer of 2 or more.
        T_period: period, greater than 0, in units of the membrane potential.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors. At infinity, where the
            slope has no limit, it is taken as 0.
    """

    def __init__(self, n: int = 2, T_period: float | Tensor = 8, spiking: bool = True):
        n = checked_count("n", n, least=2)
        super().__init__(spiking, n=n, T_period=checked_inside("T_period", T_period, 0))

    @staticmethod
    def primitive_function(x: Tensor, n: int, T_period: Any) -> Tensor:
        angle = _angle(x, T_period)
        return (
            sum(((angle * k).sin() / k for k in range(1, 2 * n - 2, 2)), torch.zeros_like(x)) * (2 / math.pi)
            + 0.5
        )

    @staticmethod
    def derivative(x: Tensor, n: int, T_period: Any) -> Tensor:
        angle = _angle(x, T_period)
        series = sum(((angle * k).cos() for k in range(1, 2 * n - 2, 2)), torch.zeros_like(x))
        return torch.where(x.isinf(), 0.0, series * (4.0 / T_period))


def _angle(x: Tensor, period: Any) -> Tensor:
    """The phase in radians, within half a turn, so that no multiple of it overflows; 0 at infinity."""
    turns = x / period
    return torch.where(turns.isinf(), 0.0, turns - turns.round()) * (2 * math.pi)


def odd(x: Tensor, right: Callable[[Tensor], Tensor]) -> Tensor:
    """The odd function that equals ``right`` for ``x >= 0``; unlike ``abs``, it has a slope at 0."""
    return torch.where(x < 0, -right(-x.clamp(max=0)), right(x.clamp(min=0)))
