"""Functions that emitted Triton kernels call: correctly rounded division and root, and CUDA's library.

ATen's kernels call the same library, so results are alike; Triton's own exponential is faster, and further
from it. Triton's interpreter has no such library: there, NumPy stands in.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import triton
import triton.language as tl
from triton.language.extra import libdevice

from spikeloom.loom.backends import interprets


@triton.jit
def divide(a, b):
    """``a / b``; Triton itself rounds it correctly in float64 only."""
    return a / b if a.dtype == tl.float64 else tl.div_rn(a, b)


def _interpreted_reciprocal(a: Any) -> Any:
    return tl.tensor(type(a.handle)(1 / a.handle.data, a.handle.dtype), a.type)


@triton.jit
def _compiled_reciprocal(a):
    return tl.inline_asm_elementwise(
        "rcp.approx.ftz.f32 $0, $1;", "=f,f", [a], dtype=tl.float32, is_pure=True, pack=1
    )


_nearly_reciprocal: Any = _interpreted_reciprocal if interprets() else _compiled_reciprocal


@triton.jit
def quick_reciprocal(a):
    """``1 / a``, correctly rounded; but 0 or infinite for numbers that, or whose reciprocals, are denormal.

    The device's approximation and one step of Newton's method, as in correctly rounded division. That asks
    besides for each number whether it is at the ends of the range, and branches: a thread would finish one
    before it begins the next.
    """
    if a.dtype == tl.float64:
        return 1.0 / a
    near = _nearly_reciprocal(a)
    nearer = tl.fma(near, tl.fma(near * -1.0, a, 1.0), near)
    return tl.where(nearer == nearer, nearer, near)  # infinity times 0 is none


@triton.jit
def quick_divide(a, b):
    """``a / b``, nearly always correctly rounded; 0, infinite or less exact at the ends of the range."""
    if b.dtype == tl.float64:
        return a / b
    inverse = quick_reciprocal(b)
    near = a * inverse
    nearer = tl.fma(tl.fma(near * -1.0, b, a), inverse, near)
    return tl.where(nearer == nearer, nearer, near)


@triton.jit
def sqrt(a):
    """The square root."""
    return tl.sqrt(a) if a.dtype == tl.float64 else tl.sqrt_rn(a)


def _of_library(name: str, stand_in: Callable[..., Any]) -> Any:
    """A function of CUDA's library, as kernels call it."""

    def interpreted(*arguments: tl.tensor) -> tl.tensor:
        first: Any = arguments[0]
        values = stand_in(*(argument.handle.data for argument in arguments))
        return tl.tensor(type(first.handle)(values, first.handle.dtype), first.type)

    return interpreted if interprets() else getattr(libdevice, name)


exp = _of_library("exp", np.exp)
tanh = _of_library("tanh", np.tanh)
log = _of_library("log", np.log)
log1p = _of_library("log1p", np.log1p)
expm1 = _of_library("expm1", np.expm1)
sin = _of_library("sin", np.sin)
cos = _of_library("cos", np.cos)
atan = _of_library("atan", np.arctan)
rsqrt = _of_library("rsqrt", lambda a: 1 / np.sqrt(a))
power = _of_library("pow", np.power)
trunc = _of_library("trunc", np.trunc)
rint = _of_library("rint", np.rint)


@triton.jit
def floor(a):
    """The next whole number below; Triton's own takes a denormal number for 0."""
    whole = trunc(a)
    return tl.where(whole > a, whole - 1.0, whole)


@triton.jit
def ceil(a):
    """The next whole number above."""
    whole = trunc(a)
    return tl.where(whole < a, whole + 1.0, whole)


@triton.jit
def erf(a):
    """The error function, which Triton takes from CUDA's library itself."""
    return tl.erf(a)


@triton.jit
def sigmoid(a):
    """The logistic function, as ATen computes it on a CUDA device."""
    one = tl.full((), 1.0, a.dtype)
    return divide(one, one + exp(a * -1.0))
