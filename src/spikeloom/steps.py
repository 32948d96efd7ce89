"""Time steps: one at a time or a sequence, and the loop over it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

STEP_MODES = ("s", "m")


class StepModule:
    """Something with a ``step_mode``: ``'s'`` takes one time step ``[N, ...]``, ``'m'`` a sequence ``[T, N,
    ...]``."""

    _step_mode = "s"

    def supported_step_mode(self) -> tuple[str, ...]:
        """The step modes that this module can be set to."""
        return STEP_MODES

    @property
    def step_mode(self) -> str:
        """``'s'`` for one time step at a time, ``'m'`` for whole sequences."""
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        if value not in self.supported_step_mode():
            raise ValueError(
                f"`step_mode` of {type(self).__name__} must be one of {self.supported_step_mode()}, got "
                f"{value!r}."
            )
        self._step_mode = value


def loop_over_time(step: Callable[[Tensor], Any], x_seq: Tensor) -> Any:
    """Apply ``step`` to each step of ``x_seq`` ``[T, ...]`` and stack the results, tuples part by part."""
    outputs = [step(x) for x in x_seq]
    if isinstance(outputs[0], tuple):
        return tuple(torch.stack(parts) for parts in zip(*outputs, strict=True))
    return torch.stack(outputs)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """``function`` of each tensor in ``value``, also in tuples, lists, dictionaries; the rest as it is."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple | list):
        parts = [map_tensors(function, part) for part in value]
        if isinstance(value, tuple):
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        return parts
    if isinstance(value, dict):
        return {key: map_tensors(function, part) for key, part in value.items()}
    return value
