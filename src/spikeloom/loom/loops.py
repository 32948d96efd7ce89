"""Running a pair of Numba's loops on the CPU: jobs, blocks, threads."""

from array import array
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from spikeloom.loom.backends import computed_in
from spikeloom.loom.native import REAL, Native, loops_of_file
from spikeloom.loom.pooled import Pooling, pooling
from spikeloom.loom.running import Call, Loops, Source, chosen, laid_out, spread
from spikeloom.loom.step import Woven, placed

BLOCK = 4096  # neurons at most: fewer cost more changes of pages, more leave the first-level cache
SAMPLES = 16  # in a block with feedback at least: for each block all weights pass through the cache
SMALLEST = 256  # neurons in a block at least, where a step is cut into as many blocks as there are threads
BUFFER = 1 << 17  # values of recomputed memories: 512 KiB in float32, within the second-level cache
SERIAL = 1 << 15  # element-steps; less work is done by the calling thread
TAKEN = 4  # ranges per thread, so that one that is held up does less
Argument = tuple[int, int]
"""Address, and length: of a vector its numbers, of a sequence its time steps."""


class NumbaLoops(Native, Loops):
    """Loops that run the row functions of an emitted module on the CPU, in float32 and float64; bfloat16
    is read and written, and computed in float32.

    Args:
        module: the emitted module.
        woven: as for :class:`Loops`.
    """

    def __init__(self, module: ModuleType, woven: Woven):
        Native.__init__(self, module)
        self.driver = loops_of_file(Path(__file__).with_name("numba_driver.py"))
        Loops.__init__(self, woven)
        literals = [
            torch.tensor([1.0, 0.0, *values], dtype=torch.float64, device="cpu")
            for values in (woven.forward_literals, woven.backward_literals)
        ]
        self.literals = {dtype: [one.to(dtype) for one in literals] for dtype in REAL}

    def run(
        self,
        name: str,
        x: Tensor,
        arguments: Sequence[Argument],
        pooled: Pooling | None,
        feedback: Tensor | None,
    ) -> None:
        """Run a loop on all neurons, in as many threads as PyTorch uses.

        Args:
            name: ``'forward'`` or ``'backward'``.
            x: the input, time-major.
            arguments: of the loop.
            pooled: how its outputs are pooled, if they are.
            feedback: by which they are fed back, if they are.
        Raises:
            MemoryError: there is too little for its buffers.
        """
        num_steps, total = x.shape[0], x[0].numel()
        if not total:
            return
        num_threads = torch.get_num_threads() if num_steps * total >= SERIAL else 1
        unit = pooled.unit if pooled else SMALLEST if feedback is None else len(feedback)
        most = max(BLOCK // unit, 0 if feedback is None else SAMPLES)
        block = max(unit, min(most, -(-total // (num_threads * unit))) * unit)
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
        what = f"a {name} loop over {num_steps} steps of {total} neurons"
        self.driver.run_job(name, x.dtype, job, min(num_threads, num_ranges), what)

    def forward(self, call: Call, noted: bool = False) -> tuple[tuple[Tensor, ...], Tensor | None]:
        x, sources, keep, window, feedback = call
        pooled, real = pooling(x, window) if window else None, computed_in(x.dtype)
        driven = None if feedback is None else torch.empty_like(x)
        weights = None if feedback is None else feedback.t().contiguous()
        outputs = (
            pooled.output(x) if pooled else torch.empty_like(x),
            *(torch.empty_like(x[0], dtype=real) for _ in keep),
        )
        sequences = tuple(torch.empty_like(x, dtype=real) for wanted in keep if wanted)
        inputs, _held = _sources(sources, x, real)
        arguments = [
            (self.address("forward_row", x.dtype), len(keep)),
            (self.address("prepare_forward", real), self.step.num_operands),
            (self.driver.address("pool", real) if pooled else 0, self.module.HOISTED[0]),
            _vector(self.literals[real][0]),
            _sequence(x),
            *inputs,
            _sequence(outputs[0]),
            *map(_vector, outputs[1:]),
            *map(_sequence, placed(sequences, keep)),
            _sequence(driven),
            _matrix(weights),
        ]
        self.run("forward", x, arguments, pooled, feedback)
        return outputs + sequences, driven

    def backward(
        self,
        call: Call,
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
        notes: Tensor | None = None,
    ) -> list[Tensor | None]:
        x, sources, keep, window, feedback = call
        pooled = pooling(x, window) if window else None
        weights = None if feedback is None else feedback.contiguous()
        if window and not pooled:
            x = x.contiguous()
            pooled = pooling(x, window)
        real, num_memories = computed_in(x.dtype), self.step.num_memories
        finals, steps = gradients[1 : 1 + num_memories], placed(gradients[1 + num_memories :], keep)
        to_kept = [None if gradient is None else laid_out(gradient, x, real) for gradient in steps]
        like_output = pooled.output(x) if pooled else x
        to_output = None if gradients[0] is None else laid_out(gradients[0], like_output)
        to_x = torch.empty_like(x)
        to_starts = [torch.empty_like(x[0], dtype=real) for _ in range(num_memories)]
        to_operands = [torch.empty_like(x[0], dtype=real) for one in self.learned if one]
        inputs, _held = _sources(sources, x, real)
        last, _also_held = _sources([0.0 if one is None else one for one in finals], x, real)
        forwards, backwards = self.module.HOISTED
        arguments = [
            (self.address("memory_row", x.dtype), num_memories),
            (self.address("prepare_forward", real), self.step.num_operands),
            (self.address("prepare_backward", real), forwards),
            (self.address("backward_row", x.dtype), backwards),
            (self.driver.address("spread", real) if pooled else 0, self.step.num_learned),
            *map(_vector, self.literals[real]),
            _sequence(x),
            *inputs,
            _sequence(to_output),
            *last,
            *map(_sequence, to_kept),
            _sequence(to_x),
            *map(_vector, (*to_starts, *to_operands)),
            _matrix(weights),
        ]
        self.run("backward", x, arguments, pooled, feedback)
        return [to_x, *chosen([*to_starts, *placed(to_operands, self.learned)], sources, wanted)]


def _sequence(x: Tensor | None) -> Argument:
    """A time-major tensor; ``None`` is a sequence of no steps."""
    return (0, 0) if x is None else (x.data_ptr(), x.shape[0])


def _matrix(weights: Tensor | None) -> Argument:
    """Square weights, with the length of a row; or nothing."""
    return (0, 0) if weights is None else (weights.data_ptr(), len(weights))


def _vector(x: Tensor) -> Argument:
    return x.data_ptr(), x.numel()


def _sources(sources: Sequence[Source], x: Tensor, real: torch.dtype) -> tuple[list[Argument], list[Any]]:
    """Numbers and tensors as one number each, or as one per neuron in the memory layout of a step of ``x``;
    of the type ``real``.

    Returns:
        the arguments, and what has to live as long as they are used
    """
    values = [0.0 if isinstance(source, Tensor) else source for source in sources]
    numbers = array("d" if real is torch.float64 else "f", values)  # a tensor would take longer to make
    arguments: list[Argument] = []
    held: list[Any] = [numbers]
    address, _ = numbers.buffer_info()
    for place, source in enumerate(sources):
        if isinstance(source, Tensor):
            held.append(spread(source.detach(), x, real))
            arguments.append(_vector(held[-1]))
        else:
            arguments.append((address + place * numbers.itemsize, 1))
    return arguments, held
