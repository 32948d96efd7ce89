"""The loops of an e-prop layer over a sequence. Loaded from the cache of compiled code, see sequence.py.

A piece of work is a range of samples: each runs through all of its time steps while its state stays in the
cache. A spike adds a row of weights; most steps have few. Arrays are flat, and indices unsigned, see
timing/rel_psp/loops.py.
"""

import numpy as np

from spikeloom.loom.numba_job import begin, done, end, jit, take, vector, words_of

STEPS, SAMPLES, CHUNK, NEURONS, OUTPUTS = range(5)
"""Places of the sizes: time steps; samples, and those of a piece of work; neurons; outputs."""
ALPHA, KAPPA, RHO, THRESHOLD, HEIGHT, REFRACTORY = range(6)
"""Places of the settings; ``HEIGHT`` is that of the surrogate's triangle."""


@jit
def add(to, value, weight, row, width):
    """Let a spike arrive, whose value is 1 or NaN; or an error."""
    for j in range(width):
        to[j] += value * weight[row + j]


@jit
def copy(to, first, values, row, width):
    for j in range(width):
        to[first + j] = values[row + j]


@jit
def fired_by(z, width, found):
    """Enter the neurons that fired into ``found``; how many they are."""
    count = np.uintp(0)
    for j in range(width):
        found[count] = j
        count += np.uintp(z[j] != 0.0)
    return count


@jit
def advance(v, z, a, silent, current, beta, slope, width, settings, zero, one):
    """A time step of all neurons; without branches and offsets, so that several are taken at a time."""
    alpha, rho, threshold = settings[ALPHA], settings[RHO], settings[THRESHOLD]
    height, refractory = settings[HEIGHT], settings[REFRACTORY]
    for j in range(width):
        before, rise = z[j], rho * a[j] + z[j]
        potential = alpha * v[j] + current[j] - threshold * before
        distance = potential - threshold - beta[j] * rise
        free = one if silent[j] <= zero else zero
        spike = one if distance >= zero else (zero if distance < zero else distance)  # NaN stays NaN
        near = one - abs(distance) / threshold
        spike *= free
        a[j], v[j], z[j] = rise, potential, spike
        silent[j] = refractory if spike > zero else silent[j] - one
        slope[j] = height * (zero if near < zero else near) * free


@jit
def retreat(signal, slope, beta, to_v, to_z, to_a, to_current, width, alpha, rho):
    """The gradients before a time step, of those after it."""
    for j in range(width):
        change = signal[j] * slope[j]
        to_threshold = to_a[j] - beta[j] * change
        to_current[j] = to_v[j] + change
        to_v[j] = alpha * to_current[j]
        to_a[j] = rho * to_threshold
        to_z[j] = to_threshold


