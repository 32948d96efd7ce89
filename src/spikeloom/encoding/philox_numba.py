"""NumPy's generator Philox for many samples at once, on the CPU: the same numbers in a tenth of the time."""

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numba import config
from torch import Tensor

from spikeloom.encoding.philox import Place, key_words
from spikeloom.loom import threads
from spikeloom.loom.cache import load_module
from spikeloom.loom.native import Native
from spikeloom.loom.numba_job import DONE, RANGES

_loaded: list[Native] = []


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
    job = array("q", [0, 0, len(keys), len(keys), 1, *[0] * 7])
    job.extend((settings.ctypes.data, settings.size, halves.ctypes.data, halves.size))
    job.extend((numbers.data_ptr(), numbers.numel()))
    if config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]
        raise RuntimeError("its compiler is switched off, NUMBA_DISABLE_JIT")
    if not _loaded:
        _loaded.append(Native(load_module(Path(__file__).with_name("philox_loops.py").read_text())))
    uniform = _loaded[0].native("uniform", dtype)
    threads.run(uniform, job.buffer_info()[0], min(torch.get_num_threads(), len(keys)))
    if job[DONE] != job[RANGES]:
        raise MemoryError("Too little memory for random numbers.")
    return numbers.to(device)
