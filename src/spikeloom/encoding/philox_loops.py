"""NumPy's generator Philox, compiled for the CPU. Loaded from the cache of compiled code (philox_numba.py).

Many blocks of a stream go through each round together, and products are made of halves: vector instructions
can do both. One sample is one piece of work.
"""

import numpy as np

from spikeloom.loom.numba_job import done, jit, take, vector, words_of

BLOCKS = 256  # that are computed together: with the numbers made of them 16 KiB
WORD, SPARE, SAMPLES, STEPS, COUNT = range(5)
"""Places of the settings: the next word, and the one whose high half waits (-1: none); samples; numbers of a
sample are steps times count."""

HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
A, B = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
LOW_STEP, HIGH_STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)


@jit
def product(a, b):
    """The upper and lower 64 bits of a product of words."""
    low_a, high_a, low_b, high_b = a & LOW, a >> HALF, b & LOW, b >> HALF
    low, one, other = low_a * low_b, low_a * high_b, high_a * low_b
    middle = (low >> HALF) + (one & LOW) + (other & LOW)
    upper = high_a * high_b + (one >> HALF) + (other >> HALF) + (middle >> HALF)
    return upper, (middle << HALF) | (low & LOW)


@jit
def compute(blocks, first, count, low_key, high_key):
    """Write ``count`` blocks of a stream, from block ``first``, into the columns of ``blocks``."""
    one, two, three, four = blocks[0], blocks[1], blocks[2], blocks[3]
    for i in range(count):
        one[i] = first + i + 1
        two[i] = three[i] = four[i] = 0
    for _ in range(10):
        for i in range(count):
            upper_a, lower_a = product(A, one[i])
            upper_b, lower_b = product(B, three[i])
            one[i], two[i] = upper_b ^ two[i] ^ low_key, lower_b
            three[i], four[i] = upper_a ^ four[i] ^ high_key, lower_a
        low_key += LOW_STEP
        high_key += HIGH_STEP


@jit
def singles(numbers, blocks, count):
    """Write the float32 numbers that blocks stand for: two of a word, that of the low half first."""
    for i in range(count):
        for lane in range(4):
            low, high = np.uint32(blocks[lane, i]), np.uint32(blocks[lane, i] >> HALF)
            numbers[8 * i + 2 * lane] = np.float32(np.int32(low >> np.uint32(8))) * np.float32(2**-24)
            numbers[8 * i + 2 * lane + 1] = np.float32(np.int32(high >> np.uint32(8))) * np.float32(2**-24)


@jit
def doubles(numbers, blocks, count):
    """Write the float64 numbers that blocks stand for, one of a word."""
    for i in range(count):
        for lane in range(4):
            numbers[4 * i + lane] = np.float64(np.int64(blocks[lane, i] >> np.uint64(11))) * 2**-53


@jit
def convert(numbers, blocks, count, halves):
    """Write the numbers that blocks stand for, ``halves`` of a word."""
    if halves == 2:
        singles(numbers, blocks, count)
    else:
        doubles(numbers, blocks, count)


def uniform_job(real):
    """Numbers of each sample, ``[steps, samples, count]``.

    Arguments: settings, keys (two words for each sample), numbers.
    """
    halves = 2 if real == np.float32 else 1

    def run(job):
        words = words_of(job)
        settings, keys = vector(words, 0, np.int64), vector(words, 1, np.uint64)
        numbers = vector(words, 2, real)
        samples, count, spare = settings[SAMPLES], settings[COUNT], settings[SPARE]
        total = settings[STEPS] * count
        blocks, made = np.empty((4, BLOCKS), np.uint64), np.empty(4 * BLOCKS * halves, real)
        low, high = take(words)
        while low < high:
            for sample in range(low, high):
                low_key, high_key = keys[2 * sample], keys[2 * sample + 1]
                at, word = np.int64(0), settings[WORD]
                if halves == 2 and spare >= 0:
                    compute(blocks, spare // 4, 1, low_key, high_key)
                    convert(made, blocks, 1, halves)
                    numbers[sample * count] = made[spare % 4 * 2 + 1]
                    at = np.int64(1)
                while at < total:
                    passed = word % 4 * halves
                    needed = (passed + total - at + 4 * halves - 1) // (4 * halves)
                    blocks_now = min(needed, BLOCKS)
                    compute(blocks, word // 4, blocks_now, low_key, high_key)
                    convert(made, blocks, blocks_now, halves)
                    word += blocks_now * 4 - word % 4
                    until = min(total, at + blocks_now * 4 * halves - passed)
                    while at < until:  # a part of a step
                        step, feature = at // count, at % count
                        to = (step * samples + sample) * count + feature
                        size = min(until - at, count - feature)
                        for i in range(size):
                            numbers[to + i] = made[passed + i]
                        passed += size
                        at += size
            done(words)
            low, high = take(words)

    return run
