"""Firing times of SpikeProp layers, with their gradients, by compiled loops or in plain PyTorch."""

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikeloom.loom.own_loops import check_gradient, runs_compiled
from spikeloom.timing.spike_response import Fired, Settings, SpikeResponse


def firing_times(arrivals: Tensor, weight: Tensor, response: SpikeResponse, settings: Settings) -> Fired:
    """When neurons fire; see :meth:`SpikeResponse.fire`. The times have a gradient, the slopes have not.

    Raises:
        BackendError: a backend was asked for by name, and cannot run this.
    """
    compiled = runs_compiled("SpikeProp", settings.backend, arrivals, weight)
    return Fired(*_FiringTimes.apply(arrivals, weight, response, settings, compiled))  # type: ignore[misc]


class _FiringTimes(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        arrivals: Tensor,
        weight: Tensor,
        response: SpikeResponse,
        settings: Settings,
        compiled: bool,
    ) -> tuple[Tensor, Tensor]:
        fired = _fire(response, arrivals, weight) if compiled else response.fire(arrivals, weight)
        fired.time.clamp_(max=response.T)  # which the sum of an arrival and a lag may pass by a rounding
        ctx.save_for_backward(arrivals, weight, *fired)
        ctx.response, ctx.settings, ctx.compiled = response, settings, compiled
        ctx.mark_non_differentiable(fired.slope)
        return fired.time.clone(), fired.slope  # the user may write into the times

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _slope: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        check_gradient("SpikeProp", grad)
        arrivals, weight, time, slope = ctx.saved_tensors
        given = arrivals, weight, Fired(time, slope), grad, ctx.settings.min_slope
        found = _gradients(ctx.response, *given) if ctx.compiled else ctx.response.gradients(*given)
        if ctx.settings.wake and len(arrivals):
            silent = (time[..., 0] < 0).all(0)  # [out]
            reached = (arrivals < ctx.response.T).double().mean(0)  # [E]
            found[1][silent] -= ctx.settings.wake / ctx.response.v_threshold * reached
        return *found, None, None, None


def _fire(response: SpikeResponse, arrivals: Tensor, weight: Tensor) -> Fired:
    shape = (len(arrivals), len(weight), response.num_spikes)
    fired = Fired(arrivals.new_full(shape, -1.0), arrivals.new_zeros(shape))
    constants = (response.tau, response.v_threshold, response.T, response.refractory)
    _run("fire", arrivals, weight, *constants, *fired)
    return fired


def _gradients(
    response: SpikeResponse, arrivals: Tensor, weight: Tensor, fired: Fired, grad: Tensor, min_slope: float
) -> tuple[Tensor, Tensor]:
    found = torch.zeros_like(arrivals), torch.zeros_like(weight)
    constants = (response.tau, response.refractory, min_slope)
    _run("gradients", arrivals, weight, *fired, grad.clone(), *constants, *found)
    return found


def _run(name: str, *arguments: Tensor | float) -> None:
    values = [
        value.detach().contiguous().numpy() if isinstance(value, Tensor) else float(value)
        for value in arguments
    ]
    _loops()(name, *values)


@functools.cache
def _loops() -> Any:
    """The compiled loops, loaded once."""
    from spikeloom.loom import numba_job
    from spikeloom.loom.jitted import Jitted

    return Jitted(Path(__file__).with_name("loops.py"), [numba_job])
