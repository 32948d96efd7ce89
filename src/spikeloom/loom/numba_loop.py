"""Plans printed as Numba source: a row function over a block of neurons, in a loop over time.

A block of neurons keeps its memories in the cache for the whole sequence. The forward loop reads the input
and writes the output, once. The backward loop first runs forwards again, keeping the memories of a chunk of
time steps, then runs through the chunk backwards: nothing of the size of the sequence is saved but the input.
What depends on parameters and literals only is computed once per block.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.plan import Argument, Instruction, Literal, Plan, Value

_HEADER = '''\
"""Emitted by spikeloom.loom.numba_loop."""

import math

import numpy as np
from numba import njit

from spikeloom.loom.numba_math import exp, fill, sigmoid, tanh

jit = njit(nogil=True, error_model="numpy", cache=True)
'''


@dataclass(frozen=True)
class Step:
    """What a pair of loops is made from.

    Args:
        forward: inputs x, memories, operands; outputs output, memories.
        backward: the same inputs, then the gradients of output and memories; outputs the gradients of x,
            memories, and learned operands.
        num_memories, num_operands: how many of the inputs they are.
    """

    forward: Plan
    backward: Plan
    num_memories: int
    num_operands: int

    @property
    def num_learned(self) -> int:
        """Operands that get a gradient."""
        return len(self.backward.outputs) - 1 - self.num_memories


def emit(step: Step) -> str:
    """The source of a module with the functions ``forward`` and ``backward``."""
    memories, operands = _names("m", step.num_memories), _names("p", step.num_operands)
    gradients, learned = _names("g", step.num_memories), _names("q", step.num_learned)
    first = 1 + step.num_memories
    fixed = {Value(first + place): name for place, name in enumerate(operands)}
    forward, backward = _Row(step.forward, fixed, "h"), _Row(step.backward, fixed, "k")
    inputs = ["x", *memories, *operands]
    parts = [
        _HEADER,
        forward.prologue("prepare_forward"),
        backward.prologue("prepare_backward"),
        forward.function("forward_row", inputs, ["out", *memories]),
        forward.function("memory_row", inputs, ["", *memories]),
        backward.function(
            "backward_row",
            [*inputs, "go", *gradients],
            ["gx", *gradients, *(f"{name} +" for name in learned)],
        ),
        _forward_loop(memories, operands, forward),
        _backward_loop(memories, operands, gradients, learned, forward, backward),
    ]
    return "\n\n".join(parts)


class _Row:
    """One plan as functions of a block of neurons; ``fixed`` names the inputs that are constant over time."""

    def __init__(self, plan: Plan, fixed: dict[Value, str], prefix: str):
        self.plan, self.fixed = plan, fixed
        early: set[Argument] = set(fixed)
        self.early: list[Instruction] = []
        self.late: list[Instruction] = []
        for instruction in plan.instructions:
            values = [argument for argument in instruction.arguments if isinstance(argument, Value)]
            if values and early.issuperset(values):
                early.add(instruction.result)
                self.early.append(instruction)
            else:
                self.late.append(instruction)
        read = {argument for instruction in self.late for argument in instruction.arguments} | set(
            plan.outputs
        )
        # Truth values would need arrays of another type, so what they are made from is kept instead.
        kept = [one for one in self.early if one.result in read and not OPERATIONS[one.operation].boolean]
        boolean = [one for one in self.early if OPERATIONS[one.operation].boolean]
        if boolean:
            self.early, self.late, kept = [], list(plan.instructions), []
        self.hoisted = {one.result: f"{prefix}{place}" for place, one in enumerate(kept)}

    @property
    def names(self) -> list[str]:
        """The arrays of what is computed once per block."""
        return list(self.hoisted.values())

    def prologue(self, name: str) -> str:
        """A function that fills the arrays of :attr:`names`."""
        operands = list(self.fixed.values())
        lines = [f"@jit\ndef {name}({_listed('c', operands, self.names)}):"]
        lines += self._body(self.early, self.fixed, self.hoisted.items())
        return "\n".join(lines) + "\n"

    def function(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> str:
        """A function of blocks: an output with an empty name is not written, one with ``+`` accumulates."""
        loads = {Value(place): source for place, source in enumerate(inputs)} | self.hoisted
        written = [output for output in outputs if output and not output.endswith("+")]
        extra = [output for output in written if output not in inputs]
        extra += [output.removesuffix(" +") for output in outputs if output.endswith("+")]
        lines = [f"@jit\ndef {name}({_listed('c', inputs, self.names, extra)}):"]
        stores = [(value, output) for value, output in zip(self.plan.outputs, outputs, strict=True) if output]
        lines += self._body(self.late, loads, stores)
        return "\n".join(lines) + "\n"

    def _body(
        self,
        instructions: Sequence[Instruction],
        loads: dict[Value, str],
        stores: Iterable[tuple[Argument, str]],
    ) -> list[str]:
        stores = list(stores)
        if not stores:
            return ["    return"]
        used: set[Argument] = {value for value, _ in stores}
        kept = []
        for instruction in reversed(instructions):
            if instruction.result in used:
                kept.insert(0, instruction)
                used.update(instruction.arguments)
        read = [value for value in loads if value in used]
        literals = sorted(argument.number for argument in used if isinstance(argument, Literal))
        size = loads[read[0]] if read else stores[0][1].removesuffix(" +")
        lines = ["    one, zero = c[0], c[1]"]
        lines += [f"    c{number} = c[{number + 2}]" for number in literals]
        lines += [f"    for i in range({size}.shape[0]):"]
        lines += [f"        {value} = {loads[value]}[i]" for value in read]
        for instruction in kept:
            expression = OPERATIONS[instruction.operation].template.format(*map(str, instruction.arguments))
            lines.append(f"        {instruction.result} = {expression}")
        for value, output in stores:
            name, _, plus = output.partition(" ")
            lines.append(f"        {name}[i] {plus}= {value}")
        return lines


def _forward_loop(memories: list[str], operands: list[str], row: _Row) -> str:
    starts, finals = [f"start_{name}" for name in memories], [f"final_{name}" for name in memories]
    alls, sequences = [f"all_{name}" for name in operands], [f"seq_{name}" for name in memories]
    blocks = [*memories, *operands, *row.names]
    step_row = f"forward_row({_listed('c', 'x[t, at:to]', memories, operands, row.names, 'out[t, at:to]')})"
    lines = [
        "@jit",
        f"def forward({_listed('c', 'x', starts, alls, 'out', finals, sequences)}, lo, hi, block):",
        *(f"    buffer_{name} = np.empty(block, x.dtype)" for name in blocks),
        "    for at in range(lo, hi, block):",
        "        to = min(at + block, hi)",
        *(f"        {name} = buffer_{name}[: to - at]" for name in blocks),
        *(f"        fill({name}, start_{name}, at)" for name in memories),
        *(f"        fill({name}, all_{name}, at)" for name in operands),
        f"        prepare_forward({_listed('c', operands, row.names)})",
        "        for t in range(x.shape[0]):",
        f"            {step_row}",
    ]
    for name in memories:
        lines += [
            f"            if seq_{name}.shape[0] > 0:",
            f"                seq_{name}[t, at:to] = {name}",
        ]
    lines += [f"        final_{name}[at:to] = {name}" for name in memories]
    return "\n".join(lines) + "\n"


def _backward_loop(
    memories: list[str], operands: list[str], gradients: list[str], learned: list[str], row: _Row, back: _Row
) -> str:
    starts, alls = [f"start_{name}" for name in memories], [f"all_{name}" for name in operands]
    finals, sequences = [f"final_{name}" for name in gradients], [f"seq_{name}" for name in gradients]
    to_starts, to_operands = [f"start_{name}" for name in gradients], [f"all_{name}" for name in learned]
    blocks = [*memories, *operands, *row.names, *back.names, *gradients, *learned]
    arguments = ["d", "x", *starts, *alls, "go", *finals, *sequences, "gx", *to_starts, *to_operands]
    step_row = f"memory_row({_listed('c', 'x[t, at:to]', memories, operands, row.names)})"
    before = [f"steps_{name}[t - first, : to - at]" for name in memories]
    lines = [
        "@jit",
        f"def backward(c, {_listed(arguments)}, lo, hi, block, chunk):",
        "    chunks = (x.shape[0] + chunk - 1) // chunk",
        "    silence = np.zeros(block, x.dtype)",
        *(f"    buffer_{name} = np.empty(block, x.dtype)" for name in blocks),
        *(f"    kept_{name} = np.empty((chunks, block), x.dtype)" for name in memories),
        *(f"    steps_{name} = np.empty((chunk, block), x.dtype)" for name in memories),
        "    for at in range(lo, hi, block):",
        "        to = min(at + block, hi)",
        *(f"        {name} = buffer_{name}[: to - at]" for name in blocks),
        *(f"        fill({name}, start_{name}, at)" for name in memories),
        *(f"        fill({name}, all_{name}, at)" for name in operands),
        f"        prepare_forward({_listed('c', operands, row.names)})",
        f"        prepare_backward({_listed('d', operands, back.names)})",
        *(f"        fill({name}, final_{name}, at)" for name in gradients),
        *(f"        {name}[:] = silence[: to - at]" for name in learned),
        "        for k in range(chunks):  # the memories at the start of each chunk",
        *(f"            kept_{name}[k, : to - at] = {name}" for name in memories),
        "            if k + 1 < chunks:",
        "                for t in range(k * chunk, (k + 1) * chunk):",
        f"                    {step_row}",
        "        for k in range(chunks - 1, -1, -1):",
        "            first = k * chunk",
        "            last = min(first + chunk, x.shape[0])",
        *(f"            {name}[:] = kept_{name}[k, : to - at]" for name in memories),
        "            for t in range(first, last):  # the memories before each step",
        *(f"                steps_{name}[t - first, : to - at] = {name}" for name in memories),
        "                if t + 1 < last:",
        f"                    {step_row}",
        "            for t in range(last - 1, first - 1, -1):",
    ]
    for name in gradients:
        lines += [
            f"                if seq_{name}.shape[0] > 0:",
            f"                    {name} += seq_{name}[t, at:to]",
        ]
    rows = _listed(
        "d", "x[t, at:to]", before, operands, "{go}", gradients, back.names, "gx[t, at:to]", learned
    )
    lines += [
        "                if go.shape[0] > 0:",
        f"                    backward_row({rows.format(go='go[t, at:to]')})",
        "                else:",
        f"                    backward_row({rows.format(go='silence[: to - at]')})",
        *(f"        start_{name}[at:to] = {name}" for name in gradients),
        *(f"        all_{name}[at:to] = {name}" for name in learned),
    ]
    return "\n".join(lines) + "\n"


def _names(letter: str, number: int) -> list[str]:
    return [f"{letter}{place}" for place in range(number)]


def _listed(*groups: str | Sequence[str]) -> str:
    return ", ".join(name for group in groups for name in ([group] if isinstance(group, str) else group))
