"""What all compiled loops share: autograd, and tensors brought into one memory layout."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from spikeloom.errors import BackendError
from spikeloom.loom.step import Woven, placed

Source = float | Tensor


class Call(NamedTuple):
    """What a forward pass and its backward pass are both given.

    Args:
        x: the input, time-major.
        sources: memories before the first step, and operands.
        keep: the memories of which every step is wanted.
        window: of average pooling of the output, if the loops can do that.
        feedback: weights ``[F, F]`` by which the outputs ``[N, *, F]`` of a step are added to the input of
            the next one, if the loops can do that.
    """

    x: Tensor
    sources: Sequence[Source]
    keep: Sequence[bool]
    window: int | None = None
    feedback: Tensor | None = None


class CannotCompile(BackendError):
    """A compiler failed on loops, or is not there, as their first run showed."""


class Loops(ABC):
    """The compiled loops of a step, with its literals.

    Args:
        woven: what they were made of.
    """

    def __init__(self, woven: Woven):
        self.woven, self.step, self.learned = woven, woven.step, woven.learned
        self.reads = self.step.reads

    @abstractmethod
    def forward(self, call: Call, noted: bool = False) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Run over time.

        Args:
            call: what is given.
            noted: whether there may be a backward pass, for which something could be noted.
        Returns:
            output, memories after the last step, and sequences of the memories to keep; and the notes
        """

    @abstractmethod
    def backward(
        self,
        call: Call,
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
        notes: Tensor | None = None,
    ) -> list[Tensor | None]:
        """The gradients of the input and of those sources that are wanted, from those of all results.

        Args:
            call: as it was; with a window only if the output was pooled.
            gradients: of the results; ``None`` for 0.
            wanted: which sources need a gradient.
            notes: of :meth:`forward`, if they were kept.
        """

    def __call__(
        self,
        x: Tensor,
        starts: Sequence[Source],
        operands: Sequence[Tensor],
        keep: Sequence[bool],
        window: int | None = None,
        feedback: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
        """Run over time, with autograd.

        Args:
            x: ``[T, *]``, of a type and on a device that the loops take.
            starts: memories before the first step: numbers, or tensors that broadcast to a step's shape.
            operands: the tensors that the step reads, which broadcast likewise.
            keep, window, feedback: as of :class:`Call`; the output ``[T, N, C, H, W]`` is pooled where the
                size divides H and W.
        Returns:
            output ``[T, *]``, the memories after the last step, the memories after every step ``[T, *]`` or
            ``None``
        """
        if (len(starts), len(operands)) != (self.step.num_memories, self.step.num_operands):
            raise BackendError(  # a loop would read addresses that it was not given
                f"A loop of {self.step.num_memories} memories and {self.step.num_operands} tensors was found "
                f"for a neuron of {len(starts)} and {len(operands)}. Please report this, and take "
                "backend='torch'."
            )
        # What no plan reads, such as the last output that a hook has kept, is no part of the graph.
        read = zip(operands, self.reads, strict=True)
        sources = [*starts, *(one if reads else one.new_zeros(()) for one, reads in read)]
        tensors = [
            x,
            *([] if feedback is None else [feedback]),
            *(source for source in sources if isinstance(source, Tensor)),
        ]
        noted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
        results = _Run.apply(self, keep, window, noted, x, feedback, *sources)
        sequences = 1 + self.step.num_memories
        return results[0], list(results[1:sequences]), placed(results[sequences:], keep)


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        loops: Loops,
        keep: Sequence[bool],
        window: int | None,
        noted: bool,
        x: Tensor,
        feedback: Tensor | None,
        *sources: Any,
    ) -> tuple[Tensor, ...]:
        x = time_major(x)
        results, notes = loops.forward(Call(x, sources, keep, window, feedback), noted)
        ctx.loops, ctx.keep = loops, keep
        ctx.window = window if results[0].shape != x.shape else None
        ctx.numbers = [None if isinstance(source, Tensor) else source for source in sources]
        if feedback is not None:  # what the neurons got, with what was fed back
            x, notes = cast(Tensor, notes), None
            if feedback.requires_grad:
                notes = results[0].clone()  # the caller may write into the outputs
        held = (source for source in sources if isinstance(source, Tensor))
        ctx.save_for_backward(x, notes, feedback, *held)
        ctx.set_materialize_grads(False)
        # As on the reference loop, where a backward pass then says so.
        has_gradient = loops.woven.has_gradient
        kept = [has for has, one in zip(has_gradient[1:], keep, strict=True) if one]
        differentiable = (*has_gradient, *kept)
        ctx.mark_non_differentiable(
            *(one for one, has in zip(results, differentiable, strict=True) if not has)
        )
        return results

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            raise BackendError(TWICE)
        if any(gradient is not None and is_legacy_batchedtensor(gradient) for gradient in gradients):
            raise BackendError(BATCHED)
        x, notes, feedback, *tensors = ctx.saved_tensors
        waiting = iter(tensors)
        sources = [next(waiting) if number is None else number for number in ctx.numbers]
        to_x, *gets = ctx.loops.woven.gets_gradient
        gets = placed(gets, [True] * ctx.loops.step.num_memories + list(ctx.loops.learned))
        wanted = [one and number is None for one, number in zip(gets, ctx.numbers, strict=True)]
        # Whoever kept the input may have changed its memory layout.
        call = Call(time_major(x), sources, ctx.keep, ctx.window, feedback)
        found = ctx.loops.backward(call, gradients, wanted, notes)
        if not to_x:
            found[0] = None
        to_feedback = None
        if feedback is not None and notes is not None and found[0] is not None:  # the notes are the outputs
            to_feedback = found[0][1:].flatten(0, -2).t() @ notes[:-1].flatten(0, -2)
        return None, None, None, None, found[0], to_feedback, *found[1:]


