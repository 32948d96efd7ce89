"""Loads and stores of emitted Triton kernels: of neurons ``at``, of which those in ``mask`` exist.

A tensor that is ``None`` reads as 0, and is not written: the compiler takes such lines out.
"""

import triton
import triton.language as tl


@triton.jit
def number(value, real: tl.constexpr):
    """A literal in the kernel's type."""
    return tl.full((), value, real)


@triton.jit
def start(source, each: tl.constexpr, at, mask, real: tl.constexpr):
    """A number for all neurons, or (``each``) those that a pointer has for each of them."""
    return tl.load(source + at, mask, other=0.0).to(real) if each else tl.full(at.shape, source, real)


@triton.jit
def operand(source, each: tl.constexpr, at, mask, real: tl.constexpr):
    """The number that a pointer has for all neurons, or (``each``) those for each of them."""
    return start(source if each else tl.load(source), each, at, mask, real)


@triton.jit
def load(source, step, size, at, mask, real: tl.constexpr):
    """What a sequence has at a step."""
    return tl.zeros(at.shape, real) if source is None else start(source + step * size, True, at, mask, real)


@triton.jit
def plus(value, source, step, size, at, mask, real: tl.constexpr):
    """A number with what a sequence has at a step added."""
    return value if source is None else value + load(source, step, size, at, mask, real)


@triton.jit
def store(target, step, size, at, mask, value):
    """Write a step of a sequence."""
    if target is not None:
        tl.store(target + step * size + at, value, mask)


@triton.jit
def _has_note(row, at):
    """Whether there is such a row."""
    return tl.full(at.shape, row, tl.int64) >= 0


@triton.jit
def note(notes, row, size, at, mask, value):
    """Write a memory down; what it was at the start, before row 0, need not be."""
    if notes is not None:
        tl.store(notes + row * size + at, value, mask & _has_note(row, at))


@triton.jit
def noted(notes, row, size, at, mask, start):
    """The memory that was noted; before row 0, what it was at the start."""
    value = tl.load(notes + row * size + at, mask & _has_note(row, at), other=0.0)
    return tl.where(_has_note(row, at), value, start)


@triton.jit
def total(target, each: tl.constexpr, at, mask, value):
    """Write what was added up for each neuron, or the sum over those of this program."""
    if each:
        tl.store(target + at, value, mask)
    else:
        tl.store(target + tl.program_id(0), tl.sum(tl.where(mask, value, tl.zeros_like(value)), 0))
