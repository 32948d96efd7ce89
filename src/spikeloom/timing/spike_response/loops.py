"""The loops of spike response layers. Loaded from the cache of compiled code, see function.py.

Between two input spikes all neurons of a layer change by the same factors. These are computed once, and one
loop without branches takes all neurons; only those that a bound on the potential lets reach the threshold are
looked at one by one. The backward pass is the adjoint system, from the last spike to the first: it costs what
the forward pass does, however many spikes there are.

A piece of work is a range of samples. Arrays are flat, and indices unsigned, see rel_psp/loops.py.
"""

import math

import numpy as np

from spikeloom.loom.numba_job import done, jit, take, vector, words_of

SAMPLES, CHUNK, EVENTS, NEURONS, SPIKES, EACH = range(6)
"""Places of the sizes: samples and those of a piece of work; input spikes; neurons; spikes of a neuron at
most; input spikes that share a weight."""
TAU, TAU_S, THRESHOLD, END, REFRACTORY = range(5)
"""Places of the settings."""
NEWTON_STEPS = 60  # near a maximum each halves the distance; elsewhere six are enough


@jit
def after(lag, tau, tau_s):
    """What is left of a potential and of a current of 1, and what that makes of a potential."""
    slow = math.exp(-lag / tau)
    if tau == tau_s:
        return slow, slow, lag / tau * slow
    fast = math.exp(-lag / tau_s)
    return slow, fast, tau_s / (tau - tau_s) * (slow - fast)


@jit
def highest_rise(gap, tau, tau_s):
    """The most that a current of 1 makes of a potential up to ``gap``."""
    peak = tau
    if tau != tau_s:
        peak = math.log(tau / tau_s) * tau * tau_s / (tau - tau_s)
    return after(min(gap, peak), tau, tau_s)[2]


@jit
def top(v, c, gap, tau, tau_s):
    """Where a potential that rises at first is highest in ``(0, gap]``."""
    if tau == tau_s:
        peak = tau * (1.0 - v / c)
    else:
        scale = tau_s / (tau - tau_s)
        ratio = scale * c * tau / ((v + scale * c) * tau_s)
        peak = math.log(ratio) / (1.0 / tau_s - 1.0 / tau) if ratio > 0.0 else gap
    return peak if 0.0 < peak < gap else gap


@jit
def crossing(v, c, gap, tau, tau_s, threshold):
    """When a potential below the threshold first reaches it, up to ``gap``; -1 if it does not."""
    if not (c > 0.0 and c > v):  # it does not rise at first, and so never gets there
        return -1.0
    slow, fast, risen = after(gap, tau, tau_s)
    latest, highest = gap, v * slow + c * risen
    if highest < threshold:
        if c * fast > highest:  # it still rises; both are 0 after very long
            return -1.0
        latest = top(v, c, gap, tau, tau_s)
        slow, fast, risen = after(latest, tau, tau_s)
        if v * slow + c * risen < threshold:
            return -1.0
    s, step = 0.0, (threshold - v) * tau / (c - v)
    for _ in range(NEWTON_STEPS):  # it rises and is concave: never too far
        if not step > 0.0 or s + step == s:
            break
        s = min(s + step, latest)
        slow, fast, risen = after(s, tau, tau_s)
        now = v * slow + c * risen
        step = (threshold - now) * tau / (c * fast - now)
    return s


@jit
def in_order(arrivals, first, events, end):
    """The places of the input spikes of a sample that come before ``end``, as they come."""
    found, count = np.empty(events, np.int64), 0
    for e in range(first, first + events):
        if arrivals[e] < end:
            found[count] = e
            count += 1
    found = found[:count]
    return found[np.argsort(arrivals[found], kind="mergesort")]


@jit
def may_reach(v, c, width, most, threshold, found):
    """Enter the neurons whose potentials have a bound that reaches the threshold into ``found``; how many."""
    count = np.uintp(0)
    for j in range(width):
        found[count] = j
        count += np.uintp(max(v[j], 0.0) + max(c[j], 0.0) * most >= threshold)  # no branch: few are found
    return count


@jit
def advance(v, c, width, slow, risen, fast):
    """Let time pass."""
    for j in range(width):
        v[j] = v[j] * slow + c[j] * risen
        c[j] *= fast


@jit
def add(c, width, weight, row):
    """Let an input spike arrive."""
    for j in range(width):
        c[j] += weight[row + j]


@jit
def add_weight_gradient(gradient, row, c, width, tau_s):
    for j in range(width):
        gradient[row + j] -= tau_s * c[j]


