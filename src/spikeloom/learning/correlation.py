"""Which synapse sees which pair of activities: the sum of their products over samples, places and time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad

from spikeloom.errors import ShapeError

Synapse = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
SYNAPSES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_WEIGHT_GRADIENTS: dict[int, Any] = {1: grad.conv1d_weight, 2: grad.conv2d_weight, 3: grad.conv3d_weight}


def correlate(synapse: Synapse, pre: Tensor, post: Tensor) -> Tensor:
    r"""For each weight, the sum of the products of what lies before and behind it.

    .. math:: c_{ij} = \sum_{t, n} \mathrm{post}_{t,n,i}\, \mathrm{pre}_{t,n,j}

    of a linear layer; for a convolution over its places too. It is the gradient of the weight for the input
    ``pre`` and the output's gradient ``post``, so one matrix product, or one convolution, does it.

    Args:
        synapse: ``Linear``, ``Conv1d``, ``Conv2d`` or ``Conv3d``, with any stride, padding and groups.
        pre: activity of the neurons before it.
        post: activity of the neurons behind it.
    Shape:
        pre ``[*, in]`` or ``[*, C, ...]``, post ``[*, out]`` or ``[*, C', ...]``; output as the weight.
    Example:
        >>> fc = nn.Linear(2, 1)
        >>> correlate(fc, torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.5], [2.0]]))
        tensor([[2.5000, 2.0000]])
    """
    with torch.autocast(pre.device.type, enabled=False):  # bfloat16 cannot count beyond 256
        if isinstance(synapse, nn.Linear):
            return torch.atleast_2d(post).flatten(0, -2).mT @ torch.atleast_2d(pre).flatten(0, -2)
        places = synapse.weight.dim() - 2
        pre, post = (x.reshape(-1, *x.shape[-places - 1 :]) for x in (pre, post))
        return _WEIGHT_GRADIENTS[places](
            _padded(synapse, pre),
            list(synapse.weight.shape),
            post,
            stride=synapse.stride,
            dilation=synapse.dilation,
            groups=synapse.groups,
        )


def check_activities(synapse: Synapse, pre: Tensor, post: Tensor) -> None:
    """Refuse activities that cannot be those before and behind a synapse.

    Raises:
        ShapeError: another number of channels, another batch, or other places than the synapse gives.
    """
    channels = synapse.weight.dim() - 1  # as counted from the end
    lead = pre.dim() - channels
    expected = [*pre.shape[:lead], synapse.weight.shape[0], *_places(synapse, pre.shape[lead + 1 :])]
    inputs = synapse.in_features if isinstance(synapse, nn.Linear) else synapse.in_channels
    if pre.shape[lead] != inputs or list(post.shape) != expected:
        raise ShapeError(
            f"The spikes behind {type(synapse).__name__} must have shape {expected}, which its input "
            f"{list(pre.shape)} leads to, got {list(post.shape)}. `sn` must be the neuron layer right behind "
            "`synapse`, with nothing between them that changes the shape."
        )


def _places(synapse: Synapse, sizes: torch.Size) -> list[int]:
    """Height, width and so on of a convolution's output."""
    if isinstance(synapse, nn.Linear):
        return []
    ends = synapse._reversed_padding_repeated_twice[::-1]
    settings = (ends[::2], ends[1::2], synapse.dilation, synapse.kernel_size, synapse.stride)
    return [
        (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
        for size, before, after, dilation, kernel, stride in zip(sizes, *settings, strict=True)
    ]


def _padded(conv: Any, x: Tensor) -> Tensor:
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    return F.pad(x, conv._reversed_padding_repeated_twice, mode=mode)
