"""The neurons of an e-prop layer: one time step, whose gradients are those of e-prop."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.surrogate import heaviside


class Dynamics(NamedTuple):
    """The constants of a layer.

    Args:
        alpha, kappa, rho: what is left after a time step of potentials, of outputs, and of the rise of
            thresholds.
        v_threshold: at which a neuron fires at first.
        height: of the surrogate's triangle, which is twice ``v_threshold`` wide.
        refractory: time steps after a spike in which a neuron cannot fire again.
    """

    alpha: float
    kappa: float
    rho: float
    v_threshold: float
    height: float
    refractory: int


class State(NamedTuple):
    """Between two time steps: potentials, spikes, rise of the thresholds over ``beta``, and time steps until
    neurons may fire again, ``[N, neurons]``; outputs ``[N, out_features]``."""

    v: Tensor
    z: Tensor
    a: Tensor
    silent: Tensor
    y: Tensor


class Synapses(NamedTuple):
    """Weights ``[neurons, neurons]`` and ``[out_features, neurons]``, ``bias``, what brings errors back
    ``[out_features, neurons]``, and ``beta`` ``[neurons]``."""

    recurrent: Tensor
    readout: Tensor
    bias: Tensor
    feedback: Tensor
    beta: Tensor


def advance(current: Tensor, synapses: Synapses, state: State, dynamics: Dynamics) -> tuple[State, Tensor]:
    """The state after a time step, and the slopes of the surrogate ``[N, neurons]``, which have no gradient.

    Gradients of a spike reach its neuron's threshold and the outputs, but not its reset, and no neurons.

    Args:
        current: of the input, ``[N, neurons]``.
    """
    v_threshold, before = dynamics.v_threshold, state.z.detach()
    a = dynamics.rho * state.a + state.z
    v = dynamics.alpha * state.v + (current + before @ synapses.recurrent.t()) - v_threshold * before
    distance = v - v_threshold - synapses.beta * a
    still = distance.detach()
    free = (state.silent <= 0).to(current)
    slopes = dynamics.height * (1 - still.abs() / v_threshold).clamp(min=0) * free
    z = spike = heaviside(still) * free
    silent = torch.where(spike > 0, dynamics.refractory, state.silent - 1)
    heard = spike @ synapses.readout.t()
    if distance.requires_grad:
        change = slopes * (distance - still)  # 0, with the gradient of the spike
        z, heard = spike + change, heard + change @ synapses.feedback.detach().t()
    y = dynamics.kappa * state.y + (heard + synapses.bias)
    return State(v, z, a, silent, y), slopes
