"""How a weight change depends on the weight, and what keeps weights in their range."""

import functools

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from spikeloom.checks import checked_inside, checked_range
from spikeloom.learning.learner import Modulation, in_full


def additive(a_plus: float = 0.01, a_minus: float = 0.0105) -> tuple[Modulation, Modulation]:
    """Factors that do not depend on the weight; keep weights in range with :func:`clamp_weights`.

    Args:
        a_plus, a_minus: strengthening and weakening by a pair of spikes in the same step.
    Returns:
        ``f_pre`` and ``f_post`` of a learner
    Source: Song, Miller & Abbott, Competitive Hebbian learning through spike-timing-dependent synaptic
        plasticity, Nature Neuroscience 2000.
    Example:
        >>> f_pre, f_post = additive(0.01, 0.02)
        >>> f_pre(torch.zeros(1)), f_post(torch.zeros(1))
        (0.02, 0.01)
    """
    return functools.partial(_constant, a_minus), functools.partial(_constant, a_plus)


def soft_bounds(
    a_plus: float = 0.01, a_minus: float = 0.0105, w_min: float = 0.0, w_max: float = 1.0, mu: float = 1.0
) -> tuple[Modulation, Modulation]:
    r"""Factors that vanish as the weight comes to its bounds.

    .. math:: f_{post}(w) = A^+ (w_{max} - w)^\mu,\quad f_{pre}(w) = A^- (w - w_{min})^\mu

    with 0 beyond the bounds.

    Args:
        a_plus, a_minus: strengthening and weakening at a distance of 1 from the bound.
        w_min, w_max: the bounds.
        mu: 1 for factors that are proportional to the distance; 0 or more.
    Returns:
        ``f_pre`` and ``f_post`` of a learner
    Raises:
        ValueError: ``w_min`` is not below ``w_max``, or ``mu`` is negative.
    Source: Gütig et al., Learning input correlations through nonlinear temporally asymmetric Hebbian
        plasticity, Journal of Neuroscience 2003.
    Example:
        >>> f_pre, f_post = soft_bounds(1.0, 1.0)
        >>> f_post(torch.tensor([0.0, 0.75, 1.5])), f_pre(torch.tensor([0.0, 0.75, 1.5]))
        (tensor([1.0000, 0.2500, 0.0000]), tensor([0.0000, 0.7500, 1.5000]))
    """
    check_bounds(w_min, w_max)
    checked_range("mu", mu, 0)
    return functools.partial(_soft, a_minus, w_min, 1, mu), functools.partial(_soft, a_plus, w_max, -1, mu)


def clamp_weights(module: nn.Module, low: float = 0.0, high: float = 1.0, name: str = "weight") -> None:
    """Bring the weights of ``module`` back into their range: call it after the optimiser's step.

    Args:
        module: a layer, changed in place.
        low, high: the range.
        name: of the parameter.
    Raises:
        ValueError: ``low`` is not below ``high``.
    """
    check_bounds(low, high)
    set_weight(module, getattr(module, name).detach().clamp(low, high), name)


@torch.no_grad()
def normalise_weights(module: nn.Module, total: float, name: str = "weight") -> None:
    r"""Scale the weights into each neuron so that their absolute values sum to ``total``.

    Neurons then compete for inputs and not with the size of their weights. Diehl & Cook do this before every
    image, with 78 for 784 inputs. A neuron whose weights are all 0 keeps them.

    Args:
        module: a linear or convolutional layer, changed in place.
        total: the sum, greater than 0.
        name: of the parameter.
    Raises:
        ValueError: ``total`` is not greater than 0.
    Source: Diehl & Cook, Frontiers in Computational Neuroscience 9:99, 2015.
    Example:
        >>> fc = nn.Linear(2, 2)
        >>> _ = fc.weight.data.copy_(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
        >>> normalise_weights(fc, 8.0); fc.weight.detach()
        tensor([[2., 6.],
                [0., 0.]])
    """
    checked_inside("total", total, 0)
    weight = in_full(getattr(module, name).detach())
    sums = weight.abs().flatten(1).sum(1).view(-1, *[1] * (weight.dim() - 1))
    set_weight(module, weight / torch.where(sums > 0, sums, 1.0) * total, name)


@torch.no_grad()
def set_weight(module: nn.Module, value: Tensor, name: str = "weight") -> None:
    """Give a parameter new values, also one that is computed from a hidden parameter."""
    if is_parametrized(module, name):
        setattr(module, name, value)
    else:
        getattr(module, name).copy_(value)


def check_bounds(low: float, high: float) -> None:
    """Refuse bounds in the wrong order.

    Raises:
        ValueError: ``low`` is not below ``high``.
    """
    if not low < high:
        raise ValueError(f"The lower bound of weights must be below the upper one, got {low} and {high}.")


# Functions of the module, not of the moment: a learner that has them can be pickled.
def _constant(factor: float, _weight: Tensor) -> float:
    return factor


def _soft(factor: float, bound: float, inward: int, mu: float, weight: Tensor) -> Tensor:
    distance = inward * (weight - bound)
    inside = distance.clamp(min=0)
    return factor * (inside if mu == 1 else torch.where(distance > 0, inside**mu, 0.0))
