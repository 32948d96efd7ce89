"""Functions that emitted loops call: conversions of bfloat16, and an exponential that LLVM can vectorise.

Numba's own ``exp`` calls the C library once per element, which keeps a whole loop from being vectorised.
"""

import math
import platform
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import config, types
from numba.extending import intrinsic, overload

from spikeloom.loom.numba_job import jit

# exp(x) = 2^n exp(r), with n = round(x / ln 2) and |r| <= ln(2) / 2; ln 2 in two parts keeps r exact.
_LOG2E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# The Taylor series of exp(r) to r^7; tests/loom/test_exactness.py bounds its error.
_C2, _C3, _C4, _C5, _C6, _C7 = (np.float32(1.0 / math.factorial(power)) for power in range(2, 8))
_LOWEST, _HIGHEST = np.float32(-104.0), np.float32(89.0)  # exp is 0 below, infinite above
_ONE, _ZERO = np.float32(1.0), np.float32(0.0)
_LEAST = np.float32(-88.722832)  # the last number whose exp(-x) is finite
_QUARTER, _BIAS_OF_FOUR = np.float32(0.25), np.int32(127 + 2)
_BIAS, _SHIFT, _HALF = np.int32(127), np.int32(23), np.int32(1)


def exp(x):  # pragma: no cover - replaced by its overload
    """The exponential of one number, in its type."""
    return math.exp(x)


def sigmoid(x):  # pragma: no cover - replaced by its overload
    """The logistic function of one number, in its type."""
    return 1.0 / (1.0 + math.exp(-x))


def tanh(x):  # pragma: no cover - replaced by its overload
    """The hyperbolic tangent of one number, in its type."""
    return math.tanh(x)


def _has_fused_multiply_add() -> bool:
    """Whether the processor that Numba compiles for has it; elsewhere LLVM would call the C library."""
    if any(getattr(config, name, None) is not None for name in ("CPU_NAME", "CPU_FEATURES")):
        return False  # set by the user, for another processor perhaps
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    return bool(llvm.get_host_cpu_features().get("fma"))


_FUSED = _has_fused_multiply_add()


