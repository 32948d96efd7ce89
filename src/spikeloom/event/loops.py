"""The loop of an event-driven layer. Loaded from the cache of compiled code, see compiled.py.

A linear layer is a convolution of a single pixel. The inputs that are not zero are listed, pixel by pixel.
Then each row of the window adds the weights of a pixel's inputs to outputs that lie side by side. With a
stride of 1 so do those of all places of the row: weights have these places backwards, to be added at once. A
sample of one time step is one piece of work.

Indices are unsigned: each that could be negative is checked for it.
"""

import numpy as np
from numba import njit

from spikeloom.loom.numba_job import done, take, vector, words_of

jit = njit(nogil=True, error_model="numpy")

CHANNELS, HEIGHT, WIDTH, TO_CHANNELS, TO_HEIGHT, TO_WIDTH, GROUPS = range(7)
"""Places of the sizes: of the input, of the output, and groups of channels. Then come, downwards and sideways
each, the window's size, its step, the padding before the input, and the distance of its places."""
WINDOW, STEP, PADDING, APART = 7, 9, 11, 13
ONE, RUN, FOUR, BLOCK = np.uintp(1), np.uintp(3), np.uintp(4), np.uintp(16)


@jit
def find(bits, at, count, found):
    """List which of the inputs from ``bits[at]`` on are not zero; how many they are."""
    listed, whole = np.uintp(0), count - count % BLOCK
    for begin in range(np.uintp(0), whole, BLOCK):
        some = 0
        for i in range(begin, begin + BLOCK):
            some |= bits[at + i]
        if some + some == 0:  # the bit of the sign is lost: -0 is no spike
            continue
        for i in range(begin, begin + BLOCK):
            found[listed] = i
            listed += np.uintp(bits[at + i] + bits[at + i] != 0)
    for i in range(whole, count):
        found[listed] = i
        listed += np.uintp(bits[at + i] + bits[at + i] != 0)
    return listed


@jit
def fill_up(places, values, length):
    """Fill a list up with zeros to fours; how long it is then."""
    while length % FOUR != 0:
        places[length], values[length] = 0, 0
        length += ONE
    return length


@jit
def group(x, at, found, listed, channels, width, rows, columns, begins, counts, places, values):
    """List the inputs that were found, pixel by pixel, filled up with zeros; how many pixels have some."""
    active, length, begin, end = np.uintp(0), np.uintp(0), np.uintp(0), np.uintp(0)
    for k in range(listed):
        if found[k] >= end:
            length = fill_up(places, values, length)
            pixel = found[k] // channels
            rows[active], columns[active] = pixel // width, pixel % width
            begins[active], counts[active] = length, 0
            active, begin, end = active + ONE, pixel * channels, (pixel + ONE) * channels
        places[length], values[length] = found[k] - begin, x[at + found[k]]
        length += ONE
        counts[active - ONE] += ONE
    begins[active] = fill_up(places, values, length)
    return active


@jit
def add_together(out, to, weight, source, apart, width, places, values, first, last):
    """Add to outputs from ``out[to]`` on the weights of inputs, four at a time, in their order."""
    for k in range(first, last, FOUR):
        a, b, c, d = values[k], values[k + 1], values[k + 2], values[k + 3]
        p, q = source + places[k] * apart, source + places[k + 1] * apart
        r, s = source + places[k + 2] * apart, source + places[k + 3] * apart
        for j in range(width):
            sum = out[to + j] + a * weight[p + j]
            sum = sum + b * weight[q + j]
            sum = sum + c * weight[r + j]
            out[to + j] = sum + d * weight[s + j]


@jit
def add_in_groups(out, to, weight, source, apart, width, per_group, places, values, first, last):
    """As :func:`add_together`, where each ``per_group`` inputs have ``width`` outputs of their own."""
    for k in range(first, last):
        group = places[k] // per_group
        p, own = source + places[k] % per_group * apart + group * width, to + group * width
        for j in range(width):
            out[own + j] += values[k] * weight[p + j]


@jit
def find_targets(found, size, to_size, sizes, side):
    """Note for each place of the window, and each input, the output for which the one lies on the other;
    ``to_size`` where there is none. ``side`` is 0 downwards and 1 sideways."""
    step, padding, apart = sizes[STEP + side], sizes[PADDING + side], sizes[APART + side]
    for place in range(sizes[WINDOW + side]):
        for at in range(size):
            distance = at + padding - place * apart
            fits = distance >= 0 and distance % step == 0 and distance // step < to_size
            found[place * size + at] = distance // step if fits else to_size


