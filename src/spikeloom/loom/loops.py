"""Running a pair of loops on tensors: memory layouts, outputs, and autograd."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeloom.errors import BackendError
from spikeloom.loom import threads
from spikeloom.loom.cache import reload_module
from spikeloom.loom.numba_loop import Step

BLOCK = 1024  # neurons: input, output and memories of a block stay in the first-level cache
BUFFER = 1 << 16  # values of recomputed memories: 256 KiB in float32, within the second-level cache
Source = float | Tensor


class Loops:
    """The compiled loops of a step, with its literals.

    Args:
        module: the emitted module.
        step: what it was emitted from.
        forward_literals, backward_literals: of its plans.
        learned: which operands get a gradient.
    """

    def __init__(
        self,
        module: ModuleType,
        step: Step,
        forward_literals: Sequence[float],
        backward_literals: Sequence[float],
        learned: Sequence[bool],
    ):
        self.module, self.step, self.learned = module, step, tuple(learned)
        self.proven: set[tuple[str, str]] = set()  # loops that have run, by the type that they compute in
        literals = [np.array([1.0, 0.0, *values]) for values in (forward_literals, backward_literals)]
        with np.errstate(over="ignore"):  # as in ATen, a number that is too large is infinite
            self.literals = {
                dtype: [one.astype(dtype) for one in literals] for dtype in (np.float32, np.float64)
            }

    def run(
        self, name: str, arguments: list[np.ndarray], sizes: tuple[int, ...], steps: int, total: int
    ) -> None:
        """Call a loop on all neurons; compiled code that cannot be loaded is compiled anew, once."""
        kind = (name, arguments[0].dtype.char)

        def call(low: int, high: int) -> None:
            getattr(self.module, name)(*arguments, low, high, *sizes)

        try:
            threads.split(call, total, BLOCK, steps * total)
        except Exception:
            if kind in self.proven:
                raise
            self.module = reload_module(self.module)
            threads.split(call, total, BLOCK, steps * total)
        self.proven.add(kind)

    def __call__(
        self, x: Tensor, starts: Sequence[Source], operands: Sequence[Tensor], keep: Sequence[bool]
    ) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
        """Run over time.

        Args:
            x: ``[T, *]``, float32 or float64.
            starts: each memory before the first step: a number, or a tensor that broadcasts to a step's
                shape.
            operands: the tensors that the step reads, which broadcast likewise.
            keep: the memories of which every step is wanted.
        Returns:
            output ``[T, *]``, the memories after the last step, the memories after every step ``[T, *]`` or
            ``None``
        """
        results = _Run.apply(self, tuple(keep), x, *starts, *operands)
        num_memories = self.step.num_memories
        sequences = list(results[1 + num_memories :])
        return (
            results[0],
            list(results[1 : 1 + num_memories]),
            [sequences.pop(0) if one else None for one in keep],
        )


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loops: Loops, keep: tuple[bool, ...], x: Tensor, *sources: Any
    ) -> tuple[Tensor, ...]:
        x = time_major(x)
        outputs = (torch.empty_like(x), *(torch.empty_like(x[0]) for _ in keep))
        sequences = tuple(torch.empty_like(x) for wanted in keep if wanted)
        waiting = iter(sequences)
        empty = _rows(x[:0])
        arguments = [
            loops.literals[empty.dtype.type][0],
            _rows(x),
            *(_source(source, x) for source in sources),
            _rows(outputs[0]),
            *(_flat(final) for final in outputs[1:]),
            *(_rows(next(waiting)) if wanted else empty for wanted in keep),
        ]
        num_steps, total = arguments[1].shape

        loops.run("forward", arguments, (BLOCK,), num_steps, total)
        ctx.loops, ctx.keep = loops, keep
        ctx.numbers = [None if isinstance(source, Tensor) else source for source in sources]
        ctx.save_for_backward(x, *(source for source in sources if isinstance(source, Tensor)))
        ctx.set_materialize_grads(False)
        return outputs + sequences

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            raise BackendError(
                "A compiled loop cannot be differentiated twice (create_graph=True). Run the forward pass "
                "within `with spikeloom.loom.backend('torch'):`."
            )
        x, *tensors = ctx.saved_tensors
        x = time_major(x)  # whoever kept it may have changed its memory layout
        loops, waiting = ctx.loops, iter(tensors)
        sources = [next(waiting) if number is None else number for number in ctx.numbers]
        num_memories = loops.step.num_memories
        empty = _rows(x[:0])
        finals, kept = gradients[1 : 1 + num_memories], iter(gradients[1 + num_memories :])
        sequences = [next(kept) if wanted else None for wanted in ctx.keep]
        to_x = torch.empty_like(x)
        to_starts = [torch.empty_like(x[0]) for _ in range(num_memories)]
        to_operands = [torch.empty_like(x[0]) for wanted in loops.learned if wanted]
        literals = loops.literals[empty.dtype.type]
        arguments = [
            *literals,
            _rows(x),
            *(_source(source, x) for source in sources),
            empty if gradients[0] is None else _rows(_like(gradients[0], x)),
            *(_source(0.0 if gradient is None else gradient, x) for gradient in finals),
            *(empty if gradient is None else _rows(_like(gradient, x)) for gradient in sequences),
            _rows(to_x),
            *(_flat(gradient) for gradient in (*to_starts, *to_operands)),
        ]
        num_steps, total = arguments[2].shape
        chunk = min(num_steps, max(8, BUFFER // (BLOCK * max(num_memories, 1))))

        loops.run("backward", arguments, (BLOCK, chunk), num_steps, total)
        starts = [
            _summed_to(gradient, source) if isinstance(source, Tensor) else None
            for gradient, source in zip(to_starts, sources, strict=False)
        ]
        found = iter(to_operands)
        operands = [
            _summed_to(next(found), source) if wanted else None
            for source, wanted in zip(sources[num_memories:], loops.learned, strict=True)
        ]
        return None, None, to_x, *starts, *operands


def time_major(x: Tensor) -> Tensor:
    """``x`` ``[T, *]`` with dense steps, one after the other: itself, in any memory format, or a copy."""
    step = x[0]
    dense = x.stride(0) == step.numel() or x.shape[0] == 1
    if dense and (step.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense(step)):
        return x
    return x.contiguous()


def _rows(x: Tensor) -> np.ndarray:
    """A time-major tensor as ``[T, neurons]``, in the order in which the neurons lie in memory."""
    num_steps, total = x.shape[0], x[0].numel() if x.shape[0] else 0
    return x.detach().as_strided((num_steps, total), (total, 1)).numpy()


def _flat(x: Tensor) -> np.ndarray:
    return x.detach().as_strided((x.numel(),), (1,)).numpy()


def _like(gradient: Tensor, x: Tensor) -> Tensor:
    """A gradient in the memory layout of ``x``."""
    if gradient.stride() == x.stride() and gradient.dtype == x.dtype:
        return gradient
    return torch.empty_like(x).copy_(gradient)


def _source(source: Source, x: Tensor) -> np.ndarray:
    """A number or a tensor as one number, or as one per neuron in the memory layout of a step of ``x``."""
    if not isinstance(source, Tensor):
        return torch.full((1,), source, dtype=x.dtype).numpy()
    if source.numel() == 1:
        return source.detach().reshape(1).to(x.dtype).numpy()
    return _flat(
        _like(source.detach(), x[0]) if source.shape == x[0].shape else torch.empty_like(x[0]).copy_(source)
    )


def _summed_to(gradient: Tensor, source: Tensor) -> Tensor:
    """A gradient per neuron, summed to the shape of what was broadcast, in an order that never changes."""
    if gradient.shape == source.shape:
        return gradient.to(source.dtype)
    values = gradient.double().numpy()  # NumPy sums in one thread
    added = gradient.dim() - source.dim()
    values = values.sum(axis=tuple(range(added))) if added else values
    axes = tuple(axis for axis, size in enumerate(source.shape) if size == 1 and values.shape[axis] != 1)
    if axes:
        values = values.sum(axis=axes, keepdims=True)
    return torch.from_numpy(np.asarray(values)).to(source.dtype).reshape(source.shape)
