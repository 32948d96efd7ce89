"""Plans printed as Numba source: row functions, of one time step of a block of neurons.

The functions of a step are compiled for each neuron; what calls them over time is compiled once for all
(:mod:`spikeloom.loom.numba_driver`), since that takes several times as long. What depends on parameters and
literals only is computed once per block, by a function of its own.
"""

from collections.abc import Iterable, Sequence

from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.plan import Argument, Instruction, Literal, Plan, Value, needed
from spikeloom.loom.step import Step, numbered

STORED = {"x", "gx"}  # the arguments that may be bfloat16 in memory: the input, and its gradient
_HEADER = '''\
"""Emitted by spikeloom.loom.numba_loop: functions of the address of their arguments."""

from math import atan, cos, erf, expm1, log, log1p, sin, sqrt

import numpy as np
from numpy import ceil, floor, rint, trunc

from spikeloom.loom.numba_job import literals, row, words_of
from spikeloom.loom.numba_math import exp, load, sigmoid, store, tanh
'''


def emit(step: Step) -> str:
    """The source of a module with a maker of each row function that the step needs, and with ``HOISTED``: how
    many arrays the functions that prepare a block fill."""
    memories, operands = numbered("m", step.num_memories), numbered("p", step.num_operands)
    gradients, learned = numbered("g", step.num_memories), numbered("q", step.num_learned)
    first = 1 + step.num_memories
    fixed = {Value(first + place): name for place, name in enumerate(operands)}
    forward, backward = _Row(step.forward, fixed, "h"), _Row(step.backward, fixed, "k")
    inputs, following = ["x", *memories, *operands], numbered("n", step.num_memories)
    parts = [
        _HEADER,
        f"HOISTED = {len(forward.names)}, {len(backward.names)}\n",
        forward.prologue("prepare_forward"),
        backward.prologue("prepare_backward"),
        forward.function("forward_row", inputs, ["out", *memories]),
        forward.function("memory_row", inputs, ["", *following]),
        backward.function(
            "backward_row",
            [*inputs, "go", *gradients],
            ["gx", *gradients, *(f"{name} +" for name in learned)],
        ),
    ]
    return "\n\n".join(part for part in parts if part)


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
        if any(OPERATIONS[one.operation].boolean for one in self.early):
            # Truth values would need arrays of another type: everything is computed in each step.
            self.early, self.late = [], list(plan.instructions)
        read = {argument for one in self.late for argument in one.arguments} | set(plan.outputs)
        kept = [one for one in self.early if one.result in read]
        self.hoisted = {one.result: f"{prefix}{place}" for place, one in enumerate(kept)}
        self.names = list(self.hoisted.values())  # arrays of what is computed once per block

    def prologue(self, name: str) -> str:
        """A function that fills the arrays of :attr:`names`."""
        operands = list(self.fixed.values())
        return _function(name, [*operands, *self.names], self.early, self.fixed, self.hoisted.items())

    def function(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> str:
        """A function of blocks: an output with an empty name is not written, one with ``+`` accumulates."""
        loads = {Value(place): source for place, source in enumerate(inputs)} | self.hoisted
        written = [output for output in outputs if output and not output.endswith("+")]
        extra = [output for output in written if output not in inputs]
        extra += [output.removesuffix(" +") for output in outputs if output.endswith("+")]
        stores = [(value, output) for value, output in zip(self.plan.outputs, outputs, strict=True) if output]
        return _function(name, [*inputs, *self.names, *extra], self.late, loads, stores)


def _function(
    name: str,
    arguments: Sequence[str],
    instructions: Sequence[Instruction],
    loads: dict[Value, str],
    stores: Iterable[tuple[Argument, str]],
) -> str:
    """A maker of a function, or nothing where that would store nothing.

    Args:
        name: of the function.
        arguments: after the literals.
        instructions: to carry out for each neuron.
        loads: what each value that is an argument is called.
        stores: values, and the argument that each is written to, or (with ``+``) added to.
    """
    stores = list(stores)
    if not stores:
        return ""
    kept, used = needed(instructions, [value for value, _ in stores])
    read = [value for value in loads if value in used]
    numbers = sorted(argument.number for argument in used if isinstance(argument, Literal))
    touched = {loads[value] for value in read} | {output.removesuffix(" +") for _, output in stores}
    lines = ["words = words_of(address)", "c = literals(words, real)", "one, zero = c[0], c[1]"]
    lines += [f"c{number} = c[{number + 2}]" for number in numbers]
    stored = touched & STORED
    lines += [
        f"{argument} = row(words, {place}, {'stored' if argument in stored else 'real'})"
        for place, argument in enumerate(arguments, 1)
        if argument in touched
    ]
    lines.append("for i in range(words[0]):")
    for value in read:
        source = loads[value]
        lines.append(f"    {value} = {f'load({source}, i)' if source in stored else f'{source}[i]'}")
    for instruction in kept:
        expression = OPERATIONS[instruction.operation].template.format(*map(str, instruction.arguments))
        lines.append(f"    {instruction.result} = {expression}")
    for value, output in stores:
        target, _, plus = output.partition(" ")
        lines.append(
            f"    store({target}, i, {value})" if target in stored else f"    {target}[i] {plus}= {value}"
        )
    made = [f"def {name}_job(real, half=False):"]
    if stored:
        made += ["    stored = np.uint16 if half else real", ""]
    made += ["    def run(address):", *(f"        {line}" for line in lines)]
    return "\n".join([*made, "", "    return run", ""])
