"""The engine of Diehl & Cook's network: a loop over samples, presentations and time steps, compiled by Numba.

It computes what :mod:`spikeloom.learning.diehl_cook.reference` computes, number by number, in float32. What
makes it fast: a spike of an input touches one row of the weights and what is on its way, inhibition follows
from the number of inhibitory spikes, a trace is looked up by the time since the spike that set it, inhibitory
neurons at rest are passed over, as are weights whose sum is right, and the loop over the excitatory neurons
becomes vector instructions. Loaded by compiled.py.
"""

import numpy as np

from spikeloom.learning.diehl_cook.constants import NEVER
from spikeloom.learning.diehl_cook.input import draw
from spikeloom.learning.diehl_cook.plasticity import (
    depress,
    list_recent,
    normalise,
    potentiate,
    read_traces,
    trace,
)
from spikeloom.loom.checked import from_python
from spikeloom.loom.numba_job import begin, end, jit

_ONE, _HALF = np.float32(1), np.float32(0.5)


@from_python
def run(numbers, weight, theta, delay, memories, start, space, rates, keys, learn, counts):
    """Show samples one after the other.

    Args:
        numbers, memories, space: as :mod:`spikeloom.learning.diehl_cook.numbers` has them. Memories change.
        start: the memories from which each presentation starts without ``learn``; it has no pause after it.
        weight: ``[inputs, neurons]``; changed where ``learn`` is on, as is ``theta`` ``[neurons]``.
        delay: of the synapses, in time steps, ``[inputs, neurons]``.
        rates: ``[N, inputs]``, in Hz, at intensity 1.
        keys: of each sample's random numbers, ``[N]``.
        learn: whether weights and thresholds change.
        counts: where the spikes of each neuron go, ``[N, neurons]``.
    """
    before = begin()
    inputs = weight.shape[0]
    steps = numbers.steps if learn else numbers.shown
    room, starts = np.empty((2, inputs * numbers.shown), np.int32), np.empty(steps + 1, np.int64)
    for n in range(len(keys)):
        for presentation in range(numbers.presentations):
            if learn:
                normalise(weight, numbers.total, space)
            else:
                _go_back(memories, start)
            chance = numbers.chance * (numbers.intensity + presentation)
            sources = draw(keys[n], presentation, rates[n], chance, numbers.shown, starts, room)
            spikes = _present(
                numbers, weight, theta, delay, memories, space, starts, sources, learn, counts[n]
            )  # fmt: skip
            if len(sources) == 0 or spikes >= numbers.min_spikes:
                break
    end(before)


@jit
def _go_back(memories, start):
    """Give all memories the values that they started from."""
    memories.v_excitatory[:] = start.v_excitatory
    memories.v_inhibitory[:] = start.v_inhibitory
    memories.excitation[:] = start.excitation
    memories.inhibition[:] = start.inhibition
    memories.relayed[:] = start.relayed
    memories.last_excitatory[:] = start.last_excitatory
    memories.last_inhibitory[:] = start.last_inhibitory
    memories.last_input[:] = start.last_input


@jit
def _present(numbers, weight, theta, delay, memories, space, starts, sources, learn, count):
    """One presentation: counts the spikes of each neuron while the sample is shown, and returns their sum."""
    steps, total = len(starts) - 1, 0
    for j in range(count.size):
        count[j] = 0
        space.awake[j], space.is_awake[j] = j, True
    num_awake = count.size
    num_recent = list_recent(numbers.post_trace, memories.last_excitatory, 0, space.recent)
    space.coming[:] = 0
    for now in range(steps):
        spikes = _advance_excitatory(
            numbers, memories.v_excitatory, theta, memories.excitation, memories.inhibition,
            memories.last_excitatory, now, space.fired,
        )  # fmt: skip
        inhibitory_spikes, num_awake = _advance_inhibitory(numbers, memories, space, num_awake, now)
        if starts[now] < starts[now + 1]:
            sent = sources[starts[now] : starts[now + 1]]
            _send(weight, delay, memories, space.coming, sent, now)
            if learn and num_recent:
                _depress(numbers, weight, memories, space, num_recent, sent, now)
        _arrive(numbers, memories, space.coming, now)
        if inhibitory_spikes:
            _inhibit(memories, numbers.lateral, space.relayed, inhibitory_spikes, now)
        if spikes:
            if learn:
                _potentiate(numbers, weight, theta, memories, space, now)
            shown = now < numbers.shown
            total += spikes * shown
            for j in range(count.size):
                if space.fired[j]:
                    memories.relayed[j] += numbers.relay
                    if not space.is_awake[j]:
                        space.awake[num_awake], space.is_awake[j] = j, True
                        num_awake += 1
                    memories.last_excitatory[j] = now
                    count[j] += shown
            num_recent = list_recent(numbers.post_trace, memories.last_excitatory, now, space.recent)
    if learn:
        for j in range(count.size):
            theta[j] *= numbers.keep_theta
    _begin_anew(memories, steps)
    return total


