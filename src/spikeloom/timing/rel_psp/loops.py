"""The loops of ReL-PSP layers. Loaded from the cache of compiled code, see compiled.py.

A spike goes to every position of the output whose window covers it; a linear layer has one position. There
each neuron keeps its potential ``v`` as of the last spike and its slope ``rise``. All neurons of a position
move together, so the innermost loops run over them and have no branches; a neuron that has fired has a
potential of minus infinity. What is done with a range of samples and a block of neurons is one piece of work.

Arrays are flat, and indices unsigned: slices, and checks for negative indices, took three quarters of the
time.
"""

import numpy as np
from numba import njit

from spikeloom.loom.numba_job import done, take, vector, words_of

jit = njit(nogil=True, error_model="numpy")

SAMPLES, CHUNK, NEURONS, BLOCK, INPUTS, PIXELS, TAPS, POSITIONS = range(8)
"""Places of the sizes: samples and those of a piece of work; neurons and those of a block; inputs; pixels of
a channel; places in a window; positions of windows."""


@jit
def move(v, rise, at, width, passed, threshold):
    """Potentials after some time without spikes; whether one reaches the threshold."""
    reached = False
    for j in range(at, at + width):
        v[j] += rise[j] * passed
        reached |= v[j] >= threshold
    return reached


@jit
def fire(v, rise, at, width, before, now, threshold, times, slopes, to):
    """Note when the potentials that reach the threshold did so, after ``before`` and up to ``now``.

    Returns:
        how many they are
    """
    fired = 0
    for j in range(width):
        if v[at + j] >= threshold:
            time = now - (v[at + j] - threshold) / rise[at + j]
            # Rounding must not put it among the spikes that caused it.
            times[to + j] = time if time > before else np.nextafter(before, now)
            slopes[to + j] = rise[at + j]
            v[at + j] = -np.inf
            fired += 1
    return fired


@jit
def add(total, at, values, source, width):
    for j in range(width):
        total[at + j] += values[source + j]


@jit
def add_weight_gradient(total, at, scale, times, source, width, time):
    """A spike's share in the gradient of its weights; the neurons that fired before it add 0."""
    zero = total.dtype.type(0)
    for j in range(width):
        total[at + j] += scale[source + j] * min(time - times[source + j], zero)


@jit
def add_time_gradient(lanes, scale, times, source, width, time, weight, row):
    """A spike's share in the gradient of its time, by neuron."""
    zero = lanes.dtype.type(0)
    for j in range(width):
        share = scale[source + j] * weight[row + j]
        lanes[j] += share if time < times[source + j] else zero


@jit
def piece(number, sizes):
    """The samples and the neurons of a piece of work: from, to, from, how many."""
    blocks = (sizes[NEURONS] + sizes[BLOCK] - 1) // sizes[BLOCK]
    first, start = number // blocks * sizes[CHUNK], number % blocks * sizes[BLOCK]
    to = min(first + sizes[CHUNK], sizes[SAMPLES])
    return first, to, np.uintp(start), np.uintp(min(sizes[BLOCK], sizes[NEURONS] - start))


def forward_job(real):
    """Firing times and slopes, of samples whose spikes come sorted."""

    def run(job):
        words = words_of(job)
        sizes, starts = vector(words, 0, np.int64), vector(words, 1, np.int64)
        places, taps = vector(words, 2, np.int64), vector(words, 3, np.int64)
        order, sorted_times = vector(words, 4, np.int64), vector(words, 5, real)
        bias, settings, weight = vector(words, 6, real), vector(words, 7, real), vector(words, 8, real)
        times, slopes = vector(words, 9, real), vector(words, 10, real)
        threshold, end = settings[0], settings[1]
        neurons, inputs = np.uintp(sizes[NEURONS]), sizes[INPUTS]
        positions, block = sizes[POSITIONS], np.uintp(sizes[BLOCK])
        v, rise = np.empty(positions * sizes[BLOCK], real), np.empty(positions * sizes[BLOCK], real)
        last, waiting = np.empty(positions, real), np.empty(positions, np.int64)
        number, stop = take(words)
        while number < stop:
            first, to, start, width = piece(number, sizes)
            for n in range(first, to):
                out = np.uintp(n * positions) * neurons + start
                for p in range(np.uintp(positions)):
                    last[p], waiting[p] = 0.0, width
                    for j in range(width):
                        v[p * block + j], rise[p * block + j] = 0.0, bias[start + j]
                        times[out + p * neurons + j], slopes[out + p * neurons + j] = -1.0, 0.0
                left = positions
                for k in range(n * inputs, (n + 1) * inputs):
                    now, source = sorted_times[k], order[k]
                    if now > end or left == 0:
                        break
                    channel, pixel = source // sizes[PIXELS], source % sizes[PIXELS]
                    for target in range(starts[pixel], starts[pixel + 1]):
                        p = np.uintp(places[target])
                        if waiting[p] == 0:
                            continue
                        at = p * block
                        if move(v, rise, at, width, now - last[p], threshold):
                            waiting[p] -= fire(
                                v, rise, at, width, last[p], now, threshold, times, slopes, out + p * neurons
                            )
                            left -= waiting[p] == 0
                        last[p] = now
                        row = np.uintp(channel * sizes[TAPS] + taps[target])
                        add(rise, at, weight, row * neurons + start, width)
                for p in range(np.uintp(positions)):
                    if waiting[p] > 0 and move(v, rise, p * block, width, end - last[p], threshold):
                        fire(
                            v,
                            rise,
                            p * block,
                            width,
                            last[p],
                            end,
                            threshold,
                            times,
                            slopes,
                            out + p * neurons,
                        )
            done(words)
            number, stop = take(words)

    return run


