"""Running a pair of loops on tensors: memory layouts, outputs, and autograd."""

from array import array
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from spikeloom.errors import BackendError
from spikeloom.loom import threads
from spikeloom.loom.native import REAL, Native
from spikeloom.loom.numba_job import DONE, RANGES
from spikeloom.loom.numba_loop import Step
from spikeloom.loom.pooled import Pooling, pooling

BLOCK = 4096  # neurons at most: fewer cost more changes of pages, more leave the first-level cache
SMALLEST = 256  # neurons in a block at least, where a step is cut into as many blocks as there are threads
BUFFER = 1 << 17  # values of recomputed memories: 512 KiB in float32, within the second-level cache
SERIAL = 1 << 15  # element-steps; less work is done by the calling thread
TAKEN = 4  # ranges per thread, so that one that is held up does less
Source = float | Tensor
Argument = tuple[int, int]
"""Address, and length: of a vector its numbers, of a sequence its time steps."""


class Loops(Native):
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
        super().__init__(module)
        self.step, self.learned = step, tuple(learned)
        self.forward_literals, self.backward_literals = tuple(forward_literals), tuple(backward_literals)
        literals = [
            torch.tensor([1.0, 0.0, *values], dtype=torch.float64, device="cpu")
            for values in (forward_literals, backward_literals)
        ]
        self.literals = {dtype: [one.to(dtype) for one in literals] for dtype in REAL}

    def run(self, name: str, x: Tensor, arguments: Sequence[Argument], pooled: Pooling | None) -> None:
        """Run a loop on all neurons, in as many threads as PyTorch uses.

        Args:
            name: ``'forward'`` or ``'backward'``.
            x: the input, time-major.
            arguments: of the loop.
            pooled: how its outputs are pooled, if they are.
        Raises:
            MemoryError: there is too little for its buffers.
        """
        num_steps, total = x.shape[0], x[0].numel()
        if not total:
            return
        num_threads = torch.get_num_threads() if num_steps * total >= SERIAL else 1
        unit = pooled.unit if pooled else SMALLEST
        block = max(unit, min(BLOCK // unit, -(-total // (num_threads * unit))) * unit)
        chunk = min(num_steps, max(8, BUFFER // (block * max(self.step.num_memories, 1))))
        num_blocks = -(-total // block)
        size = -(-num_blocks // min(num_blocks, TAKEN * num_threads)) * block
        num_ranges = -(-total // size)
        windows = (
            [total // pooled.size**2, pooled.size, pooled.width, pooled.inner] if pooled else [total, 0, 0, 0]
        )
        job = array("q", [0, 0, num_ranges, total, size, num_steps, block, chunk, *windows])
        for argument in arguments:
            job.extend(argument)
        threads.run(self.native(name, x.dtype), job.buffer_info()[0], min(num_threads, num_ranges))
        if job[DONE] != job[RANGES]:
            raise MemoryError(
                f"Too little memory for a {name} loop over {num_steps} steps of {total} neurons."
            )

    def __call__(
        self,
        x: Tensor,
        starts: Sequence[Source],
        operands: Sequence[Tensor],
        keep: Sequence[bool],
        window: int | None = None,
    ) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
        """Run over time.

        Args:
            x: ``[T, *]``, float32 or float64.
            starts: each memory before the first step: a number, or a tensor that broadcasts to a step's
                shape.
            operands: the tensors that the step reads, which broadcast likewise.
            keep: the memories of which every step is wanted.
            window: of average pooling of the output ``[T, N, C, H, W]``, where its size divides H and W.
        Returns:
            output ``[T, *]``, the memories after the last step, the memories after every step ``[T, *]`` or
            ``None``
        """
        results = _Run.apply(self, tuple(keep), window, x, *starts, *operands)
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
        ctx: Any, loops: Loops, keep: tuple[bool, ...], window: int | None, x: Tensor, *sources: Any
    ) -> tuple[Tensor, ...]:
        x = time_major(x)
        pooled = pooling(x, window) if window else None
        results = run_forward(loops, x, sources, keep, pooled)
        ctx.loops, ctx.keep, ctx.window = loops, keep, window if pooled else None
        ctx.numbers = [None if isinstance(source, Tensor) else source for source in sources]
        ctx.save_for_backward(x, *(source for source in sources if isinstance(source, Tensor)))
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            raise BackendError(TWICE)
        if any(gradient is not None and is_legacy_batchedtensor(gradient) for gradient in gradients):
            raise BackendError(BATCHED)
        x, *tensors = ctx.saved_tensors
        waiting = iter(tensors)
        sources = [next(waiting) if number is None else number for number in ctx.numbers]
        num_memories = ctx.loops.step.num_memories
        starts = [isinstance(source, Tensor) for source in sources[:num_memories]]
        wanted = [*starts, *ctx.loops.learned]
        found = run_backward(ctx.loops, x, sources, ctx.keep, gradients, wanted, ctx.window)
        return None, None, None, *found


TWICE = (
    "A compiled loop cannot be differentiated twice (create_graph=True). Run the forward pass within "
    "`with spikeloom.loom.backend('torch'):`."
)
BATCHED = (
    "A compiled loop takes one gradient at a time, not a batch of them (is_grads_batched=True). Run the "
    "forward pass within `with spikeloom.loom.backend('torch'):`."
)


def run_forward(
    loops: Loops, x: Tensor, sources: Sequence[Source], keep: Sequence[bool], pooled: Pooling | None = None
) -> tuple[Tensor, ...]:
    """Output, memories after the last step, and sequences of the memories to keep, for a time-major ``x``."""
    outputs = (pooled.output(x) if pooled else torch.empty_like(x), *(torch.empty_like(x[0]) for _ in keep))
    sequences = tuple(torch.empty_like(x) for wanted in keep if wanted)
    waiting = iter(sequences)
    inputs, _held = _sources(sources, x)
    arguments = [
        _vector(loops.literals[x.dtype][0]),
        _sequence(x),
        *inputs,
        _sequence(outputs[0]),
        *map(_vector, outputs[1:]),
        *(_sequence(next(waiting) if wanted else None) for wanted in keep),
    ]

    loops.run("forward", x, arguments, pooled)
    return outputs + sequences


def run_backward(
    loops: Loops,
    x: Tensor,
    sources: Sequence[Source],
    keep: Sequence[bool],
    gradients: Sequence[Tensor | None],
    wanted: Sequence[bool],
    window: int | None = None,
) -> list[Tensor | None]:
    """The gradients of the input and of those sources that are wanted, from those of all results."""
    x = time_major(x)  # whoever kept it may have changed its memory layout
    pooled = pooling(x, window) if window else None
    if window and not pooled:
        x = x.contiguous()
        pooled = pooling(x, window)
    num_memories = loops.step.num_memories
    finals, kept = gradients[1 : 1 + num_memories], iter(gradients[1 + num_memories :])
    steps = [next(kept) if one else None for one in keep]
    to_kept = [None if gradient is None else _like(gradient, x) for gradient in steps]
    to_output = None if gradients[0] is None else _like(gradients[0], pooled.output(x) if pooled else x)
    to_x = torch.empty_like(x)
    to_starts = [torch.empty_like(x[0]) for _ in range(num_memories)]
    to_operands = [torch.empty_like(x[0]) for one in loops.learned if one]
    inputs, _held = _sources(sources, x)
    last, _also_held = _sources([0.0 if one is None else one for one in finals], x)
    arguments = [
        *map(_vector, loops.literals[x.dtype]),
        _sequence(x),
        *inputs,
        _sequence(to_output),
        *last,
        *map(_sequence, to_kept),
        _sequence(to_x),
        *map(_vector, (*to_starts, *to_operands)),
    ]

    loops.run("backward", x, arguments, pooled)
    found = iter(to_operands)
    made = [*to_starts, *(next(found) if one else None for one in loops.learned)]
    return [
        to_x,
        *(
            _summed_to(gradient, source)
            if one and gradient is not None and isinstance(source, Tensor)
            else None
            for gradient, source, one in zip(made, sources, wanted, strict=True)
        ),
    ]


def time_major(x: Tensor) -> Tensor:
    """``x`` ``[T, *]`` with dense steps, one after the other: itself, in any memory format, or a copy."""
    x = _written(x)
    step = x[0]
    dense = x.stride(0) == step.numel() or x.shape[0] == 1
    if dense and (step.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense(step)):
        return x
    return x.contiguous()


def _sequence(x: Tensor | None) -> Argument:
    """A time-major tensor; ``None`` is a sequence of no steps."""
    return (0, 0) if x is None else (x.data_ptr(), x.shape[0])


def _vector(x: Tensor) -> Argument:
    return x.data_ptr(), x.numel()


def _written(x: Tensor) -> Tensor:
    """``x``, or a copy where memory does not hold its numbers: PyTorch negates lazily, and keeps no zeros."""
    return x.clone() if x.is_neg() or x._is_zerotensor() else x


def _like(gradient: Tensor, x: Tensor) -> Tensor:
    """A gradient in the memory layout of ``x``."""
    gradient = _written(gradient)
    if gradient.stride() == x.stride() and gradient.dtype == x.dtype:
        return gradient
    return torch.empty_like(x).copy_(gradient)


def _sources(sources: Sequence[Source], x: Tensor) -> tuple[list[Argument], list[Tensor]]:
    """Numbers and tensors as one number each, or as one per neuron in the memory layout of a step of ``x``.

    Returns:
        the arguments, and the tensors that have to live as long as they are used
    """
    values = [0.0 if isinstance(source, Tensor) else source for source in sources]
    numbers = torch.tensor(values, dtype=x.dtype, device=x.device)
    arguments, held = [], [numbers]
    for place, source in enumerate(sources):
        if isinstance(source, Tensor):
            held.append(_spread(source.detach(), x))
            arguments.append(_vector(held[-1]))
        else:
            arguments.append((numbers.data_ptr() + place * numbers.element_size(), 1))
    return arguments, held


def _spread(source: Tensor, x: Tensor) -> Tensor:
    """One number, or one per neuron in the memory layout of a step of ``x``."""
    if source.numel() == 1:
        return _written(source).to(x.dtype)
    step = x[0]
    return _like(source, step) if source.shape == step.shape else torch.empty_like(step).copy_(source)


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
