"""What several threads share while they run one compiled loop: a job, as an array of 64-bit words in memory.

A thread takes a range of neurons, runs the loop on it, and takes the next, until none is left. All of that
is compiled, so that threads that know nothing of Python can do it.
"""

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types  # pyright: ignore[reportPrivateImportUsage]
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic

NEXT, DONE, RANGES, TOTAL, SIZE, STEPS, BLOCK, CHUNK, OUTPUTS, WINDOW, WIDTH, INNER, ARGUMENTS = range(13)
"""Places of the words: the next range and those done; how many there are; neurons in all and per range;
time steps; neurons per block; steps per chunk; outputs of a step, and how neurons are pooled into them (a
window of 0: not at all); then an address and a length for each argument."""

_MACHINE = platform.machine().lower()
_X86, _ARM = _MACHINE in ("x86_64", "amd64"), _MACHINE in ("aarch64", "arm64")
_FLUSHED = 0x8040 if _X86 else 1 << 24  # bits of the control word: denormal results and operands are 0
_typed: Any = intrinsic  # what it makes takes one argument less than it seems to


class _Called(Dispatcher):
    """A function that is compiled into loops, and has nothing that Python could call."""

    def __call__(self, *_arguments: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise TypeError(f"{self.py_func.__name__} can only be called by compiled loops, not from Python.")


def jit(function: Any = None, **options: Any) -> Any:
    """Decorates functions that are compiled into loops; ``options`` are those of ``numba.njit``.

    What Numba would make for calls from Python and from C is left out: it was a sixth of the time that a
    neuron's first use takes.
    """
    if function is None:
        return lambda function: jit(function, **options)
    without: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    made = njit(nogil=True, error_model="numpy", **without, **options)(function)
    if isinstance(made, Dispatcher):  # it is not with NUMBA_DISABLE_JIT
        made.__class__ = _Called
    return made


@_typed
def _pointer(_context, address):
    """The address as a pointer."""

    def generate(_context, builder, _signature, arguments):
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


@_typed
def _add_one(context, words, place):
    """Add one to ``words[place]``, whatever other threads do; the value before."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.gep(data, [arguments[1]])
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(words, place), generate


@_typed
def call(_context, function, argument):
    """Call the compiled function at an address, with another address."""

    def generate(context, builder, _signature, arguments):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte]).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), [builder.inttoptr(arguments[1], byte)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@_typed
def _control_word(_context):
    """The thread's floating-point control word; 0 where it is not known."""

    def generate(_context, builder, _signature, _arguments):
        if _X86:
            word = builder.alloca(ir.IntType(32))
            store = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
            pointer = builder.bitcast(word, ir.IntType(8).as_pointer())
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse.stmxcsr", (), store), [pointer])
            return builder.zext(builder.load(word), ir.IntType(64))
        if _ARM:
            read = ir.FunctionType(ir.IntType(64), [])
            return builder.call(builder.module.declare_intrinsic("llvm.aarch64.get.fpcr", (), read), [])
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(), generate


@_typed
def _set_control_word(_context, value):
    def generate(context, builder, _signature, arguments):
        if _X86:
            word = builder.alloca(ir.IntType(32))
            builder.store(builder.trunc(arguments[0], ir.IntType(32)), word)
            load = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
            pointer = builder.bitcast(word, ir.IntType(8).as_pointer())
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse.ldmxcsr", (), load), [pointer])
        elif _ARM:
            write = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
            intrinsic = builder.module.declare_intrinsic("llvm.aarch64.set.fpcr", (), write)
            builder.call(intrinsic, [arguments[0]])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@jit
def words_of(job):
    """The words of the job at this address."""
    return carray(job, (1 << 16,), np.int64)


@jit
def begin():
    """The thread's control word, which now flushes denormals.

    Potentials that fade below 1.2e-38 (float32) would cost 16 times the time.
    """
    before = _control_word()
    _set_control_word(before | _FLUSHED)
    return before


@jit
def take(words):
    """The next range of neurons, from the first up to but without the second; empty when none is left."""
    place = _add_one(words, NEXT)
    if place >= words[RANGES]:
        return 0, 0
    low = place * words[SIZE]
    return low, min(low + words[SIZE], words[TOTAL])


@jit
def done(words):
    """Count a range that was run to its end."""
    _add_one(words, DONE)


@jit
def end(before):
    """Give the thread its control word back."""
    _set_control_word(before)


@jit
def numbers(address, size, real):
    """An array that begins at an address."""
    return carray(_pointer(address), (size,), real)


@jit
def literals(words, real):
    """The literals of a row function; its words are how many neurons there are, then an address for each
    argument, of which these are the first."""
    return numbers(words[1], 1 << 16, real)


@jit
def row(words, place, real):
    """The argument of a row function with this number, one number for each neuron."""
    return numbers(words[1 + place], words[0], real)


@jit
def vector(words, place, real):
    """The argument with this number, an array of numbers."""
    at = ARGUMENTS + 2 * place
    return carray(_pointer(words[at]), (words[at + 1],), real)


# Indices are unsigned below: each that could be negative is checked for it.


@jit
def pool(pooled, at, block, words):
    """Write the means of windows of a block that starts at neuron ``at`` into the outputs of a step."""
    size, inner = np.uintp(words[WINDOW]), np.uintp(words[INNER])
    row, across = np.uintp(words[WIDTH]) * inner, size * inner
    total, to, one = np.uintp(block.shape[0]), np.uintp(at) // (size * size), np.uintp(1)
    count = block.dtype.type(size * size)
    for first in range(np.uintp(0), total, size * row):  # of a row of windows
        for left in range(first, first + row, across):  # of a window
            if size == 2:
                right, below, last = left + inner, left + row, left + row + inner
                for i in range(inner):
                    sum = block[left + i] + block[right + i] + block[below + i] + block[last + i]
                    pooled[to + i] = sum * block.dtype.type(0.25)
            else:
                for i in range(inner):
                    pooled[to + i] = block[left + i]
                for place in range(one, size * size):
                    source = left + place // size * row + place % size * inner
                    for i in range(inner):
                        pooled[to + i] += block[source + i]
                for i in range(inner):
                    pooled[to + i] /= count
            to += inner


@jit
def spread(block, pooled, at, words):
    """Write the gradients of windows to the neurons of a block that starts at neuron ``at``."""
    size, inner = np.uintp(words[WINDOW]), np.uintp(words[INNER])
    row, across = np.uintp(words[WIDTH]) * inner, size * inner
    total, source = np.uintp(block.shape[0]), np.uintp(at) // (size * size)
    count = block.dtype.type(size * size)
    for first in range(np.uintp(0), total, size * row):
        for left in range(first, first + row, across):
            if size == 2:
                for i in range(inner):
                    share = pooled[source + i] * block.dtype.type(0.25)
                    block[left + i] = share
                    block[left + inner + i] = share
            else:
                for column in range(size):
                    to = left + column * inner
                    for i in range(inner):
                        block[to + i] = pooled[source + i] / count
            source += inner
        for below in range(first + row, first + size * row, row):
            for i in range(row):
                block[below + i] = block[first + i]
