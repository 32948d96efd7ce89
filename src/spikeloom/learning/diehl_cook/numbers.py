"""Constants, memories and working memory of Diehl & Cook's network, as its engine takes them."""

import math
from collections import namedtuple

import numpy as np
from torch import Tensor

from spikeloom.learning.diehl_cook.constants import (
    EXCITATORY,
    INHIBITORY,
    DiehlCookConstants,
    Population,
)

Cell = namedtuple("Cell", "rest reset threshold reversal pace refractory")
"""A population's constants: potentials in mV, ``pace`` the time step divided by the membrane's time constant,
``refractory`` in time steps."""

Numbers = namedtuple(
    "Numbers",
    "excitatory inhibitory keep_excitation keep_inhibition arrival relay lateral theta_plus keep_theta nu_pre"
    " nu_post w_max total pre_trace post_trace slow_trace shown steps chance intensity min_spikes"
    " presentations",
)
"""The network's constants as the loop needs them: in float32, times in time steps, conductances as their
means over one; ``arrival`` is that of a weight of 1."""

Memories = namedtuple(
    "Memories",
    "v_excitatory v_inhibitory excitation inhibition relayed last_excitatory last_inhibitory last_input",
)
"""The network's memories, each ``[neurons]`` or ``[inputs]``."""

Space = namedtuple(
    "Space", "fired relayed is_awake is_settled awake unsettled recent scale post sums active pre coming"
)
"""Working memory: who fires, and lists of neurons or inputs, with what belongs to them; ``coming``
``[2 ** k, neurons]`` has the weights that arrive at each neuron in the next time steps, and goes round."""


def as_arrays(memories: dict[str, Tensor]) -> Memories:
    """The memories of a network, which share the tensors' values."""
    return Memories(**{name: memory.numpy() for name, memory in memories.items()})


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


def space_of(inputs: int, neurons: int, constants: DiehlCookConstants) -> Space:
    """Working memory for a network."""
    longest = constants.steps(constants.max_delay)
    arrays = (
        *np.zeros((4, neurons), np.bool_),
        *np.empty((3, neurons), np.int64),
        *np.empty((2, neurons), np.float32),
        np.empty(neurons),
        np.empty(inputs, np.int64),
        np.empty(inputs, np.float32),
        np.empty((1 << longest.bit_length(), neurons), np.float32),
    )
    return Space._make(arrays)