def weight_job(real):
    """The gradient of the weights, a sum for each range of samples."""

    def run(job):
        words = words_of(job)
        sizes, starts = vector(words, 0, np.int64), vector(words, 1, np.int64)
        places, taps = vector(words, 2, np.int64), vector(words, 3, np.int64)
        in_times, times, scale = vector(words, 4, real), vector(words, 5, real), vector(words, 6, real)
        gradient = vector(words, 7, real)  # starts at 0
        neurons, inputs = np.uintp(sizes[NEURONS]), sizes[INPUTS]
        rows = np.uintp(inputs // sizes[PIXELS] * sizes[TAPS])
        positions = sizes[POSITIONS]
        latest = np.empty(positions, real)
        number, stop = take(words)
        while number < stop:
            first, to, start, width = piece(number, sizes)
            total = np.uintp(first // sizes[CHUNK]) * rows * neurons + start
            for n in range(first, to):
                out = np.uintp(n * positions) * neurons + start
                for p in range(np.uintp(positions)):
                    latest[p] = -1.0
                    for j in range(width):
                        latest[p] = max(latest[p], times[out + p * neurons + j])
                for place in range(inputs):
                    time = in_times[n * inputs + place]
                    if time < 0:
                        continue
                    channel, pixel = place // sizes[PIXELS], place % sizes[PIXELS]
                    for target in range(starts[pixel], starts[pixel + 1]):
                        p = np.uintp(places[target])
                        if time < latest[p]:
                            row = np.uintp(channel * sizes[TAPS] + taps[target])
                            at, source = total + row * neurons, out + p * neurons
                            add_weight_gradient(gradient, at, scale, times, source, width, time)
            done(words)
            number, stop = take(words)

    return run


def time_job(real):
    """The gradient of the input's spike times."""

    def run(job):
        words = words_of(job)
        sizes, starts = vector(words, 0, np.int64), vector(words, 1, np.int64)
        places, taps = vector(words, 2, np.int64), vector(words, 3, np.int64)
        in_times, times, scale = vector(words, 4, real), vector(words, 5, real), vector(words, 6, real)
        weight, gradient = vector(words, 7, real), vector(words, 8, real)
        neurons, inputs = np.uintp(sizes[NEURONS]), sizes[INPUTS]
        positions, block = sizes[POSITIONS], np.uintp(sizes[BLOCK])
        lanes = np.empty(sizes[BLOCK], real)  # a single sum would be added up one by one
        number, stop = take(words)
        while number < stop:
            for n in range(number * sizes[CHUNK], min((number + 1) * sizes[CHUNK], sizes[SAMPLES])):
                for place in range(inputs):
                    time = in_times[n * inputs + place]
                    for lane in range(block):
                        lanes[lane] = 0.0
                    channel, pixel = place // sizes[PIXELS], place % sizes[PIXELS]
                    for target in range(starts[pixel], starts[pixel + 1] if time >= 0 else 0):
                        row = np.uintp(channel * sizes[TAPS] + taps[target]) * neurons
                        source = np.uintp(n * positions + places[target]) * neurons
                        for start in range(np.uintp(0), neurons, block):
                            width = min(block, neurons - start)
                            add_time_gradient(
                                lanes, scale, times, source + start, width, time, weight, row + start
                            )
                    total = lanes[0]
                    for lane in range(1, sizes[BLOCK]):
                        total += lanes[lane]
                    gradient[n * inputs + place] = total
            done(words)
            number, stop = take(words)

    return run
