"""Losses of neurons that decide by the maximum of their potential."""

import torch.nn.functional as F
from torch import Tensor

from spikeloom.checks import checked_range
from spikeloom.errors import ShapeError


def margin_loss(v_max: Tensor, label: Tensor, v_threshold: float = 1.0, margin: float = 0.5) -> Tensor:
    r"""The right neuron must pass the threshold by a margin, and the others must stay below it by one.

    .. math:: \frac{1}{N} \sum_{n, o} \max\left( 0,\; m - y_{no} (V_{no}^{max} - V_{th}) \right)^2,\quad
              y_{no} = \pm 1

    A potential that is on the right side by less than the margin still learns, so the loss does not go quiet
    as soon as all training samples are right.

    Args:
        v_max: largest potential of each neuron, ``[N, num_classes]``.
        label: classes, int64 ``[N]``.
        v_threshold: firing threshold.
        margin: the distance to it that is asked for, in units of the potential; 0 or more.
    Returns:
        a scalar, the mean over the samples
    Raises:
        ShapeError: the shapes do not fit together.
        ValueError: a label is out of range, or ``margin`` is negative.
    Source: squared hinge loss; Gütig & Sompolinsky's cost with margin 0, squared.
    Example:
        >>> import torch
        >>> margin_loss(torch.tensor([[1.2, 0.1]]), torch.tensor([0]))  # short of 1.5 by 0.3
        tensor(0.0900)
    """
    checked_range("margin", margin, 0)
    side = 2 * one_hot(v_max, label) - 1
    return (margin - side * (v_max - v_threshold)).relu().square().sum() / max(1, len(label))


def one_hot(outputs: Tensor, label: Tensor) -> Tensor:
    """1 for the neuron of each label, 0 for the others, in shape and type of ``outputs``."""
    check_labels(outputs, label, "v_max", "Call the neuron with ret_type 'v_max'.")
    return F.one_hot(label.long(), outputs.shape[1]).to(outputs)


def check_labels(outputs: Tensor, label: Tensor, name: str, cure: str) -> None:
    """Raise unless ``outputs`` are ``[N, num_classes]`` and ``label`` holds a class of each sample.

    ``name`` is what an error calls the outputs, and ``cure`` what it says against a wrong shape.
    """
    if outputs.dim() != 2 or label.shape != outputs.shape[:1]:
        raise ShapeError(
            f"`{name}` must be [N, num_classes] and `label` [N], got {list(outputs.shape)} and "
            f"{list(label.shape)}. {cure}"
        )
    if label.is_floating_point() or label.is_complex():
        raise ValueError(f"`label` must be classes as integers, got {label.dtype}. Use label.long().")
    if label.numel() and not (label.min() >= 0 and label.max() < outputs.shape[1]):
        raise ValueError(
            f"`label` must be from 0 to {outputs.shape[1] - 1}, a class for each output neuron, got "
            f"{int(label.min())} to {int(label.max())}. Make as many output neurons as there are classes."
        )
