"""What neurons that learned without labels stand for: classes, assigned afterwards, and their votes."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from spikeloom.checks import check_classes, check_tensor, checked_count
from spikeloom.errors import ShapeError

NONE = -1
"""The label of a neuron that never fired, and of a sample for which no labelled neuron fires."""


class NeuronLabels:
    """Labels each neuron with the class to which it responds most, and lets the neurons vote.

    A neuron's label is the class with its highest mean response. The prediction for a sample is the class
    whose neurons have the highest mean response to it.

    Args:
        neurons: how many neurons there are.
        num_classes: how many classes there are.
    Attributes:
        sums: responses to the samples of each class, float64 ``[num_classes, neurons]``.
        samples: of each class, float64 ``[num_classes]``.
    Raises:
        ValueError: there are no neurons or classes.
    Source: Diehl & Cook, Frontiers in Computational Neuroscience 9:99, 2015.
    Example:
        >>> labels = NeuronLabels(neurons=3, num_classes=2)
        >>> labels.add(torch.tensor([[4, 0, 0], [2, 3, 0]]), torch.tensor([0, 1]))
        >>> labels.assigned()
        tensor([ 0,  1, -1])
        >>> labels.predict(torch.tensor([[1, 2, 9], [0, 0, 9]]))
        tensor([ 1, -1])
    """

    def __init__(self, neurons: int, num_classes: int):
        checked_count("neurons", neurons)
        checked_count("num_classes", num_classes)
        self.sums = torch.zeros(num_classes, neurons, dtype=torch.float64)
        self.samples = torch.zeros(num_classes, dtype=torch.float64)

    def add(self, responses: Tensor, labels: Tensor) -> None:
        """Count responses, such as numbers of spikes, to samples of known classes.

        Shape:
            responses ``[N, neurons]``; labels int64 ``[N]``.
        Raises:
            ShapeError: the shapes do not fit.
            TypeError: the labels are no whole numbers.
            ValueError: a label is out of range, or a response is not finite.
        """
        self._check(responses)
        check_tensor("labels", labels)
        if labels.shape != responses.shape[:1]:
            raise ShapeError(f"`labels` must be [{len(responses)}], got {list(labels.shape)}.")
        check_classes("labels", labels, len(self.samples))
        if not bool(responses.isfinite().all()):
            raise ValueError("`responses` must be finite, got NaN or infinity.")
        self.sums.index_add_(0, labels.long(), responses.detach().double())
        self.samples += torch.bincount(labels.long(), minlength=len(self.samples))

    def assigned(self) -> Tensor:
        """The label of each neuron, int64 ``[neurons]``; -1 for one that never fired."""
        means = self.sums / self.samples.clamp_min(1)[:, None]  # [classes, neurons]
        highest, label = means.max(0)
        return torch.where(highest > 0, label, NONE)

    def votes(self, responses: Tensor) -> Tensor:
        """Mean responses of each class's neurons, float64 ``[N, num_classes]``, of all ``[N, neurons]``."""
        self._check(responses)
        members = one_hot(self.assigned() + 1, len(self.samples) + 1)[:, 1:].double()  # [neurons, classes]
        return responses.double() @ members / members.sum(0).clamp_min(1)

    def predict(self, responses: Tensor) -> Tensor:
        """The class that neurons ``[N, neurons]`` vote for, int64 ``[N]``; -1 without a vote."""
        highest, label = self.votes(responses).max(1)
        return torch.where(highest > 0, label, NONE)

    def _check(self, responses: Tensor) -> None:
        check_tensor("responses", responses)
        neurons = self.sums.shape[1]
        if responses.dim() != 2 or responses.shape[1] != neurons:
            raise ShapeError(f"`responses` must be [N, {neurons}], got {list(responses.shape)}.")
