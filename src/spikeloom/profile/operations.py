"""Which calls of PyTorch are synapses, and how many of their products have an input that is not zero.

Linear maps and convolutions are counted exactly. A convolution with a kernel of ones sums, over every input,
how many targets it reaches: at a border they are fewer, and stride, padding and dilation are those of the
layer, because it is the layer's own function that is called.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_LINEAR = ("input", "weight", "bias")
_CONVOLUTION = (*_LINEAR, "stride", "padding", "dilation", "groups")
_TRANSPOSED = (*_LINEAR, "stride", "padding", "output_padding", "groups", "dilation")
# By function: the names of its arguments.
SYNAPSES: dict[Callable[..., Tensor], tuple[str, ...]] = {
    F.linear: _LINEAR,
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _CONVOLUTION),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), _TRANSPOSED),
}
# By name: products that are not counted, because both sides may be activations.
NOT_COUNTED = {
    *("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot", "inner", "einsum", "tensordot"),
    *("addmm", "addmv", "addbmm", "baddbmm", "multi_dot", "chain_matmul", "bilinear"),
    *("scaled_dot_product_attention", "multi_head_attention_forward", "_native_multi_head_attention"),
    *("_transformer_encoder_layer_fwd", "lstm", "gru", "rnn_tanh", "rnn_relu"),
    *("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
}


@dataclass(frozen=True)
class Synapses:
    """One call of a layer with weights.

    Args:
        x, weight: its input and its weight.
        active: products of an input that is not zero and a weight.
        dense: products of any input and a weight; padding is no input.
        batch: the shape of the input before its channels or features: ``[N]``, ``[T * N]``, ``[T, N]``.
    """

    x: Tensor
    weight: Tensor
    active: int
    dense: int
    batch: tuple[int, ...]


def synapses(function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Synapses:
    """What a call of one of :data:`SYNAPSES` does."""
    names = SYNAPSES[function]
    given = dict(zip(names, args, strict=False)) | kwargs
    x, weight = given.pop("input"), given.pop("weight")
    if names is _LINEAR:
        targets = len(weight) if weight.dim() > 1 else 1
        active, dense = int(x.count_nonzero()) * targets, x.numel() * targets
        return Synapses(x, weight, active, dense, tuple(x.shape[:-1]))
    groups = given.pop("groups", 1)
    targets = weight.shape[1] if names is _TRANSPOSED else weight.shape[0] // groups  # channels per input
    size = weight.shape[2:]
    ones = torch.ones(1, 1, *size, dtype=torch.float64)  # in which counts below 2^53 are exact
    given.pop("bias", None)

    def reached(inputs: Tensor) -> int:
        """Targets of so many inputs at each place."""
        summed = function(inputs.to("cpu", torch.float64)[None, None], ones, **given)
        return round(summed.sum().item()) * targets

    before, places = x.shape[: -len(size)], x.shape[-len(size) :]
    active = reached(x.count_nonzero(tuple(range(len(before)))))
    dense = reached(torch.full(places, before.numel()))
    return Synapses(x, weight, active, dense, tuple(before[:-1]))
