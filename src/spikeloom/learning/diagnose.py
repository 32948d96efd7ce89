"""Why unsupervised learning does not work: dead neurons, neurons that are all alike, weights and thresholds
that ran away."""

from dataclasses import dataclass

from torch import Tensor

from spikeloom.errors import ShapeError
from spikeloom.learning.bounds import check_bounds

# Shares and similarity from which on there is something to change.
DEAD, RUNAWAY, ALIKE, BUSY, SATURATED = 0.25, 0.05, 0.9, 0.5, 0.95


@dataclass
class LearningCheck:
    """What :func:`check_learning` found.

    Args:
        num_neurons: neurons that were looked at.
        dead: indices of those that never fired; ``None`` if spikes were not given.
        runaway: those of the dead whose threshold has risen: they once fired.
        similarity: mean cosine of the angle between the weights of two neurons, weight zero left out of
            account; 1 if all are alike.
        at_low, at_high: shares of the weights that lie at their bounds; ``None`` without bounds.
        busiest: share of all spikes that the most active neuron fired; ``None`` if none were given.
    """

    num_neurons: int
    similarity: float
    dead: list[int] | None = None
    runaway: list[int] | None = None
    busiest: float | None = None
    at_low: float | None = None
    at_high: float | None = None

    def advice(self) -> list[str]:
        """What is wrong and what to change, a sentence or two each; nothing if all is well."""
        found = (self._dead(), self._runaway(), self._alike(), self._busiest(), self._saturated())
        return [advice for advice in found if advice]

    def _dead(self) -> str | None:
        never = len(self.dead or []) - len(self.runaway or [])
        if never < DEAD * self.num_neurons or self._busiest():  # more input would not let them win
            return None
        return (
            f"{never} of {self.num_neurons} neurons never fired, and cannot learn. Give them more "
            "input: a higher rate, larger initial weights, normalise_weights with a larger total; or weaken "
            "the inhibition."
        )

    def _runaway(self) -> str | None:
        if not self.runaway or len(self.runaway) < RUNAWAY * self.num_neurons:
            return None
        return (
            f"{len(self.runaway)} neurons have fired before and are silent now: their thresholds rose out of "
            "reach. Lower theta_plus, shorten tau_theta, or give more input."
        )

    def _alike(self) -> str | None:
        if self.num_neurons < 2 or self.similarity < ALIKE:
            return None
        return (
            f"The neurons have learned the same: their weights have a mean similarity of "
            f"{self.similarity:.2f}. Let a spike silence the others (LateralInhibition, WinnerTakeAll) with "
            "more strength than the input has, start from random weights, and let thresholds adapt "
            "(HomeostaticLIFNode), so that others win too."
        )

    def _busiest(self) -> str | None:
        if self.busiest is None or self.num_neurons < 4 or self.busiest < BUSY:
            return None
        return (
            f"One neuron fires {self.busiest:.0%} of all spikes: it wins every time. Let thresholds adapt "
            "(HomeostaticLIFNode with a larger theta_plus), and normalise_weights before each sample."
        )

    def _saturated(self) -> str | None:
        low, high = self.at_low or 0.0, self.at_high or 0.0
        if low + high < SATURATED:
            return None
        if high > SATURATED:
            return (
                f"{high:.0%} of the weights are at their upper bound: strengthening always wins. Raise "
                "a_minus against a_plus, or take soft_bounds, or normalise_weights."
            )
        if low > SATURATED:
            return (
                f"{low:.0%} of the weights are at their lower bound: weakening always wins. Lower a_minus "
                "against a_plus, or take soft_bounds, or give the neurons more input so that they fire."
            )
        return (
            f"{low:.0%} of the weights are at the lower bound and {high:.0%} at the upper: there is nothing "
            "between. That may be a code; for grey values lower the learning rate or take soft_bounds."
        )


def check_learning(
    weight: Tensor,
    spikes: Tensor | None = None,
    theta: Tensor | None = None,
    bounds: tuple[float, float] | None = None,
) -> LearningCheck:
    """Look at the weights of neurons that learned without labels, and at their spikes.

    Args:
        weight: of the layer before the neurons; a convolution's output channels are its neurons.
        spikes: how often each neuron fired, counted over time and over some hundred samples.
        theta: how far the threshold of each neuron has risen since the start.
        bounds: the smallest and the largest weight.
    Shape:
        weight ``[neurons, *]``; spikes and theta ``[neurons]``.
    Returns:
        what was found; :meth:`LearningCheck.advice` says what to change
    Raises:
        ShapeError: there is no neuron, or the arguments belong to different numbers of neurons.
        ValueError: a value is NaN or infinite, a count is negative, or the bounds are in the wrong order.
    Example:
        >>> import torch
        >>> check = check_learning(torch.ones(3, 4), spikes=torch.tensor([9, 0, 2]))
        >>> check.dead, check.similarity
        ([1], 1.0)
        >>> print(check.advice()[0])
        1 of 3 neurons never fired, and cannot learn. Give them more input: ...
    """
    if weight.dim() < 2 or not len(weight):
        raise ShapeError(f"`weight` must be [neurons, *], of at least one neuron, got {list(weight.shape)}.")
    weight = weight.detach().flatten(1).double()
    _check_arguments(weight, spikes, theta)
    check = LearningCheck(len(weight), _similarity(weight))
    if spikes is not None:
        check.dead = (spikes == 0).nonzero().flatten().tolist()
        check.busiest = float(spikes.max() / spikes.sum()) if bool(spikes.any()) else None
        if theta is not None:
            check.runaway = ((spikes == 0) & (theta > 0)).nonzero().flatten().tolist()
    if bounds is not None:
        check_bounds(*bounds)
        near = 1e-3 * (bounds[1] - bounds[0])
        check.at_low = (weight <= bounds[0] + near).double().mean().item()
        check.at_high = (weight >= bounds[1] - near).double().mean().item()
    return check


def _check_arguments(weight: Tensor, spikes: Tensor | None, theta: Tensor | None) -> None:
    for name, values in (("weight", weight), ("spikes", spikes), ("theta", theta)):
        if values is None:
            continue
        if name != "weight" and values.shape != weight.shape[:1]:
            raise ShapeError(
                f"`{name}` must be [{len(weight)}], one for each neuron of `weight`, got "
                f"{list(values.shape)}."
            )
        if not bool(values.isfinite().all()):
            raise ValueError(f"`{name}` must be finite, got NaN or infinity. Lower the learning rate.")
    if spikes is not None and bool((spikes < 0).any()):
        raise ValueError(f"`spikes` must be counts of 0 or more, got {spikes.min().item()}.")


def _similarity(weight: Tensor) -> float:
    """Mean cosine between the rows, over all pairs: from the length of the mean direction, with no matrix of
    pairs."""
    lengths = weight.norm(dim=1)
    weight, lengths = weight[lengths > 0], lengths[lengths > 0]
    count = len(weight)
    if count < 2:
        return 0.0
    together = (weight / lengths[:, None]).sum(0).square().sum().item()
    return round((together - count) / (count * (count - 1)), 12)
