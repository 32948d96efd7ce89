"""Weights that keep their sign through training."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikeloom.errors import ShapeError
from spikeloom.layer.bounded import bounded

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
    Differs from: an ordinary parameter: its key in ``state_dict`` is ``parametrizations.<name>.original``,
    and
        the module can be copied but not pickled. ``torch.nn.utils.parametrize.remove_parametrizations`` makes
        it ordinary again.
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
    signs = torch.as_tensor(sign).to(parameter)
    if not bool((signs.abs() == 1).all()):
        raise ValueError(f"`sign` must be 1 or -1, or a tensor of these, got {sign}.")
    try:
        fits = torch.broadcast_shapes(signs.shape, parameter.shape) == parameter.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"`sign` must broadcast against {name} {list(parameter.shape)}, got {list(signs.shape)}. "
            "Give it one value for each input, [in], or for each output, [out, 1]."
        )
    parametrize.register_parametrization(module, name, _Signed(signs))
    return module


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
