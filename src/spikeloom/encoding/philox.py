"""Where in a stream of NumPy's generator Philox one is.

Philox has no state but a counter, so each number is computed from the key of its sample and its place in that
sample's stream alone: compiled for the CPU (philox_numba.py) and for CUDA devices (philox_triton.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch


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


def key_words(keys: Sequence[int]) -> np.ndarray:
    """The low and the high half of each sample's key, ``uint64 [N, 2]``."""
    return np.array([(key & 0xFFFFFFFFFFFFFFFF, key >> 64) for key in keys], np.uint64).reshape(-1, 2)
