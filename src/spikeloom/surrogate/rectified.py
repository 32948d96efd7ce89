"""Curves after rectifiers and straight-through estimators: slopes that do not decay, or only on one side."""

from typing import Any

import torch
from torch import Tensor

from spikeloom.checks import checked_count, checked_inside, checked_range
from spikeloom.surrogate.base import SurrogateFunction
from spikeloom.surrogate.smooth import odd
from spikeloom.surrogate.window import scaled


class LeakyKReLU(SurrogateFunction):
    r"""A leaky rectifier.

    .. math:: g'(x) = \begin{cases} \text{leak} & x < 0 \\ k & x \ge 0 \end{cases}

    Args:
        leak: slope below the threshold.
        k: slope from the threshold on.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Differs from: SpikingJelly 0.0.0.0.14, where ``spiking`` came first.
    """

    def __init__(self, leak: float | Tensor = 0.0, k: float | Tensor = 1.0, spiking: bool = True):
        super().__init__(spiking, leak=checked_range("leak", leak), k=checked_range("k", k))

    @staticmethod
    def primitive_function(x: Tensor, leak: Any, k: Any) -> Tensor:
        return torch.where(x < 0, scaled(x, leak), x * k)

    @staticmethod
    def derivative(x: Tensor, leak: Any, k: Any) -> Tensor:
        above = (x >= 0).to(x.dtype)
        return above * k + (1.0 - above) * leak


class LogTailedReLU(SurrogateFunction):
    r"""A leaky rectifier that grows as a logarithm beyond 1.

    .. math:: g'(x) = \begin{cases} \alpha & x \le 0 \\ 1 & 0 < x \le 1 \\ 1/x & x > 1 \end{cases}

    Args:
        alpha: slope up to the threshold.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Source: Cai et al., Deep learning with low precision by half-wave Gaussian quantization, CVPR 2017.
    """

    def __init__(self, alpha: float | Tensor = 0.0, spiking: bool = True):
        super().__init__(spiking, alpha=checked_range("alpha", alpha))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return torch.where(x <= 0, scaled(x, alpha), _log_tailed(x))

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        above = (x > 0).to(x.dtype)
        return above / x.clamp(min=1) + (1.0 - above) * alpha


class FakeNumericalGradient(SurrogateFunction):
    r"""The difference quotient of a step from -1 to 1 between 0 and x, cut off at alpha.

    .. math:: g'(x) = \min\left( \alpha,\, \tfrac{1}{|x|} \right)

    Args:
        alpha: the largest slope, greater than 0.
        spiking: as for :class:`SurrogateFunction`, like shapes and errors.
    Differs from: SpikingJelly, which has no primitive here, and no ``spiking``.
    """

    def __init__(self, alpha: float | Tensor = 0.3, spiking: bool = True):
        super().__init__(spiking, alpha=checked_inside("alpha", alpha, 0))

    @staticmethod
    def primitive_function(x: Tensor, alpha: Any) -> Tensor:
        return odd(x, lambda size: _log_tailed(size * alpha))

    @staticmethod
    def derivative(x: Tensor, alpha: Any) -> Tensor:
        return alpha / (x * alpha).abs().clamp(min=1)


class DeterministicPass(SurrogateFunction):
    r"""The straight-through estimator: the gradient passes as it is.

    .. math:: g(x) = x,\quad g'(x) = 1

    Args:
        spiking: as for :class:`SurrogateFunction`, like shapes.
    Source: Bengio, Léonard & Courville, arXiv:1308.3432, 2013.
    """

    def __init__(self, spiking: bool = True):
        super().__init__(spiking)

    @staticmethod
    def primitive_function(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def derivative(x: Tensor) -> Tensor:
        return torch.ones_like(x)


class MultiLevelSpikeCount(SurrogateFunction):
    r"""Several spikes in one time step: the rounded input, with a gradient that passes in a window.

    .. math:: s = \min(\max(\operatorname{round}(x), 0), n),\quad
              \frac{\partial s}{\partial x} := [\,x_{min} \le x \le x_{max}\,],\quad
              g(x) = \min(\max(x, 0), n)

    Halves are rounded to the even neighbour. The gradient is the derivative of the primitive only with the
    default window: another window is a choice of where to let the error through.

    Args:
        max_spike_count: ``n``, an integer of 1 or more.
        spiking: as for :class:`SurrogateFunction`.
        grad_window: ``(x_min, x_max)``; ``None`` is ``(0, n)``.
    Shape:
        as :class:`SurrogateFunction`; the values of the output are in {0, 1, ..., n}.
    Raises:
        TypeError, ValueError: ``max_spike_count`` is not a positive integer, or the window is not two rising
            numbers.
    Source: Luo et al., Integer-valued training and spike-driven inference spiking neural network for
        high-performance and energy-efficient object detection, ECCV 2024.
    Example:
        >>> MultiLevelSpikeCount(4)(torch.tensor([-1.0, 0.4, 1.5, 2.5, 9.0]))
        tensor([0., 0., 2., 2., 4.])
    """

    def __init__(
        self, max_spike_count: int, spiking: bool = True, grad_window: tuple[float, float] | None = None
    ):
        max_spike_count = checked_count("max_spike_count", max_spike_count)
        window = (0.0, float(max_spike_count)) if grad_window is None else grad_window
        if not (isinstance(window, tuple | list) and len(window) == 2 and window[0] < window[1]):
            raise ValueError(
                f"`grad_window` must be two numbers (low, high) with low < high, got {grad_window!r}."
            )
        low, high = checked_range("grad_window[0]", window[0]), checked_range("grad_window[1]", window[1])
        super().__init__(spiking, max_spike_count=max_spike_count, grad_min=low, grad_max=high)

    @staticmethod
    def step(x: Tensor, *parameters: Any) -> Tensor:
        max_spike_count, *_ = parameters
        return x.round().clamp(0, max_spike_count)

    @staticmethod
    def primitive_function(x: Tensor, max_spike_count: int, grad_min: Any, grad_max: Any) -> Tensor:
        return x.clamp(0, max_spike_count)

    @staticmethod
    def derivative(x: Tensor, max_spike_count: int, grad_min: Any, grad_max: Any) -> Tensor:
        return ((x >= grad_min) & (x <= grad_max)).to(x.dtype)


def _log_tailed(x: Tensor) -> Tensor:
    """``x`` up to 1, where its slope is 1, and its logarithm plus 1 beyond."""
    return torch.where(x <= 1, x, 1 + x.clamp(min=1).log())