@jit
def _advance_excitatory(numbers, v, theta, excitation, inhibition, last, now, fired):
    """One time step of the excitatory neurons; returns how many of them fire."""
    cell, spikes = numbers.excitatory, 0
    ready = np.int32(now - cell.refractory)
    for j in range(v.size):
        pull = cell.pace * (_ONE + excitation[j] + inhibition[j])
        drive = cell.pace * (cell.rest + cell.reversal * inhibition[j])
        half_on = _ONE + _HALF * pull
        moved = (v[j] + drive * half_on) / (_ONE + pull * half_on)
        free = last[j] < ready
        spike = free & (moved > cell.threshold + theta[j])
        v[j] = moved if free & (not spike) else cell.reset
        fired[j] = spike
        spikes += spike
        excitation[j] *= numbers.keep_excitation
        inhibition[j] *= numbers.keep_inhibition
    return spikes


@jit
def _advance_inhibitory(numbers, memories, space, num_awake, now):
    """One time step of the inhibitory neurons that are awake; returns how many fire, and how many stay awake.

    One falls asleep when its partner's spikes have faded to 0 and a step leaves its potential as it was: all
    further ones would, until its partner fires.
    """
    cell, spikes, stay = numbers.inhibitory, 0, 0
    ready = np.int32(now - cell.refractory)
    for place in range(num_awake):
        j = space.awake[place]
        v, excitation = memories.v_inhibitory[j], memories.relayed[j]
        pull = cell.pace * (_ONE + excitation)
        half_on = _ONE + _HALF * pull
        moved = (v + cell.pace * cell.rest * half_on) / (_ONE + pull * half_on)
        free = memories.last_inhibitory[j] < ready
        spike = free & (moved > cell.threshold)
        memories.v_inhibitory[j] = moved if free & (not spike) else cell.reset
        memories.relayed[j] = excitation * numbers.keep_excitation
        space.relayed[j] = spike
        spikes += spike
        if free & (excitation == 0) & (moved == v) & (not spike):
            space.is_awake[j] = False
        else:
            space.awake[stay] = j
            stay += 1
    return spikes, stay


@jit
def _send(weight, delay, memories, coming, sent, now):
    """Put the weights of the inputs that spike on their way."""
    rounds = np.uint32(coming.shape[0] - 1)  # as their number is a power of 2, its bits make a step go round
    for i in sent:
        memories.last_input[i] = now
        row, late = weight[i], delay[i]
        for j in range(row.size):
            coming[(np.uint32(now) + np.uint32(late[j])) & rounds, j] += row[j]


@jit
def _arrive(numbers, memories, coming, now):
    """Add the weights that arrive to the excitatory conductances."""
    here = coming[now & (coming.shape[0] - 1)]
    for j in range(here.size):
        memories.excitation[j] += numbers.arrival * here[j]
        here[j] = 0


@jit
def _depress(numbers, weight, memories, space, num_recent, sent, now):
    """Lower weights of the inputs that spike, to neurons that fired before."""
    recent = space.recent[:num_recent]
    read_traces(numbers.post_trace, memories.last_excitatory, now, recent, space.post)
    for i in sent:
        depress(weight[i], recent, space.post, numbers.nu_pre)
    for j in recent:
        space.is_settled[j] = False


@jit
def _potentiate(numbers, weight, theta, memories, space, now):
    """Raise weights of inputs that spiked, to neurons that fire now and fired not long before; and the
    thresholds of neurons that fire."""
    active = space.active[: list_recent(numbers.pre_trace, memories.last_input, now, space.active)]
    read_traces(numbers.pre_trace, memories.last_input, now, active, space.pre)
    for j in range(space.fired.size):
        if space.fired[j]:
            gain = numbers.nu_post * trace(numbers.slow_trace, now - memories.last_excitatory[j])
            if gain > 0:
                potentiate(weight, j, active, space.pre, gain, numbers.w_max)
                space.is_settled[j] = False
            theta[j] += numbers.theta_plus


@jit
def _inhibit(memories, lateral, relayed, spikes, now):
    """Let each inhibitory neuron that fires inhibit all excitatory neurons but its own."""
    for j in range(relayed.size):
        memories.inhibition[j] += lateral * np.float32(spikes - relayed[j])
        if relayed[j]:
            memories.last_inhibitory[j] = now


@jit
def _begin_anew(memories, steps):
    """Count the steps of last spikes from the next presentation on."""
    for last in (memories.last_excitatory, memories.last_inhibitory, memories.last_input):
        for j in range(last.size):
            last[j] = max(last[j] - steps, NEVER)
