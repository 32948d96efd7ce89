"""NumPy's generator Philox on a CUDA device: the same numbers, made where they are needed.

Philox has no state but a counter, so each number is computed alone, from the key of its sample and its place
in that sample's stream.
"""

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # numbers of a sample that a program makes; what they cost is little beside writing them


class Place(NamedTuple):
    """How far a stream of 64-bit words has been read, as NumPy reads it: a float64 takes a word, a float32
    half of one, the low half first. The other half waits for the next float32."""

    word: int = 0
    """The next word."""
    spare: int = -1
    """The word whose high half waits; -1 if none does."""

    def after(self, count: int, dtype: torch.dtype) -> "Place":
        """The place after ``count`` more numbers."""
        if count == 0 or dtype == torch.float64:
            return Place(self.word + count, self.spare)
        fresh = count - (self.spare >= 0)
        word = self.word + (fresh + 1) // 2
        return Place(word, word - 1 if fresh % 2 else -1)


def uniform_numbers(keys: Tensor, place: Place, num_steps: int, count: int, dtype: torch.dtype) -> Tensor:
    """The next numbers of each sample.

    Args:
        keys: low and high half of each sample's key, ``int64 [N, 2]``, on the device.
        place: in the streams.
        num_steps, count: numbers of a sample are ``num_steps * count``.
        dtype: float32 or float64.
    Returns:
        ``[num_steps, N, count]``, uniform in [0, 1)
    """
    numbers = torch.empty(num_steps, len(keys), count, dtype=dtype, device=keys.device)
    total, is_double = num_steps * count, dtype == torch.float64
    if numbers.numel():
        with torch.cuda.device(keys.device) if keys.is_cuda else nullcontext():
            launch: Any = _write_uniform[len(keys), triton.cdiv(total, BLOCK)]
            launch(numbers, keys, place.word, place.spare, total, count, is_double, BLOCK)
    return numbers


@triton.jit(do_not_specialize=["word", "spare", "total", "count"])
def _write_uniform(numbers, keys, word, spare, total, count, IS_DOUBLE: tl.constexpr, BLOCK: tl.constexpr):
    sample = tl.program_id(0).to(tl.int64)
    number = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    low_key = tl.load(keys + 2 * sample).to(tl.uint64, bitcast=True)
    high_key = tl.load(keys + 2 * sample + 1).to(tl.uint64, bitcast=True)
    if IS_DOUBLE:
        uniform = (_word(word + number, low_key, high_key) >> 11).to(tl.float64) * (1.0 / 9007199254740992.0)
    else:
        half = number - (spare >= 0)  # -1 is the one that waits
        place = tl.where(half < 0, spare, word + (half >> 1))
        bits = _word(place, low_key, high_key) >> ((half & 1) * 32).to(tl.uint64)
        uniform = ((bits & 0xFFFFFFFF) >> 8).to(tl.float32) * (1.0 / 16777216.0)
    step, feature = number // count, number % count
    tl.store(numbers + (step * tl.num_programs(0) + sample) * count + feature, uniform, mask=number < total)


@triton.jit
def _word(place, low_key, high_key):
    """Word ``place`` of a stream: one of the four into which ten rounds turn a counter, which begins at 1."""
    nothing = (place * 0).to(tl.uint64)
    first, second, third, fourth = (place // 4 + 1).to(tl.uint64), nothing, nothing, nothing
    low, high = nothing + low_key, nothing + high_key
    a, b = nothing + 0xD2E7470EE14C6C93, nothing + 0xCA5A826395121157
    for _ in tl.static_range(10):  # pyright: ignore[reportGeneralTypeIssues]
        first, second, third, fourth = (
            tl.umulhi(b, third) ^ second ^ low,
            b * third,
            tl.umulhi(a, first) ^ fourth ^ high,
            a * first,
        )
        low += 0x9E3779B97F4A7C15
        high += 0xBB67AE8584CAA73B
    lane = place % 4
    return tl.where(lane == 0, first, tl.where(lane == 1, second, tl.where(lane == 2, third, fourth)))