@jit(fastmath={"reassoc"})  # else it would be added up one by one
def time_gradient(weight, row, v, c, width):
    total = 0.0
    for j in range(width):
        total += weight[row + j] * (v[j] - c[j])
    return total


@jit
def any_after(last, width, start):
    found = False
    for j in range(width):
        found |= last[j] > start
    return found


def forward_job(real):
    """Firing times and slopes, of samples."""

    def run(job):
        words = words_of(job)
        sizes, settings = vector(words, 0, np.int64), vector(words, 1, real)
        arrivals, weight = vector(words, 2, real), vector(words, 3, real)
        times, slopes = vector(words, 4, real), vector(words, 5, real)
        tau, tau_s, threshold, end = settings[TAU], settings[TAU_S], settings[THRESHOLD], settings[END]
        left = threshold - settings[REFRACTORY]  # of a potential, after a spike
        events, neurons, spikes = sizes[EVENTS], np.uintp(sizes[NEURONS]), np.uintp(sizes[SPIKES])
        v, c = np.empty(neurons, real), np.empty(neurons, real)
        late_v, late_c = np.empty(neurons, real), np.empty(neurons, real)
        count, found = np.empty(neurons, np.uintp), np.empty(neurons, np.uintp)
        number, stop = take(words)
        while number < stop:
            for n in range(number * sizes[CHUNK], min((number + 1) * sizes[CHUNK], sizes[SAMPLES])):
                out = np.uintp(n) * neurons * spikes
                times[out : out + neurons * spikes] = -1.0
                slopes[out : out + neurons * spikes] = 0.0
                v[:], c[:], count[:] = 0.0, 0.0, 0
                alive = neurons
                order = in_order(arrivals, n * events, events, end)
                for k in range(len(order)):
                    if alive == 0:
                        break
                    add(c, neurons, weight, np.uintp((order[k] - n * events) // sizes[EACH]) * neurons)
                    start = arrivals[order[k]]
                    until = arrivals[order[k + 1]] if k + 1 < len(order) else end
                    gap = until - start
                    if gap == 0.0:
                        continue
                    fired, most = np.uintp(0), highest_rise(gap, tau, tau_s)
                    for place in range(may_reach(v, c, neurons, most, threshold, found)):
                        j = found[place]
                        spent, vj, cj, before = 0.0, v[j], c[j], count[j]
                        while count[j] < spikes:
                            lag = crossing(vj, cj, gap - spent, tau, tau_s, threshold)
                            if lag < 0.0:
                                break
                            spent += lag
                            vj, cj = left, cj * math.exp(-lag / tau_s)
                            to = out + j * spikes + count[j]
                            # Rounding must not put it before what caused it.
                            times[to] = max(start + spent, np.nextafter(start, end))
                            slopes[to] = (cj - threshold) / tau
                            count[j] += np.uintp(1)
                        if count[j] > before:
                            slow, fast, risen = after(gap - spent, tau, tau_s)
                            late_v[j], late_c[j] = vj * slow + cj * risen, cj * fast
                            if count[j] == spikes:
                                late_v[j] = -np.inf
                                alive -= np.uintp(1)
                            found[fired] = j
                            fired += np.uintp(1)
                    slow, fast, risen = after(gap, tau, tau_s)
                    advance(v, c, neurons, slow, risen, fast)
                    for place in range(fired):
                        j = found[place]
                        v[j], c[j] = late_v[j], late_c[j]
            done(words)
            number, stop = take(words)

    return run


def backward_job(real):
    """The gradients of weights and of input spikes, from events ``times`` at which the adjoint potential
    becomes ``factor`` times itself plus ``jump``."""

    def run(job):
        words = words_of(job)
        sizes, settings = vector(words, 0, np.int64), vector(words, 1, real)
        arrivals, weight = vector(words, 2, real), vector(words, 3, real)
        times, factor, jump = vector(words, 4, real), vector(words, 5, real), vector(words, 6, real)
        to_arrivals, to_weight = vector(words, 7, real), vector(words, 8, real)
        tau, tau_s = settings[TAU], settings[TAU_S]
        events, neurons, spikes = sizes[EVENTS], np.uintp(sizes[NEURONS]), np.uintp(sizes[SPIKES])
        v, c = np.empty(neurons, real), np.empty(neurons, real)
        early_v, early_c = np.empty(neurons, real), np.empty(neurons, real)
        last, left = np.empty(neurons, real), np.empty(neurons, np.int64)
        found = np.empty(neurons, np.uintp)
        number, stop = take(words)
        while number < stop:
            part = np.uintp(number) * np.uintp(len(weight))  # each piece adds up its own gradient of weights
            for n in range(number * sizes[CHUNK], min((number + 1) * sizes[CHUNK], sizes[SAMPLES])):
                out, latest = np.uintp(n) * neurons * spikes, 0.0
                for j in range(neurons):
                    left[j] = -1
                    for m in range(spikes):
                        if times[out + j * spikes + m] >= 0.0:
                            left[j] = m
                    last[j] = times[out + j * spikes + np.uintp(left[j])] if left[j] >= 0 else -1.0
                    latest = max(latest, last[j])
                v[:], c[:] = 0.0, 0.0
                order = in_order(arrivals, n * events, events, latest)
                until = latest
                for k in range(len(order) - 1, -1, -1):
                    start = arrivals[order[k]]
                    gap, fired = until - start, np.uintp(0)
                    if any_after(last, neurons, start):
                        for j in range(neurons):
                            if last[j] <= start:
                                continue
                            vj, cj, now = v[j], c[j], until
                            while last[j] > start:
                                slow, fast, risen = after(now - last[j], tau, tau_s)
                                cj = cj * fast + vj * risen * tau / tau_s
                                place = out + j * spikes + np.uintp(left[j])
                                vj = vj * slow * factor[place] + jump[place]
                                now = last[j]
                                left[j] -= 1
                                last[j] = times[place - np.uintp(1)] if left[j] >= 0 else -1.0
                            slow, fast, risen = after(now - start, tau, tau_s)
                            early_v[j], early_c[j] = vj * slow, cj * fast + vj * risen * tau / tau_s
                            found[fired] = j
                            fired += np.uintp(1)
                    slow, fast, risen = after(gap, tau, tau_s)
                    advance(c, v, neurons, fast, risen * tau / tau_s, slow)
                    for place in range(fired):
                        j = found[place]
                        v[j], c[j] = early_v[j], early_c[j]
                    row = np.uintp((order[k] - n * events) // sizes[EACH]) * neurons
                    if len(to_weight) > 0:
                        add_weight_gradient(to_weight, part + row, c, neurons, tau_s)
                    if len(to_arrivals) > 0:
                        to_arrivals[order[k]] = time_gradient(weight, row, v, c, neurons)
                    until = start
            done(words)
            number, stop = take(words)

    return run


def highest_job(real):
    """When potentials that never fire are highest; see ``Highest`` in response.py."""

    def run(job):
        words = words_of(job)
        sizes, settings = vector(words, 0, np.int64), vector(words, 1, real)
        arrivals, weight = vector(words, 2, real), vector(words, 3, real)
        times, most, slopes = vector(words, 4, real), vector(words, 5, real), vector(words, 6, real)
        event = vector(words, 7, np.int64)
        tau, tau_s, end = settings[TAU], settings[TAU_S], settings[END]
        events, neurons = sizes[EVENTS], np.uintp(sizes[NEURONS])
        v, c = np.empty(neurons, real), np.empty(neurons, real)
        number, stop = take(words)
        while number < stop:
            for n in range(number * sizes[CHUNK], min((number + 1) * sizes[CHUNK], sizes[SAMPLES])):
                out = np.uintp(n) * neurons
                for j in range(neurons):
                    times[out + j], most[out + j], slopes[out + j], event[out + j] = 0.0, 0.0, 0.0, -1
                v[:], c[:] = 0.0, 0.0
                order = in_order(arrivals, n * events, events, end)
                for k in range(len(order)):
                    add(c, neurons, weight, np.uintp((order[k] - n * events) // sizes[EACH]) * neurons)
                    start = arrivals[order[k]]
                    until = arrivals[order[k + 1]] if k + 1 < len(order) else end
                    gap = until - start
                    slow, fast, risen = after(gap, tau, tau_s)
                    for j in range(neurons):
                        late_v, late_c = v[j] * slow + c[j] * risen, c[j] * fast
                        rises, ends = c[j] > v[j], late_c > late_v  # at the end of the interval too
                        if rises and (late_v > most[out + j] or not ends):
                            lag, reached, current = gap, late_v, late_c
                            if not ends:
                                lag = top(v[j], c[j], gap, tau, tau_s)
                                before = after(lag, tau, tau_s)
                                reached, current = v[j] * before[0] + c[j] * before[2], c[j] * before[1]
                            if reached > most[out + j]:
                                times[out + j], most[out + j] = start + lag, reached
                                slopes[out + j], event[out + j] = 0.0, -1
                                if lag == gap and until < end:
                                    slopes[out + j] = (current - reached) / tau
                                    event[out + j] = order[k + 1] - n * events
                        v[j], c[j] = late_v, late_c
            done(words)
            number, stop = take(words)

    return run
