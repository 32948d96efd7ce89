"""The loops of ReL-PSP layers. Loaded from the cache of compiled code, see compiled.py.

Each neuron keeps the slope ``rise`` of its potential and a ``moment``, the sum of weights times their spikes'
times: at a time ``t`` the potential is ``rise * t - moment``. A neuron that has fired has an infinite moment,
so that no loop asks which neurons have. A linear layer has one position; in a convolution a spike goes to all
positions whose windows cover it. Those that lie side by side in a row of the output are a run: one loop
without branches takes all their neurons, over which weights are stored side by side too. What is done with a
range of samples, and in a linear layer with a block of neurons, is one piece of work.

Arrays are flat, and indices unsigned: slices, and checks for negative indices, took three quarters of the
time.
"""

import numpy as np

from spikeloom.loom.numba_job import done, jit, take, vector, words_of

SAMPLES, CHUNK, NEURONS, BLOCK, INPUTS, PIXELS, TAPS, POSITIONS = range(8)
"""Places of the sizes: samples and those of a piece of work; neurons and those of a block; inputs; pixels of
a channel; places in a window; positions of windows."""


@jit
def reaches(rise, moment, at, span, now, threshold):
    """Whether a potential reaches the threshold."""
    reached = False
    for j in range(at, at + span):
        reached |= rise[j] * now - moment[j] >= threshold
    return reached


@jit
def fire(rise, moment, at, width, before, now, threshold, times, slopes, to):
    """Note when the potentials that reach the threshold did so, after ``before`` and up to ``now``.

    Returns:
        how many they are
    """
    fired = 0
    for j in range(width):
        v = rise[at + j] * now - moment[at + j]
        if v >= threshold and rise[at + j] > 0:  # a potential that does not rise only seems to, by rounding
            time = now - (v - threshold) / rise[at + j]
            # Rounding must not put it among the spikes that caused it.
            times[to + j] = time if time > before else np.nextafter(before, now)
            slopes[to + j] = rise[at + j]
            moment[at + j] = np.inf
            fired += 1
    return fired


@jit
def add_spike(rise, moment, at, span, weight, source, now):
    """A spike's share in the potentials."""
    for j in range(span):
        rise[at + j] += weight[source + j]
        moment[at + j] += weight[source + j] * now


@jit
def add_weight_gradient(total, at, scale, times, source, span, time):
    """A spike's share in the gradient of its weights; the neurons that fired before it add 0."""
    zero = total.dtype.type(0)
    for j in range(span):
        total[at + j] += scale[source + j] * min(time - times[source + j], zero)


@jit(fastmath={"reassoc"})  # else it would be added up one by one
def time_gradient(scale, times, source, span, time, weight, row):
    """A run's share in the gradient of a spike's time."""
    total = zero = scale.dtype.type(0)
    for j in range(span):
        share = scale[source + j] * weight[row + j]
        total += share if time < times[source + j] else zero
    return total


