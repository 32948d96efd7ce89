"""NumPy's generator Philox on a CUDA device: the same numbers, made where they are needed."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from spikeloom.encoding.philox import Place, key_words

BLOCK = 1024  # numbers of a sample that a program makes; what they cost is little beside writing them


def uniform_numbers(
    keys: Sequence[int],
    place: Place,
    num_steps: int,
    count: int,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Tensor:
    """As the function of the same name in philox_numba.py; ``device`` is a CUDA device, or under Triton's
    interpreter the CPU."""
    halves = torch.from_numpy(key_words(keys).view(np.int64)).to(device, non_blocking=True)
    numbers = torch.empty(num_steps, len(keys), count, dtype=dtype, device=device)
    total, is_double = num_steps * count, dtype == torch.float64
    if numbers.numel():
        with torch.cuda.device(halves.device) if halves.is_cuda else nullcontext():
            launch: Any = _write_uniform[len(keys), triton.cdiv(total, BLOCK)]
            launch(numbers, halves, place.word, place.spare, total, count, is_double, BLOCK)
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