def _typed_multiply_add(_typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once if the processor can: that makes :func:`sigmoid` faster by a quarter."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        a, b, c = arguments
        return builder.fma(a, b, c) if _FUSED else builder.fadd(builder.fmul(a, b), c)

    return c(a, b, c), generate


_multiply_add: Any = intrinsic(_typed_multiply_add)


@jit(inline="always")
def _exp_minus_one(n, limited):
    """``exp(limited) / 2^n - 1`` for the whole number next to ``limited / ln 2``."""
    r = _multiply_add(-n, _LN2_LOW, _multiply_add(-n, _LN2_HIGH, limited))
    series = _multiply_add(r, _C7, _C6)
    series = _multiply_add(r, series, _C5)
    series = _multiply_add(r, series, _C4)
    series = _multiply_add(r, series, _C3)
    series = _multiply_add(r, series, _C2)
    return _multiply_add(r * r, series, r)


@jit(inline="always")
def _exp_float32(x):
    limited = _LOWEST if x < _LOWEST else (_HIGHEST if x > _HIGHEST else x)
    n = np.rint(limited * _LOG2E)
    series = _ONE + _exp_minus_one(n, limited)
    whole = np.int32(n)
    first = np.int32(whole >> _HALF)  # in two steps, so that results below 2^-126 are denormal and not 0
    second = np.int32(whole - first)
    scale_first = np.int32(np.int32(first + _BIAS) << _SHIFT).view(np.float32)
    scale_second = np.int32(np.int32(second + _BIAS) << _SHIFT).view(np.float32)
    result = series * scale_first * scale_second
    return result if x == x else x


@jit(inline="always")
def _sigmoid_float32(x):
    """``e / (1 + e)`` with ``e = exp(-|x|)``, below 0, and 1 minus that above.

    What rounding took off ``e`` and ``1 + e`` is put back at the end: without, errors are up to 4 units.
    """
    size = abs(x)
    limited = _LEAST if size > -_LEAST else -size
    n = np.rint(limited * _LOG2E)
    less = _exp_minus_one(n, limited)
    whole = _ONE + less
    four_times = np.int32(np.int32(np.int32(n) + _BIAS_OF_FOUR) << _SHIFT).view(np.float32)  # n may be -128
    e, e_rest = whole * four_times * _QUARTER, (less - (whole - _ONE)) * four_times * _QUARTER
    total = _ONE + e
    total_rest = (e - (total - _ONE)) + e_rest
    below = e / total
    above = _ONE - below
    missing = _multiply_add(-below, total_rest, e_rest)
    below = _multiply_add(missing, above, below)
    above = _multiply_add(-missing, above, above)
    result = above if x >= _ZERO else below
    result = result if x >= _LEAST else _ZERO  # as in ATen, which divides by an infinite exp(-x)
    return result if x == x else x


@overload(exp)
def _exp(x):
    if x == types.float32:
        return lambda x: _exp_float32(x)
    return lambda x: math.exp(x)


@overload(sigmoid)
def _sigmoid(x):
    if x == types.float32:
        return lambda x: _sigmoid_float32(x)
    return lambda x: 1.0 / (1.0 + math.exp(-x))


@overload(tanh)
def _tanh(x):
    if x == types.float32:
        return lambda x: _tanh_float32(x)
    return lambda x: math.tanh(x)


_TWO, _SMALL = np.float32(2.0), np.float32(0.55)
_T3, _T5, _T7, _T9 = (np.float32(value) for value in (-1 / 3, 2 / 15, -17 / 315, 62 / 2835))
_T11, _T13, _T15 = (np.float32(value) for value in (-1382 / 155925, 21844 / 6081075, -929569 / 638512875))
_T17 = np.float32(6404582 / 10854718875)


@jit(inline="always")
def _tanh_float32(x):
    size = abs(x)
    large = _ONE - _TWO / (_exp_float32(_TWO * size) + _ONE)
    square = x * x  # near 0 the difference above would lose digits
    series = _T11 + square * (_T13 + square * (_T15 + square * _T17))
    series = _T3 + square * (_T5 + square * (_T7 + square * (_T9 + square * series)))
    small = size + size * square * series
    result = small if size < _SMALL else large
    return result if x >= _ZERO else (-result if x < _ZERO else x)


_SIXTEEN, _SIGN_OFF, _INFINITE = np.uint32(16), np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)
_BELOW_HALF, _LAST, _NO_NUMBER = np.uint32(0x7FFF), np.uint32(1), np.uint32(0x7FC0)


@jit(inline="always")
def wide(bits):
    """A bfloat16 number, given as its bits, in float32."""
    return np.uint32(np.uint32(bits) << _SIXTEEN).view(np.float32)


@jit(inline="always")
def nearest(number):
    """The bits of the bfloat16 number next to a float32, of two the even one."""
    bits = np.float32(number).view(np.uint32)
    even = np.uint32(np.uint32(bits >> _SIXTEEN) & _LAST)
    rounded = np.uint32(np.uint32(bits + np.uint32(even + _BELOW_HALF)) >> _SIXTEEN)
    is_number = np.uint32(bits & _SIGN_OFF) <= _INFINITE
    return np.uint16(rounded if is_number else _NO_NUMBER)


def load(row, i):  # pragma: no cover - replaced by its overload
    """Number ``i`` of a row, which holds numbers, or the bits of bfloat16 numbers."""
    return row[i]


def store(row, i, number):  # pragma: no cover - replaced by its overload
    """Write a number to place ``i`` of a row, as it holds them."""
    row[i] = number


# By type, not as functions that a loop closes over: Numba would compile such a loop anew in each process.
@overload(load)
def _load(row, i):
    return (lambda row, i: wide(row[i])) if row.dtype == types.uint16 else (lambda row, i: row[i])


@overload(store)
def _store(row, i, number):
    def rounded(row, i, number):
        row[i] = nearest(number)

    def as_it_is(row, i, number):
        row[i] = number

    return rounded if row.dtype == types.uint16 else as_it_is


@jit
def widen(block, source):
    """Write the bits of bfloat16 numbers as float32."""
    for i in range(block.shape[0]):
        block[i] = wide(source[i])


@jit
def narrow(target, block):
    """Write float32 numbers as the bits of bfloat16."""
    for i in range(target.shape[0]):
        target[i] = nearest(block[i])
