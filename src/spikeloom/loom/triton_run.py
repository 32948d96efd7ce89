"""Running a pair of Triton's kernels on tensors of a CUDA device; under Triton's interpreter, of the CPU."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spikeloom.loom import triton_math, triton_memory
from spikeloom.loom.backends import computed_in, interprets
from spikeloom.loom.cache import load_module
from spikeloom.loom.running import Call, CannotCompile, Loops, Source, chosen, laid_out, spread
from spikeloom.loom.step import Woven, placed
from spikeloom.loom.triton_loop import chunk_of, emit, num_notes, numbers_of, width
from spikeloom.loom.triton_operations import on_cuda

HELPERS = (triton_math, triton_memory)
# With 1 to 8 warps, and 2 or 4 neurons of float32 per thread, an H200 is as fast within 3 %. With 1 or 8
# neurons it is up to a tenth slower, and so it is with chunks of 2 or 3 steps in long sequences
# (benchmarks/results/tune_triton.json).
WARPS = 4
THREADS = 32 * WARPS
PROGRAMS = 1024  # enough to keep every multiprocessor busy; with fewer, a thread gets fewer neurons


class TritonLoops(Loops):
    """Kernels that are printed for a type and a size of chunks, and compiled with their first use.

    Half precision is computed and remembered in float32; the output has the input's type. All work is put on
    the current stream of the input's device, and nothing waits for it.

    Args:
        woven: as for :class:`Loops`.
    """

    def __init__(self, woven: Woven):
        super().__init__(woven)
        self.printed = woven if interprets() else woven._replace(step=on_cuda(self.step))
        self.literals = numbers_of(self.printed)
        self.modules: dict[tuple[torch.dtype, int], Any] = {}
        self.launchers: dict[Any, Any] = {}

    def forward(self, call: Call, noted: bool = False) -> tuple[tuple[Tensor, ...], Tensor | None]:
        x, sources, keep = call[:3]
        real = computed_in(x.dtype)
        outputs = (torch.empty_like(x), *(torch.empty_like(x[0], dtype=real) for _ in keep))
        sequences = tuple(torch.empty_like(x, dtype=real) for wanted in keep if wanted)
        notes = self._empty_notes(x) if noted else None
        self._run_forward(x, sources, outputs, placed(sequences, keep), notes)
        return outputs + sequences, notes

    def backward(
        self,
        call: Call,
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
        notes: Tensor | None = None,
    ) -> list[Tensor | None]:
        x, sources, keep = call[:3]
        real, num_memories = computed_in(x.dtype), self.step.num_memories
        if notes is None:
            notes = self._empty_notes(x)
            nothing = [None] * num_memories
            self._run_forward(x, sources, [None, *nothing], nothing, notes)
        finals, sequences = gradients[1 : 1 + num_memories], placed(gradients[1 + num_memories :], keep)
        starts, each_start = _starts(sources[:num_memories], x)
        operands, each_operand = _operands(sources[num_memories:], x)
        last, each_last = _starts(finals, x)
        to_x = torch.empty_like(x)
        to_starts = [torch.empty_like(x[0], dtype=real) if one else None for one in wanted[:num_memories]]
        each = [one for one, learned in zip(each_operand, self.learned, strict=True) if learned]
        block = self._block(x)
        to_learned = [self._empty_sum(x, one, block) for one in each]
        arguments = [
            x,
            *starts,
            *self._laid_out(notes, x),
            *operands,
            None if gradients[0] is None else laid_out(gradients[0], x),
            *last,
            *(None if one is None else laid_out(one, x, real) for one in sequences),
            to_x,
            *to_starts,
            *to_learned,
        ]
        self._launch("backward", x, arguments, [*each_start, *each_operand, *each_last, *each], block)
        sums = (
            summed if one else summed.sum(dtype=torch.float64)
            for summed, one in zip(to_learned, each, strict=True)
        )
        return [to_x, *chosen([*to_starts, *placed(sums, self.learned)], sources, wanted)]

    def _run_forward(
        self,
        x: Tensor,
        sources: Sequence[Source],
        outputs: Sequence[Tensor | None],
        kept: Sequence[Tensor | None],
        notes: Tensor | None,
    ) -> None:
        num_memories = self.step.num_memories
        starts, each_start = _starts(sources[:num_memories], x)
        operands, each_operand = _operands(sources[num_memories:], x)
        noted = [None] * num_memories if notes is None else notes
        arguments = [x, *starts, *operands, *outputs, *kept, *noted]
        self._launch("forward", x, arguments, [*each_start, *each_operand], self._block(x))

    def _launch(
        self, name: str, x: Tensor, arguments: Sequence[Any], flags: Sequence[bool], block: int
    ) -> None:
        """Put a kernel on the stream: what Triton compiled for arguments of this kind, which it takes longer
        to look up than to run."""
        total, steps = x[0].numel(), len(x)
        if not total:
            return
        grid, chunk = (-(-total // block), 1, 1), chunk_of(steps)
        numbers = (steps, total, *self.literals[name])
        kinds = [_kind(argument) for argument in arguments]
        key = (
            name,
            x.dtype,
            x.device,
            chunk,
            block,
            total % 16 == 0,
            total == 1,
            total >> 31 > 0,
            *flags,
            *kinds,
        )
        with _on_device(x):
            if key in self.launchers:
                self.launchers[key][grid](*arguments, *numbers, *flags, block)
                return
            options = {"BLOCK": block, "num_warps": WARPS, "enable_fp_fusion": False}
            kernel = getattr(self._module(computed_in(x.dtype), chunk), f"{name}_loop")
            try:
                compiled = kernel[grid](*arguments, *numbers, *flags, **options)
            except Exception as error:  # Triton, its driver and the assembler raise what they like
                reason = f"Triton cannot compile its {name} loop ({type(error).__name__}: {error})"
                raise CannotCompile(reason) from error
            if compiled is not None:  # the interpreter compiles nothing
                self.launchers[key] = compiled

    def _module(self, real: torch.dtype, chunk: int) -> Any:
        """The kernels for a type and a size of chunks."""
        if (real, chunk) not in self.modules:
            self.modules[real, chunk] = load_module(emit(self.printed, real, chunk), HELPERS)
        return self.modules[real, chunk]

    def _block(self, x: Tensor) -> int:
        """Neurons of a program."""
        total, size = x[0].numel(), width(self.step, x.dtype == torch.float64)
        while size > 1 and total < PROGRAMS * THREADS * size:
            size //= 2
        return THREADS * size

    def _empty_sum(self, x: Tensor, each: bool, block: int) -> Tensor:
        """Room for the gradient of an operand: for each neuron, or for a partial sum of each program."""
        real, num_programs = computed_in(x.dtype), -(-x[0].numel() // block)
        return torch.empty_like(x[0], dtype=real) if each else x.new_empty(num_programs, dtype=real)

    def _empty_notes(self, x: Tensor) -> Tensor:
        """Room for notes of each memory ``[memories, rows, *]``, in the memory layout of a step of ``x``."""
        rows, total = num_notes(len(x), chunk_of(len(x))), x[0].numel()
        shape = (self.step.num_memories, rows, *x.shape[1:])
        strides = (rows * total, total, *x.stride()[1:])
        return torch.empty_strided(shape, strides, dtype=computed_in(x.dtype), device=x.device)

    def _laid_out(self, notes: Tensor, x: Tensor) -> Tensor:
        """The notes in the layout of ``x``, which whoever kept both may have changed."""
        expected = self._empty_notes(x)
        return notes if notes.stride() == expected.stride() else expected.copy_(notes)


def _kind(argument: Any) -> Any:
    """What Triton compiles anew for: another type, an address at which wide loads may not begin, or none."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.data_ptr() % 16 == 0
    return type(argument)


