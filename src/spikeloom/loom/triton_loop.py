"""Plans printed as Triton source: a step as a function of blocks of neurons, in a kernel over time.

A program of the grid treats a block of neurons, whose memories stay in registers for the whole sequence. The
forward kernel reads the input and writes the output, once. The sequence is cut into chunks of a few steps. If
there will be a backward pass, the forward kernel notes the memories at the start of each chunk; the backward
kernel reads the input again, and computes what the memories were within a chunk in registers. The steps after
the last whole chunk are treated one by one, with the memories before each of them noted.

Why four steps, or two or three where that leaves less to note (:func:`chunk_of`): to write and read the notes
of ``m`` memories is ``2 m / 4`` of a tensor's traffic, beside the five tensors that have to be moved, and a
sequence of two, three or four steps needs none; all inputs of a chunk are under way at once, which hides the
latency of memory; and registers suffice (:func:`width`).
"""

from collections.abc import Container, Iterable, Sequence

import torch

from spikeloom.loom.plan import Argument, Instruction, Literal, Plan, Value, needed
from spikeloom.loom.step import Step, Woven, listed, numbered, prefixed
from spikeloom.loom.triton_operations import in_gradient, template

CHUNKS = (4, 3, 2)
_PLACE = "size, at, mask"
_ROW = "t - chunks * (CHUNK - 1) - 1"  # of the notes, for a step after the last whole chunk
_VALUES = 64  # numbers that a thread may hold at once, of 255 registers: more cost occupancy, then spills

_HEADER = '''\
"""Emitted by spikeloom.loom.triton_loop."""

import triton
import triton.language as tl

from spikeloom.loom.triton_math import (
    atan, ceil, cos, divide, erf, exp, expm1, floor, log, log1p, power, quick_divide, quick_reciprocal, rint,
    rsqrt, sigmoid, sin, sqrt, tanh, trunc,
)
from spikeloom.loom.triton_memory import load, note, noted, number, operand, plus, start, store, total
'''


def width(step: Step, wide: bool) -> int:
    """Neurons per thread, at most 4: so many that the values of a chunk fit into its registers.

    Args:
        step: to run; what its backward pass holds is the most.
        wide: whether a number takes two registers.
    """
    values = max(CHUNKS) * (step.num_memories + 2) + 2 * step.num_memories + step.num_learned
    return next((size for size in (4, 2) if size * values * (1 + wide) <= _VALUES), 1)


def chunk_of(num_steps: int) -> int:
    """Steps of a chunk: as many as leave the fewest rows of notes."""
    return min(CHUNKS, key=lambda chunk: num_notes(num_steps, chunk))


def num_notes(num_steps: int, chunk: int) -> int:
    """Rows of notes for a sequence: for each whole chunk, and each step after them, but not for the start."""
    return num_steps // chunk + num_steps % chunk - 1


def emit(woven: Woven, dtype: torch.dtype, chunk: int) -> str:
    """The source of a module with the kernels ``forward_loop`` and ``backward_loop``.

    Args:
        woven: the step to print; its numbers are arguments of the kernels, see :func:`numbers_of`.
        dtype: what is computed in, float32 or float64.
        chunk: steps of a chunk.
    """
    step, real = woven.step, str(dtype).removeprefix("torch.")
    forward_names, backward_names = _names_of(woven)
    forward = _Function(step.forward, forward_names)
    quick = set(step.backward.instructions) - recomputed(step)
    backward = _Function(step.backward, backward_names, quick)
    parts = [
        _HEADER,
        forward.source("forward_step"),
        backward.source("backward_step"),
        _forward_loop(step, forward, real, chunk),
        _backward_loop(step, forward, backward, real, chunk),
    ]
    return "\n\n".join(parts)


def numbers_of(woven: Woven) -> dict[str, list[float]]:
    """The literals that the kernels take as arguments, in their order."""
    forward_names, backward_names = _names_of(woven)
    forward = {name: woven.forward_literals[one.number] for one, name in forward_names.items()}
    backward = {name: woven.backward_literals[one.number] for one, name in backward_names.items()}
    return {"forward": list(forward.values()), "backward": list((forward | backward).values())}


def _names_of(woven: Woven) -> tuple[dict[Literal, str], dict[Literal, str]]:
    """What the literals of both plans are called.

    The backward plan starts with the forward plan, so its first literals are the same, and called the same:
    what the compiler cannot know to be alike it would compute twice.
    """
    first, then = woven.forward_literals, woven.backward_literals
    shared = len(first) if repr(first) == repr(then[: len(first)]) else 0

    def names(plan: Plan, letter: str) -> dict[Literal, str]:
        used = needed(plan.instructions, plan.outputs)[1]
        numbers = sorted(argument.number for argument in used if isinstance(argument, Literal))
        return {Literal(n): f"{'c' if n < shared else letter}{n}" for n in numbers}

    return names(woven.step.forward, "c"), names(woven.step.backward, "d")


