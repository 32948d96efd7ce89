"""NumPy's generator Philox for many samples at once, on the CPU: the same numbers in a tenth of the time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikeloom.encoding.philox import Place, key_words
from spikeloom.loom.backends import unavailable
from spikeloom.loom.native import loops_of_file


def uniform_numbers(
    keys: Sequence[int],
    place: Place,
    num_steps: int,
    count: int,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Tensor:
    """The next numbers of each sample.

    Args:
        keys: of the samples, of 128 bits each.
        place: in the streams.
        num_steps, count: numbers of a sample are ``num_steps * count``.
        dtype: float32 or float64.
        device: to move them to; they are made on the CPU.
    Returns:
        ``[num_steps, N, count]``, uniform in [0, 1)
    """
    numbers = torch.empty(num_steps, len(keys), count, dtype=dtype, device="cpu")
    halves = key_words(keys)
    settings = np.array([*place, len(keys), num_steps, count], np.int64)
    if reason := unavailable("numba"):
        raise RuntimeError(reason)
    loops = loops_of_file(Path(__file__).with_name("philox_loops.py"))
    loops.run_pieces("uniform", dtype, len(keys), settings, halves, numbers)
    return numbers.to(device)
