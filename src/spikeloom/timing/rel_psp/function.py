"""Firing times as a function of spike times and weights, with its gradient, on the backend that is chosen."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from spikeloom.loom.own_loops import check_gradient, runs_compiled
from spikeloom.timing.rel_psp import reference
from spikeloom.timing.rel_psp.geometry import Geometry
from spikeloom.timing.spike_response.response import Fired


@dataclass(frozen=True)
class Settings:
    """What a layer is told beside its weights.

    Args:
        threshold: firing threshold.
        T: end of the window.
        min_slope: the least slope that gradients are divided by.
        wake: strength of the pull on neurons that fire too seldom; 0 for none.
        wake_rate: in which part of samples and positions a neuron should fire; 0: in one.
    """

    threshold: float
    T: float
    min_slope: float
    wake: float
    wake_rate: float


def firing_times(
    times: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, settings: Settings, backend: str
) -> Fired:
    """When the neurons of a layer fire; see :func:`reference.first_crossing`.

    Args:
        times, weight, bias, geometry: as there.
        settings: of the layer.
        backend: ``'auto'``, ``'numba'`` or ``'torch'``.
    Returns:
        times, -1 for no spike, and slopes, which have no gradient: both ``[N, positions, out]``
    Raises:
        BackendError: ``backend`` is ``'numba'``, and it cannot run this.
    """
    loops = _loops(times, weight, backend)
    return Fired(*_FiringTimes.apply(times, weight, bias, geometry, settings, loops))  # type: ignore[misc]


class _FiringTimes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, times, weight, bias, geometry, settings, loops):
        times, weight = times.contiguous(), weight.contiguous()
        bias = None if bias is None else bias.contiguous()
        out, slope = loops.first_crossing(times, weight, bias, geometry, settings.threshold, settings.T)
        ctx.save_for_backward(times, weight, out, slope)
        ctx.geometry, ctx.settings, ctx.loops = geometry, settings, loops
        ctx.mark_non_differentiable(slope)
        return out.clone(), slope  # the user may write into the times

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _slope: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        check_gradient("ReL-PSP", gradient)
        times, weight, out, slope = ctx.saved_tensors
        settings, wanted = ctx.settings, ctx.needs_input_grad
        silent = out < 0
        scale = gradient / slope.clamp(min=settings.min_slope)
        scale = scale.masked_fill(silent, 0.0).contiguous()
        to_times, to_weight = ctx.loops.gradients(times, weight, ctx.geometry, out, scale, wanted[:2])
        # In double precision the order of the sum, which may depend on threads, does not show.
        to_bias = -(scale * out).double().sum((0, 1)).to(out.dtype) if wanted[2] else None
        if settings.wake and len(times):
            rate = (~silent).flatten(0, 1).to(out.dtype).mean(0)  # [out]
            least = settings.wake_rate or torch.finfo(out.dtype).tiny
            lack = (1 - rate / least).clamp(min=0)
            pull = settings.wake / settings.threshold * lack
            if to_weight is not None:
                to_weight -= _lasting(times, ctx.geometry, settings.T)[:, None] * pull
            if to_bias is not None:
                to_bias -= settings.T * pull
        return to_times, to_weight, to_bias, None, None, None


def _lasting(times: Tensor, geometry: Geometry, T: float) -> Tensor:
    """How long each weight has had a spike at the end of the window, mean over samples and positions."""
    lasting = torch.where(times < 0, 0.0, T - times).mean(0, keepdim=True)
    return geometry.windows(lasting).clamp(min=0).mean(0)  # padding is negative


def _loops(times: Tensor, weight: Tensor, backend: str) -> ModuleType:
    """The module with the loops to run."""
    if not runs_compiled("ReL-PSP", backend, times, weight):
        return reference
    from spikeloom.timing.rel_psp import compiled

    return compiled
