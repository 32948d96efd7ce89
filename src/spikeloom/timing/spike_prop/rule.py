"""The learning rule of SpikeProp, as its authors wrote it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spikeloom.errors import ShapeError
from spikeloom.timing.spike_prop.layer import SpikeProp


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
