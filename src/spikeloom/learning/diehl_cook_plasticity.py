"""What changes the weights ``[inputs, neurons]`` of Diehl & Cook's network, compiled by Numba."""

import numpy as np
from numba import njit

_jit = njit(nogil=True, error_model="numpy")


@_jit
def normalise(weight, total):
    """Scale the weights of each neuron so that their sum is ``total``; those that are all 0 stay."""
    inputs, neurons = weight.shape
    sums = np.zeros(neurons)  # float64: the order of a sum in float32 would show
    for i in range(inputs):
        for j in range(neurons):
            sums[j] += weight[i, j]
    scale = np.ones(neurons, np.float32)
    for j in range(neurons):
        if sums[j] > 0:
            scale[j] = np.float32(total / sums[j])
    for i in range(inputs):
        for j in range(neurons):
            weight[i, j] *= scale[j]


@_jit
def list_recent(values, last, now, indices):
    """List the neurons whose trace is not forgotten.

    Args:
        values: of a trace by the time steps since the spike that set it; the last one, 0, is for all later
            steps.
        last: step of each neuron's last spike.
        now: the present step.
        indices: where the neurons go.
    Returns:
        how many there are
    """
    count = 0
    for j in range(len(last)):
        if now - last[j] < len(values) - 1:
            indices[count] = j
            count += 1
    return count


@_jit
def read_traces(values, last, now, indices, traces):
    """The traces of some neurons at the present step."""
    for place in range(len(indices)):
        traces[place] = trace(values, now - last[indices[place]])


@_jit
def trace(values, elapsed):
    """A trace, ``elapsed`` time steps after the spike that set it."""
    return values[min(elapsed, len(values) - 1)]


@_jit
def depress(row, indices, traces, loss):
    """Lower some weights of an input that spikes by ``loss`` times the traces, not below 0."""
    zero = np.float32(0)
    for place in range(len(indices)):
        j = indices[place]
        row[j] = max(row[j] - loss * traces[place], zero)


@_jit
def potentiate(weight, j, indices, traces, gain, w_max):
    """Raise some weights of neuron ``j``, which spikes, by ``gain`` times the traces, not above ``w_max``."""
    for place in range(len(indices)):
        i = indices[place]
        weight[i, j] = min(weight[i, j] + gain * traces[place], w_max)
