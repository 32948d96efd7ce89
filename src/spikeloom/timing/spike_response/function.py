"""Firing times and highest potentials, with their gradients, by compiled loops or in plain PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikeloom.loom.own_loops import check_gradient, runs_compiled
from spikeloom.timing.spike_response.response import Fired, Highest, Settings, SpikeResponse

PIECES = 8  # of the samples, at most: each has a gradient of the weights of its own
LEAST = 8  # samples of a piece


def firing_times(arrivals: Tensor, weight: Tensor, response: SpikeResponse, settings: Settings) -> Fired:
    """When neurons fire; see :meth:`SpikeResponse.fire`. The times have a gradient, the slopes have not.

    Args:
        arrivals: ``[N, in * S]`` in float64, of inputs with ``S`` spikes each; infinite for none.
        weight: ``[in, out]`` in float64.
    Raises:
        BackendError: a backend was asked for by name, and cannot run this.
    """
    compiled = runs_compiled(settings.layer, settings.backend, arrivals, weight)
    return Fired(*_FiringTimes.apply(arrivals, weight, response, settings, compiled))  # type: ignore[misc]


def highest_potentials(arrivals: Tensor, weight: Tensor, response: SpikeResponse, backend: str) -> Tensor:
    """How high the potentials ``[N, out]`` of neurons that never fire rise; arguments and errors are those of
    :func:`firing_times`."""
    compiled = runs_compiled("PeakPotential", backend, arrivals, weight)
    return _HighestPotentials.apply(arrivals, weight, response, compiled)  # type: ignore[return-value]


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
        if compiled:
            shape = (len(arrivals), weight.shape[1], response.num_spikes)
            fired = Fired(arrivals.new_empty(shape), arrivals.new_empty(shape))
            _run("forward", arrivals, weight, response, *fired)
        else:
            fired = response.fire(arrivals, by_arrival(arrivals, weight))
        fired.time.clamp_(max=response.T)  # which the sum of an arrival and a lag may pass by a rounding
        ctx.save_for_backward(arrivals, weight, *fired)
        ctx.response, ctx.settings, ctx.compiled = response, settings, compiled
        ctx.mark_non_differentiable(fired.slope)
        return fired.time.clone(), fired.slope  # the user may write into the times

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _slope: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        check_gradient(ctx.settings.layer, grad)
        arrivals, weight, time, slope = ctx.saved_tensors
        response, wanted = ctx.response, ctx.needs_input_grad[:2]
        rise = response.tau * slope.clamp(min=ctx.settings.min_slope)  # the current, less the threshold
        spikes = Adjoint(time, 1 + response.refractory / rise, grad / rise)
        to_arrivals, to_weight = gradients(arrivals, weight, response, spikes, wanted, ctx.compiled)
        if ctx.settings.wake and len(arrivals) and to_weight is not None:
            silent = (time[..., 0] < 0).all(0)  # [out]
            reached = (arrivals < response.T).double().mean(0).view(len(weight), -1).sum(1)  # [in]
            to_weight -= ctx.settings.wake / response.v_threshold * reached[:, None] * silent
        return to_arrivals, to_weight, None, None, None


class _HighestPotentials(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, arrivals: Tensor, weight: Tensor, response: SpikeResponse, compiled: bool
    ) -> Tensor:
        if compiled:
            shape = (len(arrivals), weight.shape[1])
            time, potential, slope = (arrivals.new_empty(shape) for _ in range(3))
            found = Highest(time, potential, slope, torch.empty(shape, dtype=torch.long))
            _run("highest", arrivals, weight, response, *found)
        else:
            found = response.highest(arrivals, by_arrival(arrivals, weight))
        ctx.save_for_backward(arrivals, weight, found.time, found.slope, found.event)
        ctx.response, ctx.compiled = response, compiled
        return found.potential

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        check_gradient("PeakPotential", grad)
        arrivals, weight, time, slope, event = ctx.saved_tensors
        jump = -grad / ctx.response.tau
        peaks = Adjoint(time[..., None], torch.ones_like(jump)[..., None], jump[..., None])
        wanted = ctx.needs_input_grad[:2]
        to_arrivals, to_weight = gradients(arrivals, weight, ctx.response, peaks, wanted, ctx.compiled)
        if to_arrivals is not None and to_arrivals.numel():  # an input spike that ends a rise moves its end
            to_arrivals.scatter_add_(1, event.clamp(min=0), grad * slope)
        return to_arrivals, to_weight, None, None


class Adjoint(NamedTuple):
    """What happens to the adjoint potential, which follows time backwards: ``[N, out, K]`` each.

    Args:
        time: of an event, in order; negative for none.
        factor: by which it multiplies the adjoint potential.
        jump: what it adds then.
    """

    time: Tensor
    factor: Tensor
    jump: Tensor


def gradients(
    arrivals: Tensor,
    weight: Tensor,
    response: SpikeResponse,
    adjoint: Adjoint,
    wanted: tuple[bool, bool],
    compiled: bool,
) -> tuple[Tensor | None, Tensor | None]:
    r"""The gradients of arrivals and weights, by the adjoint of the neuron's dynamics.

    .. math:: \tau \lambda_V' = -\lambda_V,\quad \tau_s \lambda_I' = \lambda_V - \lambda_I

    from the end of the window to its start; an input spike of weight :math:`w` gets
    :math:`w (\lambda_V - \lambda_I)`, and its weight :math:`-\tau_s \lambda_I`.

    Args:
        wanted: which of the two.
    """
    if compiled:
        return _compiled_gradients(arrivals, weight, response, adjoint, wanted)
    weights = by_arrival(arrivals, weight)  # [out, E]
    lag = adjoint.time[..., None] - arrivals[:, None, None]  # [N, out, K, E]
    slow = torch.where(lag > 0, (-lag.clamp(min=0) / response.tau).exp(), 0.0)
    rise = response.psp(lag) * response.tau / response.tau_s
    jump = _jumps(adjoint, response)
    to_arrivals = torch.einsum("nok,noke,oe->ne", jump, slow - rise, weights)
    to_weight = -response.tau_s * torch.einsum("nok,noke->eo", jump, rise)
    return to_arrivals, to_weight.view(len(weight), -1, weight.shape[1]).sum(1)


def _jumps(adjoint: Adjoint, response: SpikeResponse) -> Tensor:
    """By how much each event changes the adjoint potential, those after it taken into account."""
    jump = torch.where(adjoint.time >= 0, adjoint.jump, 0.0)
    for k in reversed(range(jump.shape[2] - 1)):
        lag = (adjoint.time[..., k + 1 :] - adjoint.time[..., k : k + 1]).clamp(min=0)
        before = (jump[..., k + 1 :] * (-lag / response.tau).exp()).sum(-1)
        jump[..., k] += (adjoint.factor[..., k] - 1) * before
    return jump


def _compiled_gradients(
    arrivals: Tensor,
    weight: Tensor,
    response: SpikeResponse,
    adjoint: Adjoint,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    to_arrivals = torch.zeros_like(arrivals) if wanted[0] else arrivals.new_empty(0)
    pieces = _pieces(arrivals)[0] if wanted[1] else 0
    parts = weight.new_zeros(pieces, *weight.shape)
    given = (one.contiguous() for one in adjoint)
    _run("backward", arrivals, weight, response, *given, to_arrivals, parts)
    to_weight = parts[0] if pieces == 1 else parts.sum(0)
    return to_arrivals if wanted[0] else None, to_weight if wanted[1] else None


def _run(name: str, arrivals: Tensor, weight: Tensor, response: SpikeResponse, *more: Tensor) -> None:
    from spikeloom.loom.native import loops_of_file

    pieces, chunk = _pieces(arrivals)
    num_samples, events = arrivals.shape
    neurons, each = weight.shape[1], events // len(weight)
    spikes = more[0].shape[2] if more[0].dim() == 3 else 1
    sizes = torch.tensor([num_samples, chunk, events, neurons, spikes, each], device="cpu")
    constants = [response.tau, response.tau_s, response.v_threshold, response.T, response.refractory]
    settings = torch.tensor(constants, dtype=torch.float64, device="cpu")
    loops = loops_of_file(Path(__file__).with_name("loops.py"))
    arguments = (sizes, settings, arrivals.detach().contiguous(), weight.detach().contiguous(), *more)
    loops.run_pieces(name, torch.float64, pieces, *arguments)


def _pieces(arrivals: Tensor) -> tuple[int, int]:
    """In how many pieces the samples are cut, and how many are in each; it depends on their number alone, so
    that sums do not depend on the number of threads."""
    chunk = max(LEAST, -(-len(arrivals) // PIECES))
    return -(-len(arrivals) // chunk), chunk


def by_arrival(arrivals: Tensor, weight: Tensor) -> Tensor:
    """The weights ``[out, E]`` of each arrival."""
    return weight.t().repeat_interleave(arrivals.shape[1] // len(weight), 1)
