"""Plans printed as Numba source: a row function over a block of neurons, in a loop over time.

A block of neurons keeps its memories in the cache for the whole sequence. The forward loop reads the input
and writes the output, once. The backward loop first runs forwards again, keeping the memories of a chunk of
time steps, then runs through the chunk backwards: nothing of the size of the sequence is saved but the input.
What depends on parameters and literals only is computed once per block. Any number of threads can run a loop
at once: each takes ranges of neurons from a job (:mod:`spikeloom.loom.numba_job`).
"""

from collections.abc import Iterable, Sequence

from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.plan import Argument, Instruction, Literal, Plan, Value, needed
from spikeloom.loom.step import Step, listed, numbered, prefixed

_HEADER = '''\
"""Emitted by spikeloom.loom.numba_loop."""

import math

import numpy as np
from numba import njit

from spikeloom.loom.numba_job import (
    BLOCK, CHUNK, WINDOW, begin, done, end, matrix, outputs, pool, spread, take, vector, words_of,
)
from spikeloom.loom.numba_math import add, copy, exp, fill, sigmoid, tanh

jit = njit(nogil=True, error_model="numpy", cache=True)
'''


def emit(step: Step) -> str:
    """The source of a module whose ``forward_job`` and ``backward_job`` make functions of a job's address."""
    memories, operands = numbered("m", step.num_memories), numbered("p", step.num_operands)
    gradients, learned = numbered("g", step.num_memories), numbered("q", step.num_learned)
    first = 1 + step.num_memories
    fixed = {Value(first + place): name for place, name in enumerate(operands)}
    forward, backward = _Row(step.forward, fixed, "h"), _Row(step.backward, fixed, "k")
    inputs, following = ["x", *memories, *operands], numbered("n", step.num_memories)
    parts = [
        _HEADER,
        forward.prologue("prepare_forward"),
        backward.prologue("prepare_backward"),
        forward.function("forward_row", inputs, ["out", *memories]),
        forward.function("memory_row", inputs, ["", *following]),
        backward.function(
            "backward_row",
            [*inputs, "go", *gradients],
            ["gx", *gradients, *(f"{name} +" for name in learned)],
        ),
        _forward_job(memories, operands, forward),
        _backward_job(memories, operands, gradients, learned, forward, backward),
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
        lines = [f"@jit\ndef {name}({listed('c', operands, self.names)}):"]
        lines += self._body(self.early, self.fixed, self.hoisted.items())
        return "\n".join(lines) + "\n"

    def function(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> str:
        """A function of blocks: an output with an empty name is not written, one with ``+`` accumulates."""
        loads = {Value(place): source for place, source in enumerate(inputs)} | self.hoisted
        written = [output for output in outputs if output and not output.endswith("+")]
        extra = [output for output in written if output not in inputs]
        extra += [output.removesuffix(" +") for output in outputs if output.endswith("+")]
        lines = [f"@jit\ndef {name}({listed('c', inputs, self.names, extra)}):"]
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
        kept, used = needed(instructions, [value for value, _ in stores])
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


def _forward_job(memories: list[str], operands: list[str], row: _Row) -> str:
    starts, alls, sequences = (
        prefixed("start", memories),
        prefixed("all", operands),
        prefixed("seq", memories),
    )
    finals = prefixed("final", memories)
    kinds = {"c": "vector", "x": "matrix"} | dict.fromkeys([*starts, *alls], "vector") | {"out": "outputs"}
    kinds |= dict.fromkeys(finals, "vector") | dict.fromkeys(sequences, "matrix")
    blocks = ["spikes", *memories, *operands, *row.names]
    body = [
        *(f"fill({name}, start_{name}, at)" for name in memories),
        *(f"fill({name}, all_{name}, at)" for name in operands),
        f"prepare_forward({listed('c', operands, row.names)})",
        "for t in range(x.shape[0]):",
        "    written = spikes",
        "    if window == 0:",
        "        written = out[t, at:to]",
        f"    forward_row({listed('c', 'x[t, at:to]', memories, operands, row.names, 'written')})",
        "    if window > 0:",
        "        pool(out[t], at, spikes, words)",
    ]
    for name in memories:
        body += [f"    if seq_{name}.shape[0] > 0:", f"        copy(seq_{name}[t, at:to], {name})"]
    body += [f"copy(final_{name}[at:to], {name})" for name in memories]
    return _job("forward", kinds, {}, blocks, body)


def _backward_job(
    memories: list[str], operands: list[str], gradients: list[str], learned: list[str], row: _Row, back: _Row
) -> str:
    starts, alls, sequences = (
        prefixed("start", memories),
        prefixed("all", operands),
        prefixed("seq", gradients),
    )
    finals, to_starts, to_operands = (
        prefixed("final", gradients),
        prefixed("start", gradients),
        prefixed("all", learned),
    )
    kinds = dict.fromkeys(["c", "d"], "vector") | {"x": "matrix"} | dict.fromkeys([*starts, *alls], "vector")
    kinds |= {"go": "outputs"} | dict.fromkeys(finals, "vector") | dict.fromkeys(sequences, "matrix")
    kinds |= {"gx": "matrix"} | dict.fromkeys([*to_starts, *to_operands], "vector")
    blocks = ["silence", "spikes", *operands, *row.names, *back.names, *gradients, *learned]
    before = [f"steps_{name}[t - first, : to - at]" for name in memories]
    after = [f"steps_{name}[t - first + 1, : to - at]" for name in memories]
    memory_row = f"memory_row({listed('c', 'x[t, at:to]', before, operands, row.names, after)})"
    inputs = listed("d", "x[t, at:to]", before, operands, "arriving", gradients, back.names)
    buffers = {f"kept_{name}": "chunks" for name in memories} | {
        f"steps_{name}": "chunk + 1" for name in memories
    }
    body = [
        *(f"fill(kept_{name}[0, : to - at], start_{name}, at)" for name in memories),
        *(f"fill({name}, all_{name}, at)" for name in operands),
        f"prepare_forward({listed('c', operands, row.names)})",
        f"prepare_backward({listed('d', operands, back.names)})",
        *(f"fill({name}, final_{name}, at)" for name in gradients),
        *(f"fill({name}, c[1:2], 0)" for name in ("silence", *learned)),
        "for k in range(1, chunks):  # the memories at the start of each chunk",
        "    first = (k - 1) * chunk",
        *(f"    copy(steps_{name}[0, : to - at], kept_{name}[k - 1, : to - at])" for name in memories),
        "    for t in range(first, first + chunk):",
        f"        {memory_row}",
        *(f"    copy(kept_{name}[k, : to - at], steps_{name}[chunk, : to - at])" for name in memories),
        "for k in range(chunks - 1, -1, -1):",
        "    first = k * chunk",
        "    last = min(first + chunk, x.shape[0])",
        *(f"    copy(steps_{name}[0, : to - at], kept_{name}[k, : to - at])" for name in memories),
        "    for t in range(first, last - 1):  # the memories before each step",
        f"        {memory_row}",
        "    for t in range(last - 1, first - 1, -1):",
    ]
    for name in gradients:
        body += [f"        if seq_{name}.shape[0] > 0:", f"            add({name}, seq_{name}[t, at:to])"]
    body += [
        "        arriving = silence",
        "        if go.shape[0] > 0 and window == 0:",
        "            arriving = go[t, at:to]",
        "        elif go.shape[0] > 0:",
        "            spread(spikes, go[t], at, words)",
        "            arriving = spikes",
        f"        backward_row({listed(inputs, 'gx[t, at:to]', learned)})",
        *(f"copy(start_{name}[at:to], {name})" for name in gradients),
        *(f"copy(all_{name}[at:to], {name})" for name in learned),
    ]
    return _job("backward", kinds, buffers, blocks, body)


def _job(
    loop: str, kinds: dict[str, str], buffers: dict[str, str], blocks: list[str], body: list[str]
) -> str:
    """A function that makes the function of a job's address, for the type ``real`` of all numbers.

    Args:
        loop: its name.
        kinds: arguments of the job, each a vector, a matrix, or outputs.
        buffers: names of arrays of several blocks of neurons, and how many.
        blocks: names of arrays of one block.
        body: lines that treat the neurons from ``at`` to ``to``.

    All buffers are rows of one array.
    """
    arguments = enumerate(kinds.items())
    sizes = [*buffers.values(), *("1" for _ in blocks)]
    names = [*buffers, *(f"buffer_{name}" for name in blocks)]
    rows = []
    for name, size in zip(names, sizes, strict=True):
        rows += [f"{name} = rows[: {size}]" if size != "1" else f"{name} = rows[0]", f"rows = rows[{size} :]"]
    lines = [
        "words = words_of(job)",
        *(f"{name} = {kind}(words, {place}, real)" for place, (name, kind) in arguments),
        "block, window = words[BLOCK], words[WINDOW]",
        "chunk = max(words[CHUNK], 1)",
        "chunks = (x.shape[0] + chunk - 1) // chunk",
        f"rows = np.empty(({' + '.join(sizes)}, block), real)",
        *rows,
        "before = begin()",  # after the only line that can fail, or the thread would go on flushing
        "low, high = take(words)",
        "while low < high:",
        "    for at in range(low, high, block):",
        "        to = min(at + block, high)",
        *(f"        {name} = buffer_{name}[: to - at]" for name in blocks),
        *(f"        {line}" for line in body),
        "    done(words)",
        "    low, high = take(words)",
        "end(before)",
    ]
    made = [f"def {loop}_job(real):", "    def run(job):", *(f"        {line}" for line in lines)]
    return "\n".join([*made, "", "    return run", ""])