def recomputed(step: Step) -> set[Instruction]:
    """Those instructions of the forward plan, numbered as in the backward plan, which starts with them."""
    inputs, more = step.forward.num_inputs, step.backward.num_inputs - step.forward.num_inputs

    def renumbered(argument: Argument) -> Argument:
        is_result = isinstance(argument, Value) and argument.number >= inputs
        return Value(argument.number + more) if is_result else argument

    return {
        Instruction(Value(one.result.number + more), one.operation, tuple(map(renumbered, one.arguments)))
        for one in step.forward.instructions
    }


class _Function:
    """One plan as a function of blocks of values.

    Args:
        plan: to print.
        names: of its literals.
        quick: instructions that have to be right, but need not agree with the forward pass.
    """

    def __init__(self, plan: Plan, names: dict[Literal, str], quick: Container[Instruction] = ()):
        self.plan, self.names, self.quick = plan, names, quick
        self.inputs = [f"v{number}" for number in range(plan.num_inputs)]
        self.literals = list(names.values())  # taken after the inputs and what ``one`` and ``zero`` are

    def source(self, name: str) -> str:
        """The function, which returns the plan's outputs."""
        names = {Value(place): name for place, name in enumerate(self.inputs)} | self.names
        single = set(self.names)  # what is one number for all neurons
        lines = [f"@triton.jit\ndef {name}({listed(self.inputs, 'one', 'zero', self.literals)}):"]
        for instruction in self.plan.instructions:
            names[instruction.result] = str(instruction.result)
            spelling = in_gradient if instruction in self.quick else template
            if single.issuperset(instruction.arguments):
                single.add(instruction.result)  # type: ignore[arg-type]
                spelling = template
            arguments = [names[argument] for argument in instruction.arguments]
            lines.append(f"    {instruction.result} = {spelling(instruction.operation).format(*arguments)}")
        outputs = [
            f"tl.broadcast_to({names[output]}, v0.shape)" if output in single else names[output]
            for output in self.plan.outputs
        ]
        return "\n".join([*lines, f"    return {', '.join(outputs)}"]) + "\n"

    def call(self, name: str, results: Sequence[str], arguments: Sequence[str]) -> str:
        """A line that calls the function."""
        return f"{', '.join(results)} = {name}({listed(arguments, 'one', 'zero', self.literals)})"


def _forward_loop(step: Step, function: _Function, real: str, chunk: int) -> str:
    memories, operands = numbered("m", step.num_memories), numbered("p", step.num_operands)

    def one_step(x: str, t: str) -> list[str]:
        return [
            function.call("forward_step", ["spike", *memories], [x, *memories, *operands]),
            f"store(out, {t}, {_PLACE}, spike)",
            *(f"store(seq_{memory}, {t}, {_PLACE}, {memory})" for memory in memories),
        ]

    def noted(row: str) -> list[str]:
        return [f"note(note_{memory}, {row}, {_PLACE}, {memory})" for memory in memories]

    body = [
        *_starts(memories, operands),
        "chunks = num_steps // CHUNK",
        "for k in range(chunks):",
        *_indented(noted("k - 1")),
        *_indented(f"x{k} = load(x, k * CHUNK + {k}, {_PLACE}, real)" for k in range(chunk)),
        *_indented(line for k in range(chunk) for line in one_step(f"x{k}", f"k * CHUNK + {k}")),
        "for t in range(chunks * CHUNK, num_steps):",
        *_indented(noted(_ROW)),
        f"    x0 = load(x, t, {_PLACE}, real)",
        *_indented(one_step("x0", "t")),
        *(f"store(final_{memory}, 0, {_PLACE}, {memory})" for memory in memories),
    ]
    arguments = ["x", *prefixed("start", memories), *prefixed("all", operands), "out"]
    arguments += [name for prefix in ("final", "seq", "note") for name in prefixed(prefix, memories)]
    return _kernel("forward_loop", arguments, function.literals, [*memories, *operands], real, chunk, body)


