"""A given spike pattern, again and again."""

from typing import Any

from torch import Tensor

from spikeloom.checks import checked_count
from spikeloom.encoding.stateful import cycle
from spikeloom.encoding.values import output_type
from spikeloom.memory import MemoryModule


class PeriodicEncoder(MemoryModule):
    """Emits a given spike pattern cyclically; the input only says that time goes on, and may be left out.

    Memory: ``t``, the step that comes next.

    Args:
        spike: the pattern ``[T, *]``, a buffer outside ``state_dict``; booleans and integers become floats.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input anything, ``[N, *]`` (single-step) or ``[T', N, *]`` (multi-step); output ``[*]`` of the pattern
        (single-step) or ``[T', *]`` (multi-step; ``[T, *]`` without an input).
    Raises:
        ValueError: the pattern has no time steps.
    Example:
        >>> import torch
        >>> encoder = PeriodicEncoder(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> [encoder().tolist() for t in range(3)]
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """

    spike: Tensor
    t: int

    def __init__(self, spike: Tensor, step_mode: str = "s"):
        super().__init__(step_mode)
        if not isinstance(spike, Tensor) or spike.dim() == 0 or len(spike) == 0:
            shown = list(spike.shape) if isinstance(spike, Tensor) else type(spike).__name__
            raise ValueError(f"`spike` must be a tensor [T, *] with T >= 1, got {shown}.")
        self.register_buffer("spike", spike.detach().to(output_type(spike)), persistent=False)
        self.register_memory("t", 0)

    @property
    def T(self) -> int:
        """The length of the pattern, in time steps."""
        return len(self.spike)

    def encode(self, x: Tensor | None = None, T: int | None = None) -> Tensor:
        """The pattern from its start, for ``T`` time steps (``None``: once), without touching the memory."""
        return cycle(self.spike, 0, self.T if T is None else checked_count("T", T))

    def single_step_forward(self, x: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """The next step of the pattern."""
        return self._next(1)[0]

    def multi_step_forward(self, x_seq: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """The next steps of the pattern, as many as ``x_seq`` has."""
        return self._next(self.T if x_seq is None else len(x_seq))

    def _next(self, count: int) -> Tensor:
        spike = cycle(self.spike, self.t, count)
        self.t = (self.t + count) % self.T
        return spike

    def extra_repr(self) -> str:
        return f"spike={list(self.spike.shape)}, step_mode={self.step_mode!r}"
