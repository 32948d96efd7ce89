"""Encoders that code an input once, and then play the code back step by step."""

import warnings
from typing import Any

import torch
from torch import Tensor

from spikeloom.checks import checked_count
from spikeloom.encoding.values import check_static, in_floating_point, output_type
from spikeloom.errors import describe
from spikeloom.memory import MemoryModule


class StatefulEncoder(MemoryModule):
    """An encoder that codes its first input, and emits one step of the code per call, again and again.

    The input of later calls only says that time goes on, until :meth:`reset`; it may be left out. Subclasses
    write :meth:`code`. Memories: ``spike`` ``[T, N, *]``, the code, and ``t``, the step that comes next.

    Args:
        T: number of time steps of the code.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input ``[N, *]`` (single-step), or the same input repeated ``[T', N, *]`` (multi-step); output the
        same shape, values in {0, 1}, in the input's type. Without input, multi-step mode emits ``T`` steps.
    Raises:
        TypeError, ValueError: ``T`` is not a positive integer; the first call has no input.
        ShapeError: the time steps of the input differ.
    Differs from: SpikingJelly, which does not look at later inputs; here one that differs brings a warning in
        single-step mode, and an error within a sequence.
    """

    spike: Tensor | None
    t: int

    def __init__(self, T: int, step_mode: str = "s"):
        super().__init__(step_mode)
        self.T = checked_count("T", T)
        self.register_memory("spike", None)
        self.register_memory("t", 0)
        self.register_memory("_coded", None)  # a copy of the input, until a warning was given
        self.register_memory("_seen", None)  # the last input itself, and how often it was written to

    def code(self, x: Tensor) -> Tensor:
        """The spikes ``[T, N, *]`` of one input ``x`` ``[N, *]``, floating point. Subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__} must define code(x).")

    @torch.no_grad()
    def encode(self, x: Tensor, T: int | None = None) -> Tensor:
        """Code an input at once, without touching the memories, whatever the step mode.

        Args:
            x: the input, ``[N, *]``.
            T: number of time steps; ``None`` is the length of the code, and a larger one repeats it.
        """
        count = self.T if T is None else checked_count("T", T)
        return cycle(self.code(in_floating_point(x)).to(output_type(x)), 0, count)

    @torch.no_grad()
    def single_step_forward(self, x: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """The next step of the code."""
        self._note(x)
        spike, self.t = self.spike[self.t].clone(), (self.t + 1) % self.T  # type: ignore[index]
        return spike

    @torch.no_grad()
    def multi_step_forward(self, x_seq: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """The next steps of the code, as many as ``x_seq`` has."""
        if x_seq is not None:
            check_static(x_seq, type(self).__name__)
        self._note(None if x_seq is None else x_seq[0])
        count = self.T if x_seq is None else len(x_seq)
        spike = cycle(self.spike, self.t, count)  # type: ignore[arg-type]
        self.t = (self.t + count) % self.T
        return spike

    def _note(self, x: Tensor | None) -> None:
        """Code the first input, and compare later ones with it."""
        if self.spike is None:
            if x is None:
                raise ValueError(f"{describe(self)} needs an input in its first call after a reset.")
            self.spike, self._coded, self._seen = self.code(x), x.detach().clone(), _noted(x)
        elif x is not None:
            self._warn_if_other(x)

    def _warn_if_other(self, x: Tensor) -> None:
        """Tell once, if another input came without a reset."""
        if torch.compiler.is_compiling() or self._coded is None:
            return
        seen, self._seen = self._seen, _noted(x)
        again = seen and self._seen and (seen[0].data_ptr(), seen[1]) == (x.data_ptr(), self._seen[1])
        if not again and not torch.equal(self._coded, x):
            self._coded = None
            warnings.warn(
                f"{describe(self)} goes on with the code of its first input, and this one differs. Call "
                "functional.reset_net(net) before another input.",
                stacklevel=2,
            )


def _noted(x: Tensor) -> tuple[Tensor, int] | None:
    """A tensor, kept so that no other takes its place, and how often it was written to, if PyTorch counts
    that."""
    if torch.compiler.is_compiling() or x.is_inference():
        return None
    return x.detach(), x._version


def cycle(code: Tensor, start: int, count: int) -> Tensor:
    """``count`` steps of ``code`` ``[T, *]`` from step ``start`` on, again and again, as a copy."""
    if start + count <= len(code):
        return code[start : start + count].clone()
    return code[torch.arange(start, start + count, device=code.device) % len(code)]