def _backward_loop(step: Step, function: _Function, back: _Function, real: str, chunk: int) -> str:
    memories, operands = numbered("m", step.num_memories), numbered("p", step.num_operands)
    gradients, learned = numbered("g", step.num_memories), numbered("q", step.num_learned)

    def at(k: int) -> list[str]:
        """The memories before a step of a chunk."""
        return [f"{memory}_{k}" for memory in memories]

    def loads(k: int, t: str) -> list[str]:
        return [f"x{k} = load(x, {t}, {_PLACE}, real)", f"o{k} = load(go, {t}, {_PLACE}, real)"]

    def first(row: str) -> list[str]:
        return [f"{name}_0 = noted(note_{name}, {row}, {_PLACE}, {name})" for name in memories]

    def one_step(k: int, t: str) -> list[str]:
        inputs = [f"x{k}", *at(k), *operands, f"o{k}", *gradients]
        return [
            *(f"{name} = plus({name}, seq_{name}, {t}, {_PLACE}, real)" for name in gradients),
            back.call("backward_step", ["gradient", *gradients, *prefixed("add", learned)], inputs),
            *(f"{name} += add_{name}" for name in learned),
            f"store(gx, {t}, {_PLACE}, gradient)",
        ]

    def recomputed(k: int) -> str:
        return function.call("forward_step", ["spike", *at(k + 1)], [f"x{k}", *at(k), *operands])

    within = range(chunk)
    body = [
        *_starts(memories, operands),
        *(f"{name} = start(final_{name}, each_{name}, at, mask, real)" for name in gradients),
        *(f"{name} = tl.zeros(at.shape, real)" for name in learned),
        "chunks = num_steps // CHUNK",
        "for j in range(num_steps - chunks * CHUNK):",
        "    t = num_steps - 1 - j",
        *_indented([*first(_ROW), *loads(0, "t"), *one_step(0, "t")]),
        "for j in range(chunks):",
        "    k = chunks - 1 - j",
        *_indented(first("k - 1")),
        *_indented(line for k in within for line in loads(k, f"k * CHUNK + {k}")),
        *_indented(recomputed(k) for k in within[:-1]),
        *_indented(line for k in reversed(within) for line in one_step(k, f"k * CHUNK + {k}")),
        *(f"store(start_{name}, 0, {_PLACE}, {name})" for name in gradients),
        *(f"total(all_{name}, each_{name}, at, mask, {name})" for name in learned),
    ]
    arguments = ["x", *prefixed("start", memories), *prefixed("note", memories), *prefixed("all", operands)]
    arguments += ["go", *prefixed("final", gradients), *prefixed("seq", gradients), "gx"]
    arguments += [*prefixed("start", gradients), *prefixed("all", learned)]
    literals = list(dict.fromkeys([*function.literals, *back.literals]))
    flags = [*memories, *operands, *gradients, *learned]
    return _kernel("backward_loop", arguments, literals, flags, real, chunk, body)


def _starts(memories: list[str], operands: list[str]) -> list[str]:
    """Lines that load the memories before the first step, and the operands."""
    return [
        *(f"{name} = start(start_{name}, each_{name}, at, mask, real)" for name in memories),
        *(f"{name} = operand(all_{name}, each_{name}, at, mask, real)" for name in operands),
    ]


def _kernel(
    name: str,
    arguments: list[str],
    literals: list[str],
    flags: list[str],
    real: str,
    chunk: int,
    body: list[str],
) -> str:
    """A kernel over neurons.

    Args:
        name: of it.
        arguments: tensors, or a number or ``None`` in their place.
        literals: numbers.
        flags: of what it has to be told whether there is a number for each neuron.
        real: the type to compute in.
        chunk: steps of a chunk.
        body: lines that treat the neurons ``at``, of which those in ``mask`` exist.
    """
    scalar = {"float32": "fp32", "float64": "fp64"}[real]
    typed = [f'{literal}: "{scalar}"' for literal in literals]
    constants = [f"{flag}: tl.constexpr" for flag in (*prefixed("each", flags), "BLOCK")]
    lines = [
        f"real: tl.constexpr = tl.{real}",
        f"CHUNK: tl.constexpr = {chunk}",
        "size = tl.cast(num_neurons, tl.int64)",  # a sequence may have more than 2^31 numbers
        "at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)",
        "mask = at < size",
        "one, zero = number(1.0, real), number(0.0, real)",
        *(f"{literal} = number({literal}, real)" for literal in literals),
        *body,
    ]
    # Triton compiles anew for an integer that is 1, or a multiple of 16: of neurons, that makes loads wide.
    head = ['@triton.jit(do_not_specialize=["num_steps"])']
    head.append(f"def {name}({listed(arguments, 'num_steps', 'num_neurons', typed, constants)}):")
    return "\n".join([*head, *_indented(lines)]) + "\n"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
