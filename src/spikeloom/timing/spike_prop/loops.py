"""The loops of SpikeProp layers, as in spike_response.py. Loaded from the cache of compiled code, see
function.py.

Each neuron is followed from arrival to arrival only until it has fired, and inputs without a spike cost
nothing. The crossing is found by Newton's method instead of bisection: from the start of the interval to its
maximum the potential rises and is concave, so the steps come ever closer and never go too far.
"""

import math

import numpy as np

from spikeloom.loom.checked import from_python
from spikeloom.loom.numba_job import jit

NEWTON_STEPS = 60  # near a maximum each halves the distance; elsewhere six are enough


@jit
def crossing(x, c, gap, tau, v_threshold):
    """When ``(x + c s) exp(-s / tau)``, which starts below the threshold, first reaches it, for ``s`` up to
    ``gap``; -1 if it does not."""
    if c <= 0.0:
        return -1.0
    top = min(gap, tau - x / c)
    if top <= 0.0 or (x + c * top) * math.exp(-top / tau) < v_threshold:
        return -1.0
    s = 0.0
    for _ in range(NEWTON_STEPS):
        decay = math.exp(-s / tau)
        v = (x + c * s) * decay
        slope = c * decay - v / tau
        step = (v_threshold - v) / slope
        if not step > 0.0 or s + step == s:
            break
        s = min(s + step, top)
    return s


@jit
def before(arrivals, end):
    """The places of the arrivals that come before ``end``."""
    found, count = np.empty(len(arrivals), np.int64), 0
    for e in range(len(arrivals)):
        if arrivals[e] < end:
            found[count] = e
            count += 1
    return found[:count]


@jit
def follow(found, arrivals, gaps, decays, weight, tau, v_threshold, refractory, time, slope):
    """Fill ``time`` and ``slope`` of one neuron for one sample, whose spikes are at ``arrivals[found]``."""
    x, c, count = 0.0, 0.0, 0
    for k in range(len(found)):
        c += weight[found[k]] * (math.e / tau)
        gap, decay = gaps[k], decays[k]
        if gap == 0.0:
            continue
        end = (x + c * gap) * decay
        # A maximum lies within if the slope changes its sign.
        if end >= v_threshold or (c * tau > x and c * decay * tau < end):
            spent = 0.0
            while True:
                after = crossing(x, c, gap - spent, tau, v_threshold)
                if after < 0.0:
                    break
                c *= math.exp(-after / tau)
                spent += after
                time[count], slope[count] = arrivals[found[k]] + spent, c - v_threshold / tau
                x = v_threshold - refractory
                count += 1
                if count == len(time):
                    return
            decay = math.exp(-(gap - spent) / tau)
            end = (x + c * (gap - spent)) * decay
        x = end
        c *= decay


@from_python
def fire(arrivals, weight, tau, v_threshold, T, refractory, time, slope):
    """Fill ``time`` and ``slope`` ``[N, out, num_spikes]``, which hold -1 and 0, from ``arrivals`` ``[N, E]``
    and ``weight`` ``[out, E]``."""
    gaps, decays = np.empty(arrivals.shape[1]), np.empty(arrivals.shape[1])
    for n in range(arrivals.shape[0]):
        found = before(arrivals[n], T)
        found = found[np.argsort(arrivals[n][found])]
        for k in range(len(found)):
            end = arrivals[n, found[k + 1]] if k + 1 < len(found) else T
            gaps[k] = end - arrivals[n, found[k]]
            decays[k] = math.exp(-gaps[k] / tau)
        for j in range(weight.shape[0]):
            own = weight[j], tau, v_threshold, refractory
            follow(found, arrivals[n], gaps, decays, *own, time[n, j], slope[n, j])


@from_python
def gradients(arrivals, weight, time, slope, grad, tau, refractory, min_slope, grad_arrivals, grad_weight):
    """Add to ``grad_arrivals`` ``[N, E]`` and ``grad_weight`` ``[out, E]``; ``grad`` ``[N, out, num_spikes]``
    is that of the times, and is changed."""
    rise = np.empty(arrivals.shape[1])
    for n in range(arrivals.shape[0]):
        last = time[n].max()
        found = before(arrivals[n], last)
        for e in found:
            rise[e] = math.exp((arrivals[n, e] - last) / tau)
        for j in range(weight.shape[0]):
            for k in range(time.shape[2] - 1, -1, -1):
                t = time[n, j, k]
                if t < 0.0 or grad[n, j, k] == 0.0:
                    continue
                scaled = grad[n, j, k] / max(slope[n, j, k], min_slope)
                common = scaled * math.exp(1.0 + (last - t) / tau)  # times `rise`: the exponential of the lag
                for e in found:
                    lag = (t - arrivals[n, e]) / tau
                    if lag > 0.0:
                        response = common * rise[e]
                        grad_weight[j, e] -= response * lag
                        grad_arrivals[n, e] += response * weight[j, e] * (1.0 - lag) / tau
                for m in range(k):
                    grad[n, j, m] += scaled * refractory / tau * math.exp((time[n, j, m] - t) / tau)
