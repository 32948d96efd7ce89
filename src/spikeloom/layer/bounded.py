"""A value kept in a range without losing the gradient at its ends."""

from typing import Any

import torch
from torch import Tensor


def bounded(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` clamped to ``[low, high]``, with the gradient of projected gradient descent.

    The gradient passes unless following it downhill would lead out of the range. ``torch.clamp`` has no
    gradient outside the range, so a parameter that one large step took out would stay there for ever.

    Args:
        x: any shape.
        low, high: the range, in units of ``x``; may be infinite.
    Returns:
        as ``x``
    """
    return _Bounded.apply(x, low, high)  # type: ignore[return-value]


class _Bounded(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        x, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        outward = ((x <= ctx.low) & (grad > 0)) | ((x >= ctx.high) & (grad < 0))
        return grad.masked_fill(outward, 0), None, None