TWICE = (
    "A compiled loop cannot be differentiated twice (create_graph=True). Run the forward pass within "
    "`with spikeloom.loom.backend('torch'):`."
)
BATCHED = (
    "A compiled loop takes one gradient at a time, not a batch of them (is_grads_batched=True). Run the "
    "forward pass within `with spikeloom.loom.backend('torch'):`."
)


def time_major(x: Tensor) -> Tensor:
    """``x`` ``[T, *]`` with dense steps, one after the other: itself, in any memory format, or a copy."""
    x = written(x)
    step = x[0]
    dense = x.stride(0) == step.numel() or x.shape[0] == 1
    if dense and (step.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense(step)):
        return x
    strides = torch.empty_like(step, device="meta").stride()  # dense, in the order of those of a step
    return x.new_empty_strided(x.shape, (step.numel(), *strides)).copy_(x)


def written(x: Tensor) -> Tensor:
    """``x``, or a copy where memory does not hold its numbers: PyTorch negates lazily, and keeps no zeros."""
    return x.clone() if x.is_neg() or x._is_zerotensor() else x


def laid_out(values: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """``values`` in the memory layout of ``like``, and in its type or the given one."""
    values, dtype = written(values), dtype or like.dtype
    if values.stride() == like.stride() and values.dtype == dtype:
        return values
    return torch.empty_like(like, dtype=dtype).copy_(values)


def spread(source: Tensor, x: Tensor, dtype: torch.dtype) -> Tensor:
    """One number, or one per neuron in the memory layout of a step of ``x``."""
    if source.numel() == 1:
        return written(source).to(dtype)
    return laid_out(source.expand(x.shape[1:]), x[0], dtype)


def chosen(
    made: Sequence[Tensor | None], sources: Sequence[Source], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Of the gradients per neuron those that are wanted, in the shape of their source.

    They are summed in an order that never changes.
    """
    return [
        _summed_to(gradient, source) if one and gradient is not None and isinstance(source, Tensor) else None
        for gradient, source, one in zip(made, sources, wanted, strict=True)
    ]


def _summed_to(gradient: Tensor, source: Tensor) -> Tensor:
    """A gradient per neuron, summed to the shape of what was broadcast."""
    if gradient.numel() == source.numel():
        return gradient.to(source.dtype).reshape(source.shape)
    added = gradient.dim() - source.dim()
    axes = (*range(added), *(added + axis for axis, size in enumerate(source.shape) if size == 1))
    if gradient.device.type != "cpu":
        total = gradient.sum(axes, dtype=torch.float64)
    else:  # NumPy sums in one thread
        total = torch.from_numpy(np.asarray(gradient.double().numpy().sum(axis=axes)))
    return total.to(source.dtype).reshape(source.shape)
