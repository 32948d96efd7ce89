"""What runs the row functions of any neuron over time; loaded as a module of the cache, compiled once.

A block of neurons keeps its memories in the cache for the whole sequence. The forward loop reads the input
and writes the output, once. The backward loop first runs forwards again, keeping the memories of a chunk of
time steps, then runs through the chunk backwards: nothing of the size of the sequence is saved but the input.
Any number of threads can run a loop at once: each takes ranges of neurons from a job
(:mod:`spikeloom.loom.numba_job`).

The first arguments of a job are a function's address (0 if there is none) and a number each. All buffers are
rows of one array, as long as a block, and known by their addresses: slices take Numba long to compile.

With ``half`` the input and the outputs, and their gradients, are bfloat16, in rows of half the length. The
row functions read inputs and write their gradients so. Outputs may have to be pooled: they are rounded, and
their gradients widened, apart from that, within the cache.
"""

import numpy as np

from spikeloom.loom import numba_job as job_of
from spikeloom.loom.numba_job import (
    begin,
    call,
    done,
    end,
    jit,
    numbers,
    pool,
    spread,
    take,
    vector,
    words_of,
)
from spikeloom.loom.numba_math import narrow, widen

ARGUMENTS, BLOCK, CHUNK, OUTPUTS = job_of.ARGUMENTS, job_of.BLOCK, job_of.CHUNK, job_of.OUTPUTS
STEPS, TOTAL, WINDOW = job_of.STEPS, job_of.TOTAL, job_of.WINDOW
HALF_ITEM, FULL_ITEM = 2, 4  # bytes of bfloat16, and of float32


@jit
def argument(words, place):
    """Address and length of an argument; or a function and a number."""
    return words[ARGUMENTS + 2 * place], words[ARGUMENTS + 2 * place + 1]


@jit
def point(given, place, address, apart, count):
    """Write ``count`` addresses, that many bytes apart, into the words of a row function, from ``place``."""
    for number in range(count):
        given[place + number] = address + number * apart


@jit
def move(target, source, size, real):
    """Copy a row."""
    row, other = numbers(target, size, real), numbers(source, size, real)
    for i in range(size):
        row[i] = other[i]


@jit
def read(target, size, words, place, at, real):
    """Fill a row with an argument, which has one number for all neurons or one for each."""
    row, source = numbers(target, size, real), vector(words, place, real)
    if source.shape[0] == 1:
        for i in range(size):
            row[i] = source[0]
    else:
        move(target, argument(words, place)[0] + at * row.itemsize, size, real)


@jit
def gather(target, source, size, real):
    """Add a row to another."""
    row, other = numbers(target, size, real), numbers(source, size, real)
    for i in range(size):
        row[i] += other[i]


@jit
def clear(target, size, real):
    """Fill a row with zeros."""
    row = numbers(target, size, real)
    for i in range(size):
        row[i] = 0


@jit
def pooled(function, pooling, outputs, across, block, size, at):
    """Pool spikes to outputs, or spread gradients from outputs, by a function whose words are ``pooling``."""
    pooling[0], pooling[1], pooling[2], pooling[3], pooling[4] = outputs, across, block, size, at
    call(function, np.int64(pooling.ctypes.data))


@jit
def pooled_place(words, size, at):
    """The first output of a block of ``size`` neurons that begins at neuron ``at``, and how many it has."""
    area = max(words[WINDOW], 1) * max(words[WINDOW], 1)
    return at // area, size // area


@jit
def put(pool_row, pooling, words, outputs, spikes, means, size, at, half):
    """Write the spikes of a block to the outputs of a step where its row function did not: pooled if there is
    a function for that, in the room ``means`` if they have to be rounded."""
    if not half:
        if pool_row != 0:
            pooled(pool_row, pooling, outputs, words[OUTPUTS], spikes, size, at)
        return
    first, count = pooled_place(words, size, at)
    if pool_row != 0:
        pooled(pool_row, pooling, means - first * FULL_ITEM, words[OUTPUTS], spikes, size, at)
        spikes = means
    narrow(numbers(outputs + first * HALF_ITEM, count, np.uint16), numbers(spikes, count, np.float32))


