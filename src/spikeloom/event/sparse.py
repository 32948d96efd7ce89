"""Adding the weights of inputs that are not zero, as compiled functions that loops call.

A linear layer is a convolution of a single pixel. The inputs that are not zero are listed, pixel by pixel.
Then each row of the window adds the weights of a pixel's inputs to outputs that lie side by side. With a
stride of 1 so do those of all places of the row: weights have these places backwards, to be added at once.

Indices are unsigned: each that could be negative is checked for it.
"""

import numpy as np

from spikeloom.loom.numba_job import jit

CHANNELS, HEIGHT, WIDTH, TO_CHANNELS, TO_HEIGHT, TO_WIDTH, GROUPS, TALL, WIDE = range(9)
"""Places of the sizes: of the input, of the output, groups of channels, of the window."""
ONE, RUN, FOUR, BLOCK = np.uintp(1), np.uintp(3), np.uintp(4), np.uintp(16)


@jit
def find(bits, magnitude, count, found):
    """List which of some inputs, given as their bits, are not zero; how many they are.

    ``magnitude`` are the bits of a number that are not its sign: -0 is no event.
    """
    listed, whole = np.uintp(0), count - count % BLOCK
    for begin in range(np.uintp(0), whole, BLOCK):
        some = 0
        for i in range(begin, begin + BLOCK):
            some |= bits[i]
        if some & magnitude == 0:
            continue
        for i in range(begin, begin + BLOCK):
            found[listed] = i
            listed += np.uintp(bits[i] & magnitude != 0)
    for i in range(whole, count):
        found[listed] = i
        listed += np.uintp(bits[i] & magnitude != 0)
    return listed


@jit
def fill_up(places, values, length):
    """Fill a list up with zeros to fours; how long it is then."""
    while length % FOUR != 0:
        places[length], values[length] = 0, 0
        length += ONE
    return length


@jit
def group(x, found, listed, channels, width, rows, columns, begins, counts, places, values):
    """List the inputs that were found, pixel by pixel, filled up with zeros; how many pixels have some."""
    active, length, begin, end = np.uintp(0), np.uintp(0), np.uintp(0), np.uintp(0)
    for k in range(listed):
        if found[k] >= end:
            length = fill_up(places, values, length)
            pixel = found[k] // channels
            rows[active], columns[active] = pixel // width, pixel % width
            begins[active], counts[active] = length, 0
            active, begin, end = active + ONE, pixel * channels, (pixel + ONE) * channels
        places[length], values[length] = found[k] - begin, x[found[k]]
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
def add_sample(out, weight, sizes, below, runs, active, rows, columns, begins, counts, places, values):
    """Add to the outputs of a sample the weights of its inputs; how many they were.

    ``below`` and ``runs`` are the tables of :mod:`spikeloom.event.window`.
    """
    height, to_height, to_width, groups = sizes[HEIGHT], sizes[TO_HEIGHT], sizes[TO_WIDTH], sizes[GROUPS]
    to_channels, wide, per_group = sizes[TO_CHANNELS], sizes[WIDE], sizes[CHANNELS] // groups
    apart, across, added = wide * to_channels, to_channels // groups, np.uintp(0)
    for up in range(sizes[TALL]):  # the weights of a row may fit into the cache where all do not
        for i in range(active):
            row = below[up * height + rows[i]]
            if row == to_height:
                continue
            first, last, run = begins[i], begins[i + ONE], columns[i] * (wide + ONE) * RUN
            while runs[run + 2] != 0:
                to = (row * to_width + runs[run]) * to_channels
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
