"""The loop of a whole network. Loaded from the cache of compiled code, see runner.py.

A sample is one piece of work: all its time steps, and in each the stages of the network, one after the other.
What a stage gives stays in the memory of the thread.
"""

import numpy as np

from spikeloom.event import sparse
from spikeloom.event.sparse import add_sample, find, group
from spikeloom.event.stages import (
    ACROSS,
    ADD,
    CONSTANT,
    INPUTS,
    LAYERS,
    MEMORIES,
    MOST_INPUTS,
    MOST_PIXELS,
    MOST_WORDS,
    NEURON,
    OUTPUT,
    OUTPUTS,
    POOL,
    REORDER,
    SAMPLES,
    SCALE,
    STAGES,
    STEPS,
    SUBTRACT,
    SYNAPSES,
    VALUES,
    WORDS,
)
from spikeloom.loom.numba_job import begin, call, done, end, jit, numbers, take, vector, words_of

LARGE = 1 << 40  # the size of an array whose size does not matter


@jit
def pool(target, source, sizes, rows, columns):
    """Averages, or the largest, of windows of an image."""
    channels, width, to_width, largest = np.uintp(sizes[0]), sizes[1], sizes[3], sizes[4] != 0
    for pixel in range(sizes[2] * to_width):
        top, left, to = pixel // to_width, pixel % to_width, np.uintp(pixel) * channels
        bottom, right = rows[2 * top + 1], columns[2 * left + 1]
        top, left = rows[2 * top], columns[2 * left]
        count = sizes[5] if sizes[5] != 0 else (bottom - top) * (right - left)
        share = 1 / target.dtype.type(count)
        for c in range(channels):
            target[to + c] = -np.inf if largest else 0
        for row in range(top, bottom):
            for column in range(left, right):
                at = np.uintp(row * width + column) * channels
                if largest:
                    for c in range(channels):
                        value = source[at + c]
                        target[to + c] = value if value > target[to + c] or value != value else target[to + c]
                else:
                    for c in range(channels):
                        target[to + c] += source[at + c] * share


@jit
def reorder(target, source, channels, pixels):
    """Channels first."""
    for channel in range(np.uintp(channels)):
        for pixel in range(np.uintp(pixels)):
            target[channel * np.uintp(pixels) + pixel] = source[pixel * np.uintp(channels) + channel]


@jit
def calculate(stage, at, real):
    """A stage without weights and memories."""
    kind, size = stage[0], stage[4]
    target, source = numbers(at[stage[3]], size, real), numbers(at[stage[1]], LARGE, real)
    if kind == POOL:
        sizes, rows = numbers(stage[5], 6, np.int64), numbers(stage[6], LARGE, np.int64)
        columns = numbers(stage[7], LARGE, np.int64)
        pool(target, source, sizes, rows, columns)
    elif kind == REORDER:
        reorder(target, source, stage[5], stage[6])
    elif kind == SCALE:
        factors, added = numbers(stage[5], size, real), numbers(stage[6], size, real)
        for i in range(size):
            target[i] = source[i] * factors[i] + added[i]
    else:
        other = numbers(at[stage[2]], size, real)
        if kind == ADD:
            for i in range(size):
                target[i] = source[i] + other[i]
        elif kind == SUBTRACT:
            for i in range(size):
                target[i] = source[i] - other[i]
        else:
            for i in range(size):
                target[i] = source[i] * other[i]


@jit
def take_step(stage, at, given, memories, item):
    """Run a neuron's row function, on memories of the sample that begin at an address."""
    words = numbers(stage[5], stage[6], np.int64)
    for k in range(stage[6]):
        given[k] = words[k]
    given[2], given[stage[6] - 1] = at[stage[1]], at[stage[3]]
    for k in range(stage[7]):
        given[3 + k] = memories + (stage[8] + k * stage[4]) * item
    call(stage[9], np.int64(given.ctypes.data))


