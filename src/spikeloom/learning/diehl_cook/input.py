"""The input of Diehl & Cook's network: random spikes of each presentation, as a list of events.

Each presentation has random numbers of its own, the SplitMix64 sequence from a key, so that the spikes of a
sample do not depend on what was shown before it. They are drawn from spike to spike: the number of time steps
from one to the next is geometrically distributed.
"""

import math

import numpy as np
from numba import njit

from spikeloom.loom.numba_job import jit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@njit(nogil=True, error_model="numpy")  # the reference, in Python, calls it too
def draw(key, presentation, rates, chance, shown, starts, room):
    """The spikes of independent inputs.

    Args:
        key: of the sample's random numbers, a whole number of at least 0.
        presentation: number of the presentation, which has other random numbers.
        rates: of the inputs, ``[inputs]``.
        chance: of a spike per time step, for a rate of 1; at most 1 for any rate.
        shown: time steps in which the inputs spike.
        starts: where the index of each step's first event goes, ``[steps + 1]``, of at least as many steps.
        room: working memory, int32 ``[2, inputs * shown]``.
    Returns:
        the inputs of the events in the order of time, then of the inputs, int32
    """
    steps = len(starts) - 1
    times, sources = room
    inputs = len(rates)
    state = _mixed(np.uint64(key) + _GOLDEN * np.uint64(2 * presentation + 1))
    for step in range(steps + 1):
        starts[step] = 0
    ends = np.zeros(inputs, np.int64)
    count = 0
    for i in range(inputs):
        if rates[i] > 0:
            scale = 1 / math.log1p(-min(rates[i] * chance, 1.0))  # -0 for 1: a spike at every step
            time = -1
            while True:
                state += _GOLDEN
                uniform = (np.float64(_mixed(state) >> _S11) + 0.5) * 2.0**-53  # in (0, 1)
                gap = math.log(uniform) * scale
                if gap >= shown - 1 - time:  # it may be infinite
                    break
                time += 1 + np.int64(gap)
                times[count] = time
                starts[time + 1] += 1
                count += 1
        ends[i] = count
    place = np.empty(steps, np.int64)
    for step in range(steps):
        place[step] = starts[step]
        starts[step + 1] += starts[step]
    event = 0
    for i in range(inputs):
        while event < ends[i]:
            step = times[event]
            sources[place[step]] = i
            place[step] += 1
            event += 1
    return sources[:count]


@jit
def _mixed(number):
    """SplitMix64's hash of a 64-bit number."""
    number = (number ^ (number >> _S30)) * _FIRST
    number = (number ^ (number >> _S27)) * _SECOND
    return number ^ (number >> _S31)
