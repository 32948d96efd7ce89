"""The learning rules of the tempotron and of SpikeProp, as their authors wrote them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spikeloom.errors import ShapeError
from spikeloom.timing.losses import one_hot
from spikeloom.timing.spike_response import SpikeProp
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


@torch.no_grad()
def spike_prop_rule(layers: Sequence[SpikeProp], times: Tensor, target: Tensor) -> list[Tensor]:
    r"""How the SpikeProp rule changes the weights, for a learning rate of 1.

    .. math:: \Delta w_{jik} = -y_{ik}(t_j)\, \delta_j,\quad y_{ik}(t) = \varepsilon(t - t_i - d_k),\quad
              D_j = \sum_{i,k} w_{jik}\, \dot\varepsilon(t_j - t_i - d_k)
    .. math:: \delta_j = \frac{\hat t_j - t_j}{D_j} \text{ (output)},\quad
              \delta_i = \frac{1}{D_i} \sum_j \delta_j \sum_k w_{jik}\, \dot\varepsilon(t_j - t_i - d_k)

    This is gradient descent on :math:`\frac{1}{2} \sum_j (t_j - \hat t_j)^2`: add it to the weights, or set
    ``weight.grad`` to its negative and take any optimiser. A neuron that does not fire has
    :math:`\delta = 0`.

    Args:
        layers: from input to output, each with one spike per neuron.
        times: spike times ``[N, in_features]`` of the first layer, negative for no spike.
        target: the wanted times of the last layer ``[N, out_features]``.
    Returns:
        for each layer ``[out_features, in_features, len(delays)]``, summed over the patterns
    Raises:
        ShapeError: ``target`` has another shape.
        ValueError: a neuron of ``layers`` may fire several times; a time is refused by the first layer.
    Source: Bohte, Kok & La Poutré, Neurocomputing 48, 2002.
    Example:
        >>> layer = SpikeProp(in_features=1, out_features=1, delays=0, tau=5.0)
        >>> _ = torch.nn.init.constant_(layer.weight, 2.0)
        >>> layer(torch.zeros(1, 1)).item()
        1.159...
        >>> spike_prop_rule([layer], torch.zeros(1, 1), torch.ones(1, 1))[0]  # later than wanted: it grows
        tensor([[[0.1207]]])
    """
    if any(layer.response.num_spikes > 1 for layer in layers):
        raise ValueError("`layers` must have one spike per neuron (num_spikes=1). Take autograd for more.")
    inputs, fired = [], []
    for layer in layers:
        inputs.append(times)
        fired.append(layer.fire(times.double()))
        times = fired[-1].time
    if target.shape != times.shape:
        raise ShapeError(f"`target` must be {list(times.shape)}, as the output, got {list(target.shape)}.")
    error = target - times  # [N, out]
    changes = []
    for layer, before, (time, slope) in reversed(list(zip(layers, inputs, fired, strict=True))):
        delta = torch.where(time >= 0, error / slope.clamp(min=layer.min_slope), 0.0)
        arrivals, weight = layer.terminals(before)
        lag = time[..., None] - arrivals[:, None]  # [N, out, terminals]
        change = -layer.unit * torch.einsum("no,noe->oe", delta, layer.response.psp(lag))
        changes.append(change.view_as(layer.weight).to(layer.weight.dtype))
        error = torch.einsum("no,eo,noe->ne", delta, weight, layer.response.psp_slope(lag))
        error = error.unflatten(1, layer.weight.shape[1:]).sum(2)  # [N, in]
    return changes[::-1]
