"""What changes the weights ``[inputs, neurons]`` of Diehl & Cook's network, compiled by Numba."""

import numpy as np

from spikeloom.loom.numba_job import jit

MANY = 8  # all neurons' weights together are read in the time of this part of them one by one


@jit
def normalise(weight, total, space):
    """Scale the weights of each neuron so that their sum is ``total``; those that are all 0 stay.

    Left out, where they are many, are neurons that the last call scaled by 1 and whose weights have not
    changed since.
    """
    inputs, neurons = weight.shape
    sums, scale = space.sums, space.scale  # sums in float64: the order of a sum in float32 would show
    count = 0
    for j in range(neurons):
        sums[j] = 0
        if not space.is_settled[j]:
            space.unsettled[count] = j
            count += 1
    unsettled = space.unsettled[:count]
    few = count < neurons // MANY
    for i in range(inputs):
        if few:
            for j in unsettled:
                sums[j] += weight[i, j]
        else:
            for j in range(neurons):
                sums[j] += weight[i, j]
    for j in range(neurons):
        scale[j] = np.float32(total / sums[j]) if sums[j] > 0 else np.float32(1)
        space.is_settled[j] = scale[j] == 1
    for i in range(inputs):
        if few:
            for j in unsettled:
                weight[i, j] *= scale[j]
        else:
            for j in range(neurons):
                weight[i, j] *= scale[j]


@jit
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


@jit
def read_traces(values, last, now, indices, traces):
    """The traces of some neurons at the present step."""
    for place in range(len(indices)):
        traces[place] = trace(values, now - last[indices[place]])


@jit
def trace(values, elapsed):
    """A trace, ``elapsed`` time steps after the spike that set it."""
    return values[min(elapsed, len(values) - 1)]


@jit
def depress(row, indices, traces, loss):
    """Lower some weights of an input that spikes by ``loss`` times the traces, not below 0."""
    zero = np.float32(0)
    for place in range(len(indices)):
        j = indices[place]
        row[j] = max(row[j] - loss * traces[place], zero)


@jit
def potentiate(weight, j, indices, traces, gain, w_max):
    """Raise some weights of neuron ``j``, which spikes, by ``gain`` times the traces, not above ``w_max``."""
    for place in range(len(indices)):
        i = indices[place]
        weight[i, j] = min(weight[i, j] + gain * traces[place], w_max)
