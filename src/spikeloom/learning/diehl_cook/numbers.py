"""Constants, memories and working memory of Diehl & Cook's network, as its engine takes them."""

import math
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from spikeloom.learning.diehl_cook.constants import (
    EXCITATORY,
    INHIBITORY,
    DiehlCookConstants,
    Population,
)


class Cell(NamedTuple):
    """A population's constants: potentials in mV, ``pace`` the time step divided by the membrane's time
    constant, ``refractory`` in time steps."""

    rest: Any
    reset: Any
    threshold: Any
    reversal: Any
    pace: Any
    refractory: Any


class Numbers(NamedTuple):
    """The network's constants as the loop needs them: in float32, times in time steps, conductances as their
    means over one; ``arrival`` is that of a weight of 1."""

    excitatory: Cell
    inhibitory: Cell
    keep_excitation: Any
    keep_inhibition: Any
    arrival: Any
    relay: Any
    lateral: Any
    theta_plus: Any
    keep_theta: Any
    nu_pre: Any
    nu_post: Any
    w_max: Any
    total: Any
    pre_trace: Any
    post_trace: Any
    slow_trace: Any
    shown: Any
    steps: Any
    chance: Any
    intensity: Any
    min_spikes: Any
    presentations: Any


class Memories(NamedTuple):
    """The network's memories, each ``[neurons]`` or ``[inputs]``."""

    v_excitatory: Any
    v_inhibitory: Any
    excitation: Any
    inhibition: Any
    relayed: Any
    last_excitatory: Any
    last_inhibitory: Any
    last_input: Any


def as_arrays(memories: dict[str, Tensor]) -> Memories:
    """The memories of a network, which share the tensors' values."""
    return Memories(**{name: memory.numpy() for name, memory in memories.items()})


class Space(NamedTuple):
    """Working memory: who fires, and lists of neurons or inputs, with what belongs to them."""

    fired: Any
    relayed: Any
    is_awake: Any
    awake: Any
    is_settled: Any
    unsettled: Any
    sums: Any
    scale: Any
    recent: Any
    post: Any
    active: Any
    pre: Any


def numbers_of(constants: DiehlCookConstants) -> Numbers:
    """The constants as the loop needs them."""

    def cell(one: Population) -> Cell:
        numbers = (one.rest, one.reset, one.threshold, one.reversal, constants.dt / one.tau)
        return Cell._make((*map(np.float32, numbers), constants.steps(one.refractory)))

    duration = constants.shown + constants.pause
    return Numbers(
        cell(EXCITATORY),
        cell(INHIBITORY),
        keep_excitation=np.float32(constants.keep(constants.tau_excitation)),
        keep_inhibition=np.float32(constants.keep(constants.tau_inhibition)),
        arrival=np.float32(constants.mean(constants.tau_excitation)),
        relay=np.float32(constants.relay * constants.mean(constants.tau_excitation)),
        lateral=np.float32(constants.lateral * constants.mean(constants.tau_inhibition)),
        theta_plus=np.float32(constants.theta_plus),
        keep_theta=np.float32(math.exp(-duration / constants.tau_theta)),
        nu_pre=np.float32(constants.nu_pre),
        nu_post=np.float32(constants.nu_post),
        w_max=np.float32(constants.w_max),
        total=constants.total,
        pre_trace=constants.trace(constants.tau_pre).numpy(),
        post_trace=constants.trace(constants.tau_post).numpy(),
        slow_trace=constants.trace(constants.tau_slow).numpy(),
        shown=constants.steps(constants.shown),
        steps=constants.steps(duration),
        chance=constants.dt / 1000,
        intensity=constants.intensity,
        min_spikes=constants.min_spikes,
        presentations=constants.presentations,
    )


def space_of(inputs: int, neurons: int) -> Space:
    """Working memory for a network."""
    fired, relayed, is_awake, is_settled = np.zeros((4, neurons), np.bool_)
    awake, unsettled, recent = np.empty((3, neurons), np.int64)
    scale, post = np.empty((2, neurons), np.float32)
    active, pre = np.empty(inputs, np.int64), np.empty(inputs, np.float32)
    sums = np.empty(neurons)
    return Space(
        fired, relayed, is_awake, awake, is_settled, unsettled, sums, scale, recent, post, active, pre
    )
