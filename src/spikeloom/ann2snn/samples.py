"""Samples to calibrate on, however they come."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

_BATCH = 100


class Samples:
    """Batches of inputs, which can be gone through several times.

    Args:
        source: a tensor ``[N, *]``, or an iterable of batches: tensors, or tuples and lists that begin with
            one, such as a ``DataLoader`` of samples and labels.
        device: to which they are moved.
    Raises:
        TypeError: the source is neither, or a batch is no tensor.
        ValueError: there are no samples.
    """

    def __init__(self, source: Any, device: torch.device):
        if isinstance(source, Tensor):
            source = source.split(_BATCH) if source.dim() else ()
        if not isinstance(source, Iterable):
            raise TypeError(
                "`calibration_data` must be a tensor [N, *] or an iterable of batches, such as a DataLoader, "
                f"got a {type(source).__name__}."
            )
        # What an iterator has given is gone; all else can be gone through again.
        self._source = list(source) if isinstance(source, Iterator) else source
        self._device = device
        if next(iter(self), None) is None:
            raise ValueError("`calibration_data` must hold at least one sample, got none.")

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self._source:
            x = batch[0] if isinstance(batch, tuple | list) and batch else batch
            if not isinstance(x, Tensor) or x.dim() == 0:
                kind = "tensor without a dimension" if isinstance(x, Tensor) else type(x).__name__
                raise TypeError(
                    f"A batch of `calibration_data` must be a tensor [N, *], or begin with one, got a {kind}."
                )
            if len(x):
                yield x.to(self._device)
