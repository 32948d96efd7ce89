"""The learning rule of the tempotron, as its authors wrote it."""

import torch
from torch import Tensor

from spikeloom.errors import ShapeError
from spikeloom.timing.losses import one_hot
from spikeloom.timing.spikes import list_spikes
from spikeloom.timing.tempotron import Tempotron


@torch.no_grad()
def tempotron_rule(neuron: Tempotron, in_spikes: Tensor, target: Tensor) -> Tensor:
    r"""How the tempotron rule changes the weights, for a learning rate of 1.

    .. math:: \Delta w_i = \pm \sum_{t_i < t_{max}} K(t_{max} - t_i)

    with + if a neuron should have fired and did not, - if it fired and should not have, and no change if it
    was right; :math:`t_{max}` is the time step of its largest potential. This is gradient descent on
    :math:`\pm (V_{th} - V(t_{max}))`: add it to the weights, or set ``weight.grad`` to its negative and take
    any optimiser.

    Args:
        neuron: whose weights learn.
        in_spikes: spike times ``[N, in_features]``, negative for no spike.
        target: whether each neuron should fire, 0 or 1, ``[N, out_features]``; or classes, int64 ``[N]``.
    Returns:
        ``[out_features, in_features]``, summed over the patterns
    Raises:
        ShapeError, ValueError: a shape, a time or a target is wrong.
    Source: Gütig & Sompolinsky, Nature Neuroscience 9, 2006.
    Example:
        >>> neuron = Tempotron(in_features=2, out_features=1, T=20)
        >>> _ = torch.nn.init.zeros_(neuron.fc.weight)
        >>> tempotron_rule(neuron, torch.tensor([[0.0, -1.0]]), torch.tensor([[1]]))  # missed; t_max = 0
        tensor([[0., 0.]])
    """
    v = neuron(in_spikes, "v")
    v_max, at = v.max(-1)  # [N, out] each
    if target.dim() == 1:
        target = one_hot(v_max, target)
    if target.shape != v_max.shape or not bool(((target == 0) | (target == 1)).all()):
        raise ShapeError(
            f"`target` must be 0 or 1 of shape {list(v_max.shape)}, whether each neuron should fire, or "
            f"classes [{len(v_max)}]; got shape {list(target.shape)}."
        )
    error = target.to(v_max) - (v_max >= neuron.v_threshold).to(v_max)  # [N, out]: 1, 0 or -1
    spikes = list_spikes(in_spikes.to(v_max.dtype))
    lag = at.to(v_max.dtype)[spikes.sample] - spikes.time[:, None]  # [spikes, out]
    change = error[spikes.sample] * neuron.kernel(lag)
    if neuron.shunt:
        reached = (v >= neuron.v_threshold).cumsum(-1).eq(0).sum(-1)  # [N, out]: the first such step, or T
        change = change * (spikes.time.ceil()[:, None] <= reached[spikes.sample])  # what it took
    by_input = v_max.new_zeros(neuron.in_features, neuron.out_features)
    return by_input.index_add_(0, spikes.source, change).t().contiguous()