def forward_job(real):
    """Spikes, the surrogate's slopes unless they have no room, and outputs of all steps, from the currents of
    the input; the state becomes that after the last step."""

    def run(job):
        words = words_of(job)
        sizes, settings = vector(words, 0, np.int64), vector(words, 1, real)
        drive, recurrent, beta = vector(words, 2, real), vector(words, 3, real), vector(words, 4, real)
        readout, bias = vector(words, 5, real), vector(words, 6, real)
        all_v, all_z, all_a = vector(words, 7, real), vector(words, 8, real), vector(words, 9, real)
        all_silent, all_y = vector(words, 10, real), vector(words, 11, real)
        spikes, slopes, outputs = vector(words, 12, real), vector(words, 13, real), vector(words, 14, real)
        samples, width = np.uintp(sizes[SAMPLES]), np.uintp(sizes[NEURONS])
        answers, start = np.uintp(sizes[OUTPUTS]), np.uintp(0)
        v, z, a = np.empty(width, real), np.empty(width, real), np.empty(width, real)
        silent, current, slope = np.empty(width, real), np.empty(width, real), np.empty(width, real)
        y, found = np.empty(answers, real), np.empty(width, np.uintp)
        flushed = begin()
        number, stop = take(words)
        while number < stop:
            for n in range(number * sizes[CHUNK], min((number + 1) * sizes[CHUNK], sizes[SAMPLES])):
                own, answer = np.uintp(n) * width, np.uintp(n) * answers
                for one, everyone in ((v, all_v), (z, all_z), (a, all_a), (silent, all_silent)):
                    copy(one, start, everyone, own, width)
                copy(y, start, all_y, answer, answers)
                count = fired_by(z, width, found)
                for t in range(sizes[STEPS]):
                    here = np.uintp(t) * samples * width + own
                    copy(current, start, drive, here, width)
                    for place in range(count):
                        add(current, z[found[place]], recurrent, found[place] * width, width)
                    advance(v, z, a, silent, current, beta, slope, width, settings, real(0), real(1))
                    copy(spikes, here, z, start, width)
                    if len(slopes) > 0:
                        copy(slopes, here, slope, start, width)
                    count = fired_by(z, width, found)
                    for o in range(answers):
                        y[o] = settings[KAPPA] * y[o] + bias[o]
                    for place in range(count):
                        add(y, z[found[place]], readout, found[place] * answers, answers)
                    copy(outputs, np.uintp(t) * samples * answers + answer, y, start, answers)
                for one, everyone in ((v, all_v), (z, all_z), (a, all_a), (silent, all_silent)):
                    copy(everyone, own, one, start, width)
                copy(all_y, answer, y, start, answers)
            done(words)
            number, stop = take(words)
        end(flushed)

    return run


def backward_job(real):
    """The gradients of the currents; those of the outputs, filtered by the readout's decay, in place; and of
    those of the last state, also in place, those of the first."""

    def run(job):
        words = words_of(job)
        sizes, settings = vector(words, 0, np.int64), vector(words, 1, real)
        slopes, beta, feedback = vector(words, 2, real), vector(words, 3, real), vector(words, 4, real)
        to_spikes, all_v, all_z = vector(words, 5, real), vector(words, 6, real), vector(words, 7, real)
        all_a, to_y = vector(words, 8, real), vector(words, 9, real)
        to_drive, to_outputs = vector(words, 10, real), vector(words, 11, real)
        alpha, kappa, rho = settings[ALPHA], settings[KAPPA], settings[RHO]
        samples, width = np.uintp(sizes[SAMPLES]), np.uintp(sizes[NEURONS])
        answers, start = np.uintp(sizes[OUTPUTS]), np.uintp(0)
        to_v, to_z, to_a = np.empty(width, real), np.empty(width, real), np.empty(width, real)
        signal, slope, to_current = np.empty(width, real), np.empty(width, real), np.empty(width, real)
        flushed = begin()
        number, stop = take(words)
        while number < stop:
            for n in range(number * sizes[CHUNK], min((number + 1) * sizes[CHUNK], sizes[SAMPLES])):
                own, answer = np.uintp(n) * width, np.uintp(n) * answers
                for one, everyone in ((to_v, all_v), (to_z, all_z), (to_a, all_a)):
                    copy(one, start, everyone, own, width)
                for t in range(sizes[STEPS] - 1, -1, -1):
                    here = np.uintp(t) * samples * width + own
                    there = np.uintp(t) * samples * answers + answer
                    copy(signal, start, to_z, start, width)
                    if len(to_spikes) > 0:
                        add(signal, real(1), to_spikes, here, width)
                    for o in range(answers):
                        error = to_outputs[there + o] + to_y[answer + o]
                        to_outputs[there + o] = error
                        to_y[answer + o] = kappa * error
                        add(signal, error, feedback, np.uintp(o) * width, width)
                    copy(slope, start, slopes, here, width)
                    retreat(signal, slope, beta, to_v, to_z, to_a, to_current, width, alpha, rho)
                    copy(to_drive, here, to_current, start, width)
                for one, everyone in ((to_v, all_v), (to_z, all_z), (to_a, all_a)):
                    copy(everyone, own, one, start, width)
            done(words)
            number, stop = take(words)
        end(flushed)

    return run