@jit
def find_runs(found, beside, size, to_size, window, whole):
    """Note for each input the runs of outputs that lie side by side, as do their places of the window
    backwards: the first output, its place, and how many; 0 where there are no more. Without ``whole`` each
    run is of one."""
    for at in range(size):
        run = at * (window + ONE) * RUN
        found[run + 2] = 0
        for place in range(window):  # backwards, from the first output to the last
            target = beside[(window - ONE - place) * size + at]
            if target == to_size:
                continue
            many = found[run + 2]
            if whole and many != 0 and found[run] + many == target and found[run + 1] + many == place:
                found[run + 2] += ONE
                continue
            if many != 0:
                run += RUN
            found[run], found[run + 1], found[run + 2] = target, place, 1
            found[run + 5] = 0


@jit
def add_sample(out, n, weight, sizes, below, runs, rows, columns, begins, counts, places, values, active):
    """Add to sample ``n`` of the outputs the weights of its inputs; how many they were."""
    height, to_height, to_width, groups = sizes[HEIGHT], sizes[TO_HEIGHT], sizes[TO_WIDTH], sizes[GROUPS]
    to_channels, wide, per_group = sizes[TO_CHANNELS], sizes[WINDOW + 1], sizes[CHANNELS] // groups
    apart, across, added = wide * to_channels, to_channels // groups, np.uintp(0)
    for up in range(sizes[WINDOW]):  # the weights of a row may fit into the cache where all do not
        for i in range(active):
            row = below[up * height + rows[i]]
            if row == to_height:
                continue
            first, last, run = begins[i], begins[i + ONE], columns[i] * (wide + ONE) * RUN
            while runs[run + 2] != 0:
                to = ((n * to_height + row) * to_width + runs[run]) * to_channels
                source, many = up * per_group * apart + runs[run + 1] * to_channels, runs[run + 2]
                if groups == ONE:
                    add_together(
                        out, to, weight, source, apart, many * to_channels, places, values, first, last
                    )
                else:
                    add_in_groups(
                        out, to, weight, source, apart, across, per_group, places, values, first, last
                    )
                added += many * counts[i]
                run += RUN
    return added * across


def synapses_job(real):
    """Outputs, and how many weights were added to them.

    Arguments: sizes; input ``[N, H, W, C]``; weights ``[downwards, C / groups, backwards, C']``; output
    ``[N, H', W', C']``, which holds the bias; number of operations ``[N]``.
    """
    integer = np.int32 if real == np.float32 else np.int64

    def run(job):
        words = words_of(job)
        sizes, signed = vector(words, 0, np.uintp), vector(words, 0, np.int64)
        x, bits = vector(words, 1, real), vector(words, 1, integer)
        weight, out, operations = vector(words, 2, real), vector(words, 3, real), vector(words, 4, np.int64)
        height, width, channels = sizes[HEIGHT], sizes[WIDTH], sizes[CHANNELS]
        tall, wide, num_pixels = sizes[WINDOW], sizes[WINDOW + 1], height * width
        below, beside = np.empty(tall * height, np.uintp), np.empty(wide * width, np.uintp)
        find_targets(below, signed[HEIGHT], signed[TO_HEIGHT], signed, 0)
        find_targets(beside, signed[WIDTH], signed[TO_WIDTH], signed, 1)
        runs = np.empty(width * (wide + ONE) * RUN, np.uintp)
        find_runs(runs, beside, width, sizes[TO_WIDTH], wide, sizes[GROUPS] == ONE)
        rows, columns = np.empty(num_pixels, np.uintp), np.empty(num_pixels, np.uintp)
        begins, counts = np.empty(num_pixels + ONE, np.uintp), np.empty(num_pixels, np.uintp)
        inputs = num_pixels * channels
        found, most = np.empty(inputs + ONE, np.uint32), inputs + FOUR * num_pixels
        places, values = np.empty(most, np.uint32), np.empty(most, real)
        low, high = take(words)
        while low < high:
            for n in range(np.uintp(low), np.uintp(high)):
                at = n * inputs
                listed = find(bits, at, inputs, found)
                active = group(
                    x, at, found, listed, channels, width, rows, columns, begins, counts, places, values
                )
                operations[n] = add_sample(
                    out, n, weight, sizes, below, runs, rows, columns, begins, counts, places, values, active
                )
            done(words)
            low, high = take(words)

    return run