@jit
def greatest(values, at, count):
    """The greatest of some values."""
    found = values[at]
    for j in range(at + np.uintp(1), at + count):
        found = max(found, values[j])
    return found


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
        places, counts = vector(words, 2, np.int64), vector(words, 3, np.int64)
        taps = vector(words, 4, np.int64)
        order, sorted_times = vector(words, 5, np.int64), vector(words, 6, real)
        bias, settings, weight = vector(words, 7, real), vector(words, 8, real), vector(words, 9, real)
        times, slopes = vector(words, 10, real), vector(words, 11, real)
        threshold, end = settings[0], settings[1]
        neurons, inputs = np.uintp(sizes[NEURONS]), sizes[INPUTS]
        positions, block = sizes[POSITIONS], np.uintp(sizes[BLOCK])
        rise, moment = np.empty(positions * sizes[BLOCK], real), np.empty(positions * sizes[BLOCK], real)
        last, waiting = np.empty(positions, real), np.empty(positions, np.int64)
        state, results = (rise, moment), (threshold, times, slopes)
        number, stop = take(words)
        while number < stop:
            first, to, start, width = piece(number, sizes)
            for n in range(first, to):
                out = np.uintp(n * positions) * neurons + start
                for p in range(np.uintp(positions)):
                    last[p], waiting[p] = 0.0, width
                    for j in range(width):
                        rise[p * block + j], moment[p * block + j] = bias[start + j], 0.0
                        times[out + p * neurons + j], slopes[out + p * neurons + j] = -1.0, 0.0
                left = positions
                for k in range(n * inputs, (n + 1) * inputs):
                    now, source = sorted_times[k], order[k]
                    if now > end or left == 0:
                        break
                    channel, pixel = source // sizes[PIXELS], source % sizes[PIXELS]
                    for target in range(starts[pixel], starts[pixel + 1]):
                        place, count = np.uintp(places[target]), np.uintp(counts[target])
                        if greatest(waiting, place, count) == 0:
                            continue
                        at, span = place * block, count * width
                        if reaches(rise, moment, at, span, now, threshold):
                            for p in range(place, place + count):
                                fired = fire(
                                    *state, p * block, width, last[p], now, *results, out + p * neurons
                                )
                                waiting[p] -= fired
                                left -= fired > 0 and waiting[p] == 0
                        for p in range(place, place + count):
                            last[p] = now
                        row = np.uintp(channel * sizes[TAPS] + taps[target])
                        add_spike(rise, moment, at, span, weight, row * neurons + start, now)
                for p in range(np.uintp(positions)):
                    if waiting[p] > 0:
                        fire(*state, p * block, width, last[p], end, *results, out + p * neurons)
            done(words)
            number, stop = take(words)

    return run


def weight_job(real):
    """The gradient of the weights, a sum for each range of samples."""

    def run(job):
        words = words_of(job)
        sizes, starts = vector(words, 0, np.int64), vector(words, 1, np.int64)
        places, counts = vector(words, 2, np.int64), vector(words, 3, np.int64)
        taps = vector(words, 4, np.int64)
        in_times, times, scale = vector(words, 5, real), vector(words, 6, real), vector(words, 7, real)
        gradient = vector(words, 8, real)  # starts at 0
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
                    latest[p] = greatest(times, out + p * neurons, width)
                for place in range(inputs):
                    time = in_times[n * inputs + place]
                    if time < 0:
                        continue
                    channel, pixel = place // sizes[PIXELS], place % sizes[PIXELS]
                    for target in range(starts[pixel], starts[pixel + 1]):
                        p, count = np.uintp(places[target]), np.uintp(counts[target])
                        if time < greatest(latest, p, count):
                            row = np.uintp(channel * sizes[TAPS] + taps[target])
                            at, source = total + row * neurons, out + p * neurons
                            add_weight_gradient(gradient, at, scale, times, source, count * width, time)
            done(words)
            number, stop = take(words)

    return run


def time_job(real):
    """The gradient of the input's spike times."""

    def run(job):
        words = words_of(job)
        sizes, starts = vector(words, 0, np.int64), vector(words, 1, np.int64)
        places, counts = vector(words, 2, np.int64), vector(words, 3, np.int64)
        taps = vector(words, 4, np.int64)
        in_times, times, scale = vector(words, 5, real), vector(words, 6, real), vector(words, 7, real)
        weight, gradient = vector(words, 8, real), vector(words, 9, real)
        neurons, inputs, positions = np.uintp(sizes[NEURONS]), sizes[INPUTS], sizes[POSITIONS]
        number, stop = take(words)
        while number < stop:
            for n in range(number * sizes[CHUNK], min((number + 1) * sizes[CHUNK], sizes[SAMPLES])):
                for place in range(inputs):
                    time = in_times[n * inputs + place]
                    channel, pixel = place // sizes[PIXELS], place % sizes[PIXELS]
                    total = gradient.dtype.type(0)
                    for target in range(starts[pixel], starts[pixel + 1] if time >= 0 else 0):
                        row = np.uintp(channel * sizes[TAPS] + taps[target]) * neurons
                        source = np.uintp(n * positions + places[target]) * neurons
                        span = np.uintp(counts[target]) * neurons
                        total += time_gradient(scale, times, source, span, time, weight, row)
                    gradient[n * inputs + place] = total
            done(words)
            number, stop = take(words)

    return run
