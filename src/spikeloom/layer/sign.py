"""Weights that keep their sign through training."""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikeloom.errors import ShapeError
from spikeloom.layer.bounded import bounded
from spikeloom.loom.select import broadcasts

Module = TypeVar("Module", bound=nn.Module)


def constrain_sign(module: Module, sign: int | Tensor = 1, name: str = "weight") -> Module:
    """Keep a parameter of ``module`` positive, or negative, through any optimiser.

    ``self.weight = torch.abs(self.weight)`` in a forward pass raises "cannot assign 'torch.FloatTensor' as
    parameter 'weight'": a parameter is what the optimiser holds, and a result cannot take its place. Writing
    into ``self.weight.data`` runs, but no gradient knows about it. Here the optimiser holds a hidden
    parameter, and ``module.weight`` is computed from it: it never changes sign, may reach 0, and can come
    back from 0.

    Weights that have the wrong sign now, or in a tensor assigned to ``module.weight`` later, are negated.

    Args:
        module: a layer, changed in place; call this before the optimiser is made.
        sign: 1 for weights >= 0, -1 for weights <= 0; or a tensor of these that broadcasts against the
            parameter, such as ``[in_features]`` for excitatory and inhibitory inputs (Dale's law).
        name: the parameter.
    Returns:
        ``module``
    Raises:
        ValueError: ``module`` has no such parameter, or ``sign`` has other values.
        ShapeError: ``sign`` does not broadcast against the parameter.
    Differs from: an ordinary parameter, whose key in ``state_dict`` is its name, not
        ``parametrizations.<name>.original``, and whose module can be pickled, not only copied.
        ``torch.nn.utils.parametrize.remove_parametrizations`` makes it ordinary again.
    Example:
        >>> fc = constrain_sign(nn.Linear(3, 2), sign=torch.tensor([1, 1, -1]))
        >>> optimizer = torch.optim.SGD(fc.parameters(), lr=10.0)
        >>> fc(torch.ones(1, 3)).sum().backward(); optimizer.step()
        >>> bool((fc.weight[:, :2] >= 0).all() and (fc.weight[:, 2] <= 0).all())
        True
    """
    parameter = getattr(module, name, None)
    if not isinstance(parameter, Tensor):
        known = [name for name, _ in module.named_parameters(recurse=False)]
        raise ValueError(
            f"`name` must be a parameter of {type(module).__name__}, one of {known}, got {name!r}."
        )
    try:
        signs = torch.as_tensor(sign).to(parameter)
    except (TypeError, ValueError, RuntimeError):
        signs = torch.zeros(())  # no numbers at all, such as a word
    if not bool((signs.abs() == 1).all()):
        raise ValueError(f"`sign` must be 1 or -1, or a tensor of these, got {sign!r}.")
    if not broadcasts(signs.shape, parameter.shape):
        raise ShapeError(
            f"`sign` must broadcast against {name} {list(parameter.shape)}, got {list(signs.shape)}. "
            "Give it one value for each input, [in], or for each output, [out, 1]."
        )
    if parametrize.is_parametrized(module, name) and any(
        isinstance(one, _Signed)
        for one in module.parametrizations[name]  # type: ignore[index,union-attr]
    ):
        raise ValueError(
            f"`{name}` of {type(module).__name__} must have no sign yet: with two it may only be 0."
        )
    parametrize.register_parametrization(module, name, _Signed(signs))
    return module


def dale(module: Module, excitatory: Tensor | Sequence[bool], name: str = "weight") -> Module:
    """Make the neurons before a layer excitatory or inhibitory, and keep them so: Dale's law.

    All weights that leave a neuron, or a channel, have its sign. See :func:`constrain_sign`, which this
    calls, and which makes a layer all positive or all negative.

    Args:
        module: a linear or convolutional layer, changed in place.
        excitatory: for each presynaptic neuron, or input channel, whether it is excitatory.
        name: the parameter.
    Shape:
        excitatory ``[in_features]`` or ``[in_channels]``.
    Returns:
        ``module``
    Raises:
        TypeError: ``module`` is no linear or convolutional layer.
        ShapeError: ``excitatory`` has another number of neurons.
    Example:
        >>> conv = dale(nn.Conv2d(4, 2, 3), [True, True, True, False])
        >>> [bool((conv.weight[:, i] >= 0).all()) for i in range(4)]
        [True, True, True, False]
    """
    if not isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise TypeError(f"`module` must be a Linear or a Conv layer, got {type(module).__name__}.")
    num_inputs = module.in_features if isinstance(module, nn.Linear) else module.in_channels
    mask = torch.as_tensor(excitatory, device=module.weight.device)
    if mask.shape != (num_inputs,) or mask.dtype != torch.bool:
        raise ShapeError(
            f"`excitatory` must be [{num_inputs}] booleans, one for each neuron before "
            f"{type(module).__name__}, got {list(mask.shape)} of type {mask.dtype}."
        )
    signs = mask.to(module.weight) * 2 - 1
    if not isinstance(module, nn.Linear):  # a group of outputs sees its own inputs only
        signs = signs.view(module.groups, 1, -1).expand(-1, module.out_channels // module.groups, -1)
        signs = signs.reshape(module.out_channels, -1, *[1] * len(module.kernel_size))
    return constrain_sign(module, signs, name)


class _Signed(nn.Module):
    """The parametrization: the weight from the hidden parameter, and the reverse."""

    sign: Tensor

    def __init__(self, sign: Tensor):
        super().__init__()
        self.register_buffer("sign", sign)  # saved: a pattern of signs may be random

    def forward(self, original: Tensor) -> Tensor:
        return self.sign * bounded(self.sign * original, 0.0, math.inf)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return self.sign * weight.abs()
