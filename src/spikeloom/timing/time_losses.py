"""Losses on spike times, and the class that the first spike names."""

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.checks import checked_inside, checked_range
from spikeloom.errors import ShapeError
from spikeloom.timing.checks import check_finite
from spikeloom.timing.losses import check_labels


def spike_time_mse(times: Tensor, target: Tensor, missing: float) -> Tensor:
    r"""Half the squared error of spike times.

    .. math:: \frac{1}{2N} \sum_{n, o} (t_{no} - \hat t_{no})^2

    Args:
        times: spike times ``[N, out]``; negative for a neuron that did not spike, which counts as if it had
            at ``missing`` and has no gradient.
        target: the wanted times ``[N, out]``, 0 or later.
        missing: the time of what did not spike, 0 or later; usually the end of the window.
    Returns:
        a scalar, the mean over the samples of the sum over the neurons
    Raises:
        ShapeError: the shapes differ, or ``times`` is no batch.
        ValueError: a time is NaN or infinite, or a target or ``missing`` is negative.
    Source: Bohte, Kok & La Poutré, Neurocomputing 48, 2002.
    Example:
        >>> spike_time_mse(torch.tensor([[12.0, -1.0]]), torch.tensor([[10.0, 16.0]]), missing=20)
        tensor(10.)
    """
    if times.dim() < 2:
        raise ShapeError(f"`times` must be [N, out], got {list(times.shape)}. Reshape it.")
    if target.shape != times.shape:
        raise ShapeError(
            f"`target` must have the shape of `times`, {list(times.shape)}, got {list(target.shape)}. Give "
            "each output neuron a time."
        )
    times = _arrivals(times, missing)
    if target.numel() and not (target.min() >= 0 and target.max() < float("inf")):
        raise ValueError(
            "`target` must be times of at least 0, got NaN, infinity or a negative number. For a neuron that "
            "should not spike, take `missing`."
        )
    return (times - target).square().sum() / (2 * max(1, len(times)))


def first_spike_cross_entropy(times: Tensor, label: Tensor, missing: float, tau: float = 1.0) -> Tensor:
    r"""The neuron of the right class should be the first to spike: cross-entropy of a softmax over
    :math:`-t / \tau`.

    .. math:: -\frac{1}{N} \sum_n \ln \frac{e^{-t_{n, y_n} / \tau}}{\sum_o e^{-t_{no} / \tau}}

    Args:
        times: spike times ``[N, num_classes]``; negative for a neuron that did not spike, which counts as if
            it had at ``missing`` and has no gradient.
        label: classes, int64 ``[N]``.
        missing: the time of what did not spike, 0 or later; usually the end of the window.
        tau: differences of time that matter, in units of time; greater than 0.
    Returns:
        a scalar, the mean over the samples
    Raises:
        ShapeError: the shapes do not fit together.
        ValueError: a time is NaN or infinite, a label is out of range, ``missing`` is negative, or ``tau`` is
            not positive.
    Source: Zhang et al., IEEE Trans. Neural Netw. Learn. Syst. 33(5), 2022.
    Example:
        >>> first_spike_cross_entropy(torch.tensor([[1.0, -1.0]]), torch.tensor([0]), missing=1)
        tensor(0.6931)
    """
    checked_inside("tau", tau, 0)
    check_labels(times, label, "times", "There must be one output neuron for each class.")
    share = F.log_softmax(-_arrivals(times, missing) / tau, 1)
    return F.nll_loss(share, label.long(), reduction="sum") / max(1, len(label))


def first_spike(times: Tensor) -> Tensor:
    """The neuron that spikes first; of several, the one with the lowest index.

    Args:
        times: spike times ``[N, out]``, negative for no spike.
    Returns:
        int64 ``[N]``; -1 where no neuron spikes
    Raises:
        ShapeError: ``times`` is not a matrix.
        ValueError: a time is NaN or infinite.
    Example:
        >>> first_spike(torch.tensor([[5.0, 3.0, -1.0], [-1.0, -1.0, -1.0]]))
        tensor([ 1, -1])
    """
    if times.dim() != 2 or times.shape[1] == 0:
        raise ShapeError(f"`times` must be [N, out], got {list(times.shape)}. Reshape it.")
    check_finite(times)
    earliest, neuron = torch.where(times < 0, float("inf"), times.detach()).min(1)
    return torch.where(earliest < float("inf"), neuron, -1)


def _arrivals(times: Tensor, missing: float) -> Tensor:
    """Spike times with ``missing`` in the place of spikes that there are not; both checked."""
    checked_range("missing", missing, 0)
    check_finite(times)
    return torch.where(times < 0, missing, times)