@jit
def fetch(spread_row, pooling, words, outputs, spikes, means, size, at, half, item):
    """The address of the gradients of a block's spikes, from those of a step's outputs; see :func:`put`."""
    if half:
        first, count = pooled_place(words, size, at)
        widen(numbers(means, count, np.float32), numbers(outputs + first * HALF_ITEM, count, np.uint16))
        outputs = means - first * FULL_ITEM
    if spread_row == 0:
        return outputs + at * item
    pooled(spread_row, pooling, outputs, words[OUTPUTS], spikes, size, at)
    return spikes


@jit
def run_forwards(memory_row, given, following, memories, x, across, kept, stride, apart, count):
    """Run ``memory_row`` for some steps, each from memories in rows of ``kept`` to those in the next rows.

    Args:
        memory_row: its address; 0 where there are no memories.
        given: its words; ``following`` is the place of the memories that it writes.
        memories: how many there are, ``apart`` bytes from each other, and ``stride`` bytes from step to step.
        x: address of the input, of which a step is ``across`` bytes.
        kept: address of the memories before the first step.
        count: of the steps.
    """
    for step in range(count if memories > 0 else 0):
        given[2] = x + step * across
        point(given, 3, kept + step * stride, apart, memories)
        point(given, following, kept + (step + 1) * stride, apart, memories)
        call(memory_row, np.int64(given.ctypes.data))


@jit
def matrix(address, rows, width, real):
    """Rows of numbers, one behind the other."""
    return numbers(address, rows * width, real).reshape((rows, width))


@jit
def feed(target, outputs, weights, width, samples, real):
    """Add to the inputs of a block what the outputs of the step before bring; each sample has ``width``
    neurons, and a row of the weights is what one of them does to all."""
    driven, spikes = matrix(target, samples, width, real), matrix(outputs, samples, width, real)
    effects = matrix(weights, width, width, real)
    for sample in range(samples):
        row = driven[sample]
        for i in range(width):
            spike, effect = spikes[sample, i], effects[i]
            if spike != 0:
                for j in range(width):
                    row[j] += spike * effect[j]


@jit
def hear(target, gradients, weights, width, samples, real):
    """Add to the gradients of a block's outputs what the inputs of the step after bring back; a row of the
    weights is what one neuron gets from all.

    Four rows at once, for all samples while they are in the cache.
    """
    heard, given = matrix(target, samples, width, real), matrix(gradients, samples, width, real)
    effects, fours = matrix(weights, width, width, real), width - width % 4
    for i in range(0, fours, 4):
        four = effects[i : i + 4]
        for sample in range(samples):
            row, back = heard[sample], given[sample]
            a, b, c, d = back[i], back[i + 1], back[i + 2], back[i + 3]
            for j in range(width):
                row[j] += (a * four[0, j] + b * four[1, j]) + (c * four[2, j] + d * four[3, j])
    for i in range(fours, width):
        for sample in range(samples):
            for j in range(width):
                heard[sample, j] += given[sample, i] * effects[i, j]


def pool_job(real):
    """Means of windows of a row."""

    def run(address):
        words = words_of(address)
        outputs, block = numbers(words[0], words[1], real), numbers(words[2], words[3], real)
        pool(outputs, words[4], block, numbers(words[5], 1 << 16, np.int64))

    return run


def spread_job(real):
    """The gradients of windows, spread over a row."""

    def run(address):
        words = words_of(address)
        outputs, block = numbers(words[0], words[1], real), numbers(words[2], words[3], real)
        spread(block, outputs, words[4], numbers(words[5], 1 << 16, np.int64))

    return run


