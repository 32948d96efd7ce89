"""Rates, codes and losses of spikes over time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.checks import check_classes, checked_count
from spikeloom.errors import ShapeError
from spikeloom.functional.networks import check_time


def firing_rate(spikes: Tensor) -> Tensor:
    """Mean over time: spikes ``[T, N, *]`` to rates ``[N, *]``, in spikes per time step."""
    check_time(spikes, "spikes")
    return (spikes if spikes.is_floating_point() else spikes.to(torch.get_default_dtype())).mean(0)


def firing_rate_mse(spikes: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error between the output's firing rates and one-hot labels.

    Args:
        spikes: ``[T, N, C]``.
        labels: class of each sample, whole numbers ``[N]``.
    Returns:
        a scalar
    Raises:
        ShapeError, TypeError: there is not one label for each sample, or they are no whole numbers.
    Source: Wu et al., Front. Neurosci. 12:331, 2018, there half the sum over the classes.
    Example:
        >>> firing_rate_mse(torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]), torch.tensor([0])).item()
        0.125
    """
    rates = _rates_for(spikes, labels)
    return F.mse_loss(rates, F.one_hot(labels.long(), rates.shape[-1]).to(rates.dtype))


def firing_rate_cross_entropy(spikes: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the output's firing rates as logits; arguments as :func:`firing_rate_mse`."""
    return F.cross_entropy(_rates_for(spikes, labels), labels.long())


def temporal_efficient_training_cross_entropy(
    x_seq: Tensor,
    target: Tensor,
    mse_weight: float = 0.0,
    mse_target: float = 1.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""Temporal efficient training: the cross-entropy of every time step, averaged over time.

    .. math:: L = (1-\lambda)\,\tfrac{1}{T}\sum_t \mathrm{CE}(o_t, y) + \lambda\,\mathrm{MSE}(o, \phi)

    Args:
        x_seq: outputs ``[T, N, C]``, spikes or potentials.
        target: class of each sample, int64 ``[N]``.
        mse_weight: :math:`\lambda`, the weight of the term that keeps outputs near ``mse_target``.
        mse_target: :math:`\phi`.
        label_smoothing: part of the probability that all classes share alike, as for
            ``torch.nn.functional.cross_entropy``.
    Returns:
        a scalar
    Raises:
        ShapeError, TypeError, ValueError: outputs and classes do not fit.
    Source: Deng et al., Temporal efficient training of spiking neural network, ICLR 2022.
    """
    check_time(x_seq, "x_seq")
    if x_seq.dim() != 3 or target.shape != x_seq.shape[1:2]:
        raise ShapeError(
            f"`x_seq` must be [T, N, C] and `target` classes [N], got {list(x_seq.shape)} and "
            f"{list(target.shape)}."
        )
    check_classes("target", target, x_seq.shape[2])
    num_steps = x_seq.shape[0]
    x_seq = x_seq if x_seq.is_floating_point() else x_seq.to(torch.get_default_dtype())
    logits, targets = x_seq.flatten(0, 1), target.long().repeat(num_steps)
    loss = F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    if mse_weight:
        loss = (1 - mse_weight) * loss + mse_weight * F.mse_loss(x_seq, torch.full_like(x_seq, mse_target))
    return loss


def first_spike_index(spikes: Tensor) -> Tensor:
    """Where each neuron fires for the first time.

    Args:
        spikes: ``[*, T]``, time last, as its users have it; 0 or 1.
    Returns:
        bool ``[*, T]``: true at the first spike; a silent neuron has no true value.
    Example:
        >>> first_spike_index(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])).int()
        tensor([[0, 1, 0],
                [0, 0, 0]], dtype=torch.int32)
    """
    fired = spikes != 0
    return fired & (fired.cumsum(-1) == 1)


def delay(x_seq: Tensor, delay_steps: int) -> Tensor:
    """A sequence ``[T, *]`` that begins ``delay_steps`` later, with zeros before; its end is lost.

    Raises:
        ValueError: ``delay_steps`` is negative.
    Example:
        >>> delay(torch.tensor([1.0, 2.0, 3.0]), 1)
        tensor([0., 1., 2.])
    """
    checked_count("delay_steps", delay_steps, least=0)
    return torch.cat([torch.zeros_like(x_seq[:delay_steps]), x_seq[: max(0, len(x_seq) - delay_steps)]])


def redundant_one_hot(labels: Tensor, num_classes: int, n: int) -> Tensor:
    """Labels ``[N]`` as ``[N, num_classes * n]``: each class has ``n`` outputs in a row, which are 1.

    Raises:
        TypeError, ValueError: a label is no class, or ``n`` is less than 1.
    Example:
        >>> redundant_one_hot(torch.tensor([1]), 2, 3)
        tensor([[0., 0., 0., 1., 1., 1.]])
    """
    check_classes("labels", labels, num_classes)
    checked_count("n", n)
    return F.one_hot(labels.long(), num_classes).float().repeat_interleave(n, 1)


def _rates_for(spikes: Tensor, labels: Tensor) -> Tensor:
    """Firing rates ``[N, C]`` that fit the labels ``[N]``."""
    rates = firing_rate(spikes)
    if rates.dim() != 2 or labels.shape != rates.shape[:1]:
        no_time = " Perhaps the network got samples instead of a sequence: encoder.encode(x, T) makes one."
        raise ShapeError(
            f"`labels` must hold one class for each sample of `spikes` [T, N, C], got {list(labels.shape)} "
            f"for spikes of shape {list(spikes.shape)}.{no_time if labels.shape == spikes.shape[:1] else ''}"
        )
    check_classes("labels", labels, rates.shape[1])
    return rates