@jit
def add_weights(stage, at, counted, found, lists, real, integer, magnitude):
    """A layer with weights; counts the inputs that are not zero, and the weights that are added."""
    sizes, below = numbers(stage[5], 9, np.uintp), numbers(stage[6], LARGE, np.uintp)
    runs = numbers(stage[7], LARGE, np.uintp)
    weight, bias = numbers(stage[8], LARGE, real), numbers(stage[9], LARGE, real)
    x, bits = numbers(at[stage[1]], LARGE, real), numbers(at[stage[1]], LARGE, integer)
    out, channels, width = numbers(at[stage[3]], LARGE, real), sizes[sparse.CHANNELS], sizes[sparse.WIDTH]
    to, to_channels = np.uintp(0), sizes[sparse.TO_CHANNELS]
    for _ in range(sizes[sparse.TO_HEIGHT] * sizes[sparse.TO_WIDTH]):
        for i in range(to_channels):
            out[to + i] = bias[i]
        to += to_channels
    listed = find(bits, magnitude, sizes[sparse.HEIGHT] * width * channels, found)
    active = group(x, found, listed, channels, width, *lists)
    added = add_sample(out, weight, sizes, below, runs, active, *lists)
    counted[2 * stage[10]] += np.int64(listed)
    counted[2 * stage[10] + 1] += np.int64(added)


def network_job(real):
    """Outputs and memories.

    Arguments: settings, stages, places of values; input ``[T, N, *]``, memories ``[N, *]``, which change, and
    output ``[T, N, *]``, channels last; of each sample and layer the inputs that were not zero, and the
    weights that were added ``[N, layers, 2]``.
    """
    item, integer = np.dtype(real).itemsize, np.int32 if real == np.float32 else np.int64
    magnitude = np.iinfo(integer).max  # the bits without that of the sign

    def run(job):
        words = words_of(job)
        settings, stages = vector(words, 0, np.int64), vector(words, 1, np.int64)
        where = vector(words, 2, np.int64)
        x, state, out = vector(words, 3, real), vector(words, 4, real), vector(words, 5, real)
        all_counted = vector(words, 6, np.int64)
        memory, at = np.empty(settings[VALUES] + 1, real), np.empty(where.shape[0], np.int64)
        given, pixels = np.empty(settings[MOST_WORDS], np.int64), settings[MOST_PIXELS]
        rows, columns = np.empty(pixels, np.uintp), np.empty(pixels, np.uintp)
        begins, counts = np.empty(pixels + 1, np.uintp), np.empty(pixels, np.uintp)
        most = settings[MOST_INPUTS] + 4 * pixels
        found, places, values = np.empty(most, np.uint32), np.empty(most, np.uint32), np.empty(most, real)
        lists = rows, columns, begins, counts, places, values
        before = begin()  # after the only lines that can fail, or the thread would go on flushing
        low, high = take(words)
        while low < high:
            for n in range(low, high):
                memories = np.int64(state.ctypes.data) + n * settings[MEMORIES] * item
                counted = numbers(
                    np.int64(all_counted.ctypes.data) + n * settings[LAYERS] * 16, LARGE, np.int64
                )
                for v in range(where.shape[0]):
                    place, own = where[v], np.int64(memory.ctypes.data)
                    at[v] = own + place * item if place >= 0 else memories + (-1 - place) * item
                for t in range(settings[STEPS]):
                    at[0] = np.int64(x.ctypes.data) + (t * settings[ACROSS] + n * settings[INPUTS]) * item
                    for s in range(settings[CONSTANT] if t > 0 else 0, settings[STAGES]):
                        stage = numbers(np.int64(stages.ctypes.data) + s * WORDS * 8, WORDS, np.int64)
                        if stage[0] == SYNAPSES:
                            add_weights(stage, at, counted, found, lists, real, integer, magnitude)
                        elif stage[0] == NEURON:
                            take_step(stage, at, given, memories, item)
                        else:
                            calculate(stage, at, real)
                    size = settings[OUTPUTS]
                    result, to = numbers(at[settings[OUTPUT]], size, real), (t * settings[SAMPLES] + n) * size
                    for i in range(size):
                        out[to + i] = result[i]
            memory[0], given[0] = 0, 0  # they live until here, which Numba does not see from the addresses
            done(words)
            low, high = take(words)
        end(before)

    return run