def forward_job(real, half=False):
    """Outputs and memories.

    Arguments: the functions forward_row, prepare_forward and (where outputs are pooled) pool, with the
    numbers of memories, operands, and arrays that are prepared; literals, input; of each memory the start,
    the operands; output; of each memory the end, then all steps or nothing; room for inputs with what outputs
    add to them, and the weights of that with the number of neurons that they join, or nothing.
    """
    item = np.dtype(real).itemsize
    stored = HALF_ITEM if half else item

    def run(job):
        words = words_of(job)
        forward_row, memories = argument(words, 0)
        prepare, operands = argument(words, 1)
        pool_row, hoisted = argument(words, 2)
        held, first = memories + operands, 5
        (out, _), final = argument(words, first + held), first + held + 1
        sequence = final + memories
        driven, _ = argument(words, sequence + memories)
        weights, width = argument(words, sequence + memories + 1)
        steps, block, across = words[STEPS], words[BLOCK], words[OUTPUTS] * stored
        x_across, kept_across = words[TOTAL] * stored, words[TOTAL] * item
        # Rows for spikes that are pooled or rounded, and their means; then come memories, operands, and what
        # is prepared.
        rows = np.empty((2 + held + hoisted) * block, real)
        spikes, stride = np.int64(rows.ctypes.data), block * item
        means, own = spikes + stride, spikes + 2 * stride
        given, early = np.empty(4 + held + hoisted, np.int64), np.empty(2 + operands + hoisted, np.int64)
        pooling, last = np.empty(6, np.int64), 3 + held + hoisted
        given[1], early[1], pooling[5] = argument(words, 3)[0], argument(words, 3)[0], words.ctypes.data
        point(given, 3, own, stride, held + hoisted)
        point(early, 2, own + memories * stride, stride, operands + hoisted)
        before = begin()  # after the only lines that can fail, or the thread would go on flushing
        low, high = take(words)
        while low < high:
            for at in range(low, high, block):
                size, x = min(block, high - at), argument(words, 4)[0] + at * stored
                given[0] = early[0] = size
                for k in range(held):
                    read(own + k * stride, size, words, first + k, at, real)
                if prepare != 0:
                    call(prepare, np.int64(early.ctypes.data))
                for t in range(steps):
                    given[2] = x + t * x_across
                    if weights != 0:
                        given[2] = driven + t * x_across + at * item
                        move(given[2], x + t * x_across, size, real)
                        if t > 0:
                            earlier = out + (t - 1) * across + at * item
                            feed(given[2], earlier, weights, width, size // width, real)
                    given[last] = spikes if half or pool_row != 0 else out + t * across + at * item
                    call(forward_row, np.int64(given.ctypes.data))
                    put(pool_row, pooling, words, out + t * across, spikes, means, size, at, half)
                    for k in range(memories):
                        kept, there = argument(words, sequence + k)
                        if there > 0:
                            move(kept + t * kept_across + at * item, own + k * stride, size, real)
                for k in range(memories):
                    move(argument(words, final + k)[0] + at * item, own + k * stride, size, real)
            rows[0] = 0  # it lives until here, which Numba does not see from the addresses
            done(words)
            low, high = take(words)
        end(before)

    return run


def backward_job(real, half=False):
    """Gradients.

    Arguments: the functions memory_row, prepare_forward, prepare_backward, backward_row and (where outputs
    were pooled) spread, with the numbers of memories, operands, arrays that the two prepare, and learned
    operands; literals forwards and backwards, input; of each memory the start, the operands; the gradients of
    the output, of each memory's end and of all its steps, each perhaps nothing. Then what is written: the
    gradients of the input, of each memory's start and of the learned operands. Last the weights by which
    outputs were added to inputs, with the number of neurons that they join, or nothing.
    """
    item = np.dtype(real).itemsize
    stored = HALF_ITEM if half else item

    def run(job):
        words = words_of(job)
        memory_row, memories = argument(words, 0)
        prepare_forward, operands = argument(words, 1)
        prepare_backward, hoisted = argument(words, 2)
        backward_row, hoisted_back = argument(words, 3)
        spread_row, learned = argument(words, 4)
        start, operand = 8, 8 + memories
        (go, arrived), final = argument(words, operand + operands), operand + operands + 1
        sequence = final + memories
        (gx, _), to_start = argument(words, sequence + memories), sequence + memories + 1
        to_operand = to_start + memories
        weights, width = argument(words, to_operand + learned)
        steps, block, across = words[STEPS], words[BLOCK], words[OUTPUTS] * stored
        x_across, kept_across = words[TOTAL] * stored, words[TOTAL] * item
        chunk = max(words[CHUNK], 1)
        chunks = (steps + chunk - 1) // chunk
        # Rows: of each memory the start of each chunk; of each memory the steps of a chunk; then single ones.
        many = memories * (chunks + chunk + 1)
        rows = np.empty((many + 3 + operands + hoisted + hoisted_back + memories + learned) * block, real)
        noted, stride = np.int64(rows.ctypes.data), block * item
        kept, apart = noted + memories * chunks * stride, (chunk + 1) * stride
        silence = noted + many * stride
        room = silence + stride, silence + 2 * stride  # for spikes, and their means
        rows_of = x_across, kept, stride, apart
        constant = silence + 3 * stride  # operands, and what is prepared of them
        prepared = constant + (operands + hoisted) * stride
        gradient = prepared + hoisted_back * stride
        added = gradient + memories * stride
        # The words of memory_row, backward_row, and of the functions that prepare a block.
        again = np.empty(3 + 2 * memories + operands + hoisted, np.int64)
        back = np.empty(5 + 2 * memories + operands + hoisted_back + learned, np.int64)
        early = np.empty(2 + operands + hoisted, np.int64)
        early_back, pooling = np.empty(2 + operands + hoisted_back, np.int64), np.empty(6, np.int64)
        following, arriving = 3 + memories + operands + hoisted, 3 + memories + operands
        to_x = arriving + 1 + memories + hoisted_back
        again[1] = early[1] = argument(words, 5)[0]
        back[1] = early_back[1] = argument(words, 6)[0]
        pooling[5] = words.ctypes.data
        point(again, 3 + memories, constant, stride, operands + hoisted)
        point(back, 3 + memories, constant, stride, operands)
        point(back, arriving + 1, gradient, stride, memories)
        point(back, arriving + 1 + memories, prepared, stride, hoisted_back)
        point(back, to_x + 1, added, stride, learned)
        point(early, 2, constant, stride, operands + hoisted)
        point(early_back, 2, constant, stride, operands)
        point(early_back, 2 + operands, prepared, stride, hoisted_back)
        before = begin()  # after the only lines that can fail, or the thread would go on flushing
        low, high = take(words)
        while low < high:
            for at in range(low, high, block):
                size, x = min(block, high - at), argument(words, 7)[0] + at * stored
                again[0] = back[0] = early[0] = early_back[0] = size
                for k in range(memories):
                    read(noted + k * chunks * stride, size, words, start + k, at, real)
                    read(gradient + k * stride, size, words, final + k, at, real)
                for k in range(operands):
                    read(constant + k * stride, size, words, operand + k, at, real)
                if prepare_forward != 0:
                    call(prepare_forward, np.int64(early.ctypes.data))
                if prepare_backward != 0:
                    call(prepare_backward, np.int64(early_back.ctypes.data))
                clear(silence, size, real)
                for k in range(learned):
                    clear(added + k * stride, size, real)
                for place in range(chunks + chunks - 1):  # the starts of all chunks, then chunks backwards
                    first_time = place < chunks - 1
                    number = place if first_time else 2 * (chunks - 1) - place
                    begun = number * chunk
                    count = min(chunk, steps - begun)
                    for k in range(memories):
                        move(kept + k * apart, noted + (k * chunks + number) * stride, size, real)
                    steps_run = count if first_time else count - 1
                    run_forwards(
                        memory_row, again, following, memories, x + begun * x_across, *rows_of, steps_run
                    )
                    if first_time:
                        for k in range(memories):
                            ended = kept + k * apart + chunk * stride
                            move(noted + (k * chunks + number + 1) * stride, ended, size, real)
                        continue
                    for t in range(begun + count - 1, begun - 1, -1):
                        for k in range(memories):
                            shown, there = argument(words, sequence + k)
                            if there > 0:
                                there = shown + t * kept_across + at * item
                                gather(gradient + k * stride, there, size, real)
                        back[arriving] = silence
                        if arrived > 0:
                            there = go + t * across
                            back[arriving] = fetch(
                                spread_row, pooling, words, there, *room, size, at, half, item
                            )
                        if weights != 0 and t < steps - 1:
                            move(room[0], back[arriving], size, real)
                            later = gx + (t + 1) * x_across + at * item
                            hear(room[0], later, weights, width, size // width, real)
                            back[arriving] = room[0]
                        point(back, 3, kept + (t - begun) * stride, apart, memories)
                        back[2], back[to_x] = x + t * x_across, gx + t * x_across + at * stored
                        call(backward_row, np.int64(back.ctypes.data))
                for k in range(memories):
                    move(argument(words, to_start + k)[0] + at * item, gradient + k * stride, size, real)
                for k in range(learned):
                    move(argument(words, to_operand + k)[0] + at * item, added + k * stride, size, real)
            rows[0] = 0  # it lives until here, which Numba does not see from the addresses
            done(words)
            low, high = take(words)
        end(before)

    return run
