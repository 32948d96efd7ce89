"""Curves whose slope lives in a window around the threshold: boxes, triangles, and Dspike."""

import math
from typing import Any

import torch
from torch import Tensor

from spikeloom.checks import checked_inside, checked_range
from spikeloom.surrogate.base import SurrogateFunction


class Rect(SurrogateFunction):
    r"""A box of area 1.

    .. math:: g(x) = \min(\max(\alpha x + \tfrac12, 0), 1),\quad
              g'(x) = \alpha\,[\,|x| < \tfrac{1}{2\alpha}\,]

    Args:
        alpha: height of the box, greater than 0; its width is ``1 / alpha``.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Wu et al., Front. Neurosci. 12:331, 2018, there called h1, with a = 1/alpha.
    """

    def __init__(self, alpha: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return (x * alpha + 0.5).clamp(0, 1)

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        return (x.abs() < 0.5 / alpha).to(x.dtype) * alpha


class Rectangular(SurrogateFunction):
    r"""STBP's first curve: a box of area 1, given by its width; :class:`Rect` with alpha = 1/width.

    .. math:: g'(x) = \tfrac{1}{a}\,[\,|x| < \tfrac{a}{2}\,],\quad a = \text{width}

    Args:
        width: greater than 0, in units of the membrane potential; the default reaches 0.5 to each side.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Wu et al., Front. Neurosci. 12:331, 2018, there called h1.
    Example:
        >>> x = torch.tensor([-0.5, -0.4, 0.4, 0.5], requires_grad=True)
        >>> Rectangular()(x).sum().backward()
        >>> x.grad
        tensor([0., 1., 1., 0.])
    """

    def __init__(self, width: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, width=checked_inside("width", width, 0))

    @staticmethod
    def primitive_function(x: Tensor, width: Any) -> Tensor:
        return Rect.primitive_function(x, 1.0 / width)

    @staticmethod
    def derivative(x: Tensor, width: Any) -> Tensor:
        return (x.abs() < width / 2).to(x.dtype) / width


class PiecewiseQuadratic(SurrogateFunction):
    r"""A triangle of area 1.

    .. math:: g'(x) = \max(\alpha - \alpha^2 |x|,\, 0)

    Args:
        alpha: height of the triangle, greater than 0; it reaches ``1 / alpha`` to each side.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Esser et al., PNAS 113(41), 2016.
    """

    def __init__(self, alpha: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        z = (x * alpha).clamp(-1, 1)
        return z - z * z.abs() * 0.5 + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        return (1.0 - (x * alpha).abs()).clamp(min=0) * alpha


class Polynomial(SurrogateFunction):
    r"""STBP's second curve: a triangle of area 1; :class:`PiecewiseQuadratic` with alpha = sqrt(a)/2.

    .. math:: g'(x) = \max\left( \tfrac{\sqrt{a}}{2} - \tfrac{a}{4} |x|,\, 0 \right)

    Args:
        a: greater than 0; the triangle has height ``sqrt(a) / 2`` and reaches ``2 / sqrt(a)`` to each side.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Wu et al., Front. Neurosci. 12:331, 2018, there called h2.
    """

    def __init__(self, a: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, a=checked_inside("a", a, 0))

    @staticmethod
    def primitive_function(x: Tensor, a: Any) -> Tensor:
        return PiecewiseQuadratic.primitive_function(x, a**0.5 / 2)

    @staticmethod
    def derivative(x: Tensor, a: Any) -> Tensor:
        return PiecewiseQuadratic.derivative(x, a**0.5 / 2)


class Triangle(SurrogateFunction):
    r"""The triangle of temporal efficient training; :class:`PiecewiseQuadratic` with alpha = 1/gamma.

    .. math:: g'(x) = \frac{\max(\gamma - |x|,\, 0)}{\gamma^2}

    Args:
        gamma: how far the triangle reaches to each side, greater than 0, in units of the membrane potential.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Deng et al., Temporal efficient training, ICLR 2022.
    """

    def __init__(self, gamma: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, gamma=checked_inside("gamma", gamma, 0))

    @staticmethod
    def primitive_function(x: Tensor, gamma: Any) -> Tensor:
        return PiecewiseQuadratic.primitive_function(x, 1.0 / gamma)

    @staticmethod
    def derivative(x: Tensor, gamma: Any) -> Tensor:
        return PiecewiseQuadratic.derivative(x, 1.0 / gamma)


class Dspike(SurrogateFunction):
    r"""A piece of a hyperbolic tangent that always rises from 0 to 1 over a window of width 1.

    .. math:: g(x) = \frac{\tanh(b x) + \tanh(b/2)}{2 \tanh(b/2)},\quad
              g'(x) = \frac{b\,(1 - \tanh^2(b x))}{2 \tanh(b/2)}\;\text{for}\; |x| \le \tfrac12,\text{else } 0

    Args:
        temperature: ``b``, greater than 0: small makes a ramp, large a step. Meant to be adapted in training.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors. ``x`` is the potential minus its
            threshold, so that the paper's window [0, 1] around a threshold of 0.5 is [-0.5, 0.5] here.
    Source: Li et al., Differentiable Spike, NeurIPS 2021.
    Example:
        >>> Dspike(temperature=3.0, spiking=False)(torch.tensor([-0.5, 0.0, 0.5]))
        tensor([0.0000, 0.5000, 1.0000])
    """

    def __init__(self, temperature: float | Tensor = 3.0, spiking: bool = True):
        super().__init__(spiking, temperature=checked_inside("temperature", temperature, 0))

    @staticmethod
    def primitive_function(x: Tensor, temperature: Any) -> Tensor:
        return (x.clamp(-0.5, 0.5) * temperature).tanh() / (2.0 * _tanh(temperature / 2)) + 0.5

    @staticmethod
    def derivative(x: Tensor, temperature: Any) -> Tensor:
        tanh = (x.clamp(-0.5, 0.5) * temperature).tanh()
        peak = temperature / (2.0 * _tanh(temperature / 2))
        return (1.0 - tanh * tanh) * (x.abs() <= 0.5).to(x.dtype) * peak


class PiecewiseLeakyReLU(SurrogateFunction):
    r"""A box of area 1 with a constant slope beside it.

    .. math:: g'(x) = \begin{cases} \tfrac{1}{2w} & |x| < w \\ c & |x| \ge w \end{cases}

    Args:
        w: half the width of the box, greater than 0, in units of the membrane potential.
        c: the slope outside.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    """

    def __init__(self, w: float | Tensor = 1.0, c: float | Tensor = 0.01, spiking: bool = True):
        super().__init__(spiking, w=checked_inside("w", w, 0), c=checked_range("c", c))

    @staticmethod
    def primitive_function(x: Tensor, w: Any, c: Any) -> Tensor:
        inside = x.clamp(-w, w)
        return inside / (2.0 * w) + 0.5 + scaled(x - inside, c)

    @staticmethod
    def derivative(x: Tensor, w: Any, c: Any) -> Tensor:
        inside = (x.abs() < w).to(x.dtype)
        return inside * (0.5 / w) + (1.0 - inside) * c


def _tanh(value: float | Tensor) -> Any:
    return value.tanh() if isinstance(value, Tensor) else math.tanh(value)


def scaled(x: Tensor, slope: Any) -> Tensor:
    """``slope * x``, but 0 where a plain slope of 0 meets an infinite ``x``."""
    return x * slope if isinstance(slope, Tensor) or slope != 0 else torch.zeros_like(x)
