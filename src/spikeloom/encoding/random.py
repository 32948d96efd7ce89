"""Where random encoders take their numbers from: reproducible per sample, whatever the batch."""

import hashlib
import logging
import math
import operator
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from spikeloom.encoding.philox import Place
from spikeloom.loom.backends import HAS_TRITON

COMPILED_FROM = 1 << 16  # numbers at once; fewer are not worth loading Numba
_failed: set[str] = set() if HAS_TRITON else {"triton"}  # compilers that are not there, or have failed
_log = logging.getLogger("spikeloom.encoding")
_NUMPY_TYPE = {torch.float32: np.float32, torch.float64: np.float64}


@runtime_checkable
class UniformSource(Protocol):
    """What a random encoder accepts besides a ``torch.Generator``; it may have ``rand_sequence`` too."""

    def rand(self, shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Tensor:
        """Numbers of the given shape, uniform in [0, 1)."""
        ...


class SampleGenerator:
    """Uniform random numbers that belong to samples, not to batches.

    Row ``n`` of what it draws belongs to sample ``indices[n]``, and depends only on the seed, the names, that
    index, and how many numbers of that sample went before: not on the batch, its order, or the number of
    processes. They come from the counter-based generator Philox; its key is a hash of seed, names and index.

    NumPy makes few numbers; many at once a compiled loop, and those for a CUDA device Triton: the same ones.

    Args:
        seed: an integer.
        indices: the samples' places in their dataset, ``[N]``.
        names: strings and integers that tell apart what the numbers are for, such as ``"poisson", epoch``.
    Raises:
        TypeError, ValueError: an argument is of the wrong type; ``indices`` is not one-dimensional.
    Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
    Example:
        >>> batch = SampleGenerator(0, [3, 5], "poisson", 1).rand([2, 4])
        >>> alone = SampleGenerator(0, [5], "poisson", 1).rand([1, 4])
        >>> torch.equal(batch[1], alone[0])
        True
    """

    def __init__(self, seed: int, indices: Sequence[int] | Tensor, *names: str | int):
        key = (operator.index(seed), *(_checked_name(name) for name in names))
        self._key, self._indices = key, _as_list(indices)
        self._draws: list[tuple[int, torch.dtype]] = []  # so far: numbers of a sample, and their type
        self._draws_by_numpy = 0  # that its generators have made, or passed

    def __len__(self) -> int:
        return len(self._indices)

    @cached_property
    def _keys(self) -> list[int]:
        """The key of each sample, of 128 bits."""
        return [_hash(*self._key, index) for index in self._indices]

    @cached_property
    def _samples(self) -> list[np.random.Generator]:
        """The generator of each sample; made when they are needed, which takes longer than the numbers."""
        return [np.random.Generator(np.random.Philox(key=key)) for key in self._keys]

    def rand(
        self, shape: Sequence[int], device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """The next numbers, one draw.

        Args:
            shape: ``[N, *]``, with ``N`` the number of samples.
            device: where to put them; default the CPU.
            dtype: ``torch.float32`` or ``torch.float64``; default float32.
        Returns:
            ``[N, *]``, uniform in [0, 1).
        """
        return self.rand_sequence(1, shape, device, dtype)[0]

    def rand_sequence(
        self,
        T: int,
        shape: Sequence[int],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """The next ``T`` draws ``[T, N, *]`` at once, equal to ``T`` calls of :meth:`rand`."""
        dtype = torch.float32 if dtype is None else dtype
        if dtype not in _NUMPY_TYPE:
            raise ValueError(f"`dtype` must be torch.float32 or torch.float64, got {dtype}. Cast afterwards.")
        if len(shape) == 0 or shape[0] != len(self):
            raise ValueError(
                f"`shape` must be [N, *] with N = {len(self)}, the number of indices, got {list(shape)}. "
                "Make a SampleGenerator from the indices of each batch."
            )
        count = math.prod(shape[1:])
        wanted = torch.device("cpu" if device is None else device)
        numbers = None
        if wanted.type == "cuda":
            numbers = self._compiled("triton", T, count, dtype, wanted)
        elif T * len(self) * count >= COMPILED_FROM:
            numbers = self._compiled("numba", T, count, dtype, wanted)
        if numbers is None:
            numbers = self._by_numpy(T, count, dtype, wanted)
        self._draws.append((T * count, dtype))
        return numbers.view(T, *shape)

    def _compiled(
        self, compiler: str, T: int, count: int, dtype: torch.dtype, device: torch.device
    ) -> Tensor | None:
        """``[T, N, count]``; ``None`` where it cannot be compiled."""
        if compiler in _failed:
            return None
        place = Place()
        for drawn in self._draws:
            place = place.after(*drawn)
        try:
            if compiler == "triton":
                from spikeloom.encoding.philox_triton import uniform_numbers
            else:
                from spikeloom.encoding.philox_numba import uniform_numbers
            return uniform_numbers(self._keys, place, T, count, dtype, device)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # compilers, drivers and assemblers raise what they like
            _failed.add(compiler)
            _log.warning(
                "Random numbers of samples are made by NumPy: %s fails (%s).", compiler.capitalize(), error
            )
            return None

    def _by_numpy(self, T: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """``[T, N, count]``, made on the CPU, and then moved."""
        numbers = np.empty((T, len(self), count), _NUMPY_TYPE[dtype])
        missed = self._draws[self._draws_by_numpy :]
        for n, sample in enumerate(self._samples):
            for before, before_dtype in missed:
                sample.random(before, _NUMPY_TYPE[before_dtype])
            numbers[:, n] = sample.random((T, count), numbers.dtype)
        self._draws_by_numpy = len(self._draws) + 1  # with this one
        is_cuda = device.type == "cuda"  # which need not be waited for
        return torch.from_numpy(numbers).to(device, non_blocking=is_cuda)


def uniform(generator: torch.Generator | UniformSource | None, like: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) of the shape, type and device of ``like``."""
    if isinstance(generator, torch.Generator | None):
        return _torch_rand(like.shape, generator, like)
    return generator.rand(like.shape, like.device, like.dtype)


def uniform_sequence(generator: torch.Generator | UniformSource | None, T: int, like: Tensor) -> Tensor:
    """``T`` draws ``[T, *]`` of numbers as :func:`uniform` makes them, which the caller may write to."""
    if isinstance(generator, torch.Generator | None):
        return _torch_rand((T, *like.shape), generator, like)
    if isinstance(generator, SampleGenerator):
        return generator.rand_sequence(T, like.shape, like.device, like.dtype)
    if hasattr(generator, "rand_sequence"):
        return generator.rand_sequence(T, like.shape, like.device, like.dtype).clone()  # pyright: ignore
    return torch.stack([generator.rand(like.shape, like.device, like.dtype) for _ in range(T)])


def _torch_rand(shape: Sequence[int], generator: torch.Generator | None, like: Tensor) -> Tensor:
    if generator is not None and generator.device.type != like.device.type:
        raise ValueError(
            f"`generator` must be on the input's device {like.device}, got one on {generator.device}. "
            f"Make it with torch.Generator('{like.device}')."
        )
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed of its own for each purpose: another name, unrelated numbers.

    Args:
        seed: an integer.
        names: strings and integers that tell apart what the numbers are for, such as ``"order", epoch``.
    Returns:
        a non-negative integer below 2^63, for ``torch.manual_seed`` and its kin
    """
    return _hash(operator.index(seed), *(_checked_name(name) for name in names)) >> 65


def _hash(*parts: str | int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=16).digest(), "little")


def _checked_name(name: str | int) -> str | int:
    return name if isinstance(name, str) else operator.index(name)


def _as_list(indices: Iterable[int] | Tensor) -> list[int]:
    values = indices.tolist() if isinstance(indices, Tensor | np.ndarray) else list(indices)
    if not isinstance(values, list):
        raise ValueError(f"`indices` must be one-dimensional, [N], got the single value {values}.")
    return [operator.index(value) for value in values]