def _on_device(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """A block in which the input's device is the current one, on whose stream Triton puts kernels."""
    elsewhere = x.is_cuda and x.device.index != torch.cuda.current_device()
    return torch.cuda.device(x.device) if elsewhere else contextlib.nullcontext()


def _starts(sources: Sequence[Source | None], x: Tensor) -> tuple[list[Source], list[bool]]:
    """Memories, or gradients of memories, as kernels take them: a number, or (true) one for each neuron."""
    real = computed_in(x.dtype)
    values: list[Source] = []
    for source in sources:
        if isinstance(source, Tensor):
            step = x[0]
            whole = source.detach().expand(step.shape)
            values.append(laid_out(whole, step, real))
        elif real == torch.float64:  # a kernel takes numbers in float32
            values.append(torch.full_like(x[0], source or 0.0))
        else:
            values.append(float(source or 0.0))
    return values, [isinstance(value, Tensor) for value in values]


def _operands(sources: Sequence[Source], x: Tensor) -> tuple[list[Tensor], list[bool]]:
    """Operands as kernels take them: a tensor of one number, or (true) of one for each neuron."""
    tensors = [source for source in sources if isinstance(source, Tensor)]
    values = [spread(tensor.detach(), x, computed_in(x.dtype)) for tensor in tensors]
    return values, [value.numel() != 1 for value in values]
