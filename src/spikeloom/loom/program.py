"""A neuron over time as text: all that its loops are made from, so that a graph can carry and save it."""

import json
import re
from collections.abc import Sequence
from typing import Any

from spikeloom.errors import BackendError
from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.plan import Argument, Instruction, Literal, Plan, Value
from spikeloom.loom.step import Step, Woven

VERSION = 2  # of the format
_ARGUMENT = re.compile(r"[vc]\d{1,6}")


def to_text(woven: Woven, keep: Sequence[bool]) -> str:
    """A step, and the memories of which every step is wanted, as JSON that :func:`from_text` reads."""
    step, forward_literals, backward_literals, learned = woven[:4]
    return json.dumps(
        {
            "version": VERSION,
            "memories": step.num_memories,
            "operands": step.num_operands,
            "learned": learned,
            "keep": keep,
            "forward": _written(step.forward, forward_literals),
            "backward": _written(step.backward, backward_literals),
        },
        separators=(",", ":"),
    )


def from_text(text: str) -> tuple[Woven, tuple[bool, ...]]:
    """What :func:`to_text` was given.

    Raises:
        BackendError: the text is not such a program. It may come from a file, and becomes code, so nothing is
            taken on trust.
    """
    try:
        found = json.loads(text)
        if found["version"] != VERSION:
            raise BackendError(
                f"A saved neuron has the format {found['version']}, but this version of Spikeloom reads "
                f"{VERSION}. Export the network again."
            )
        num_memories, num_operands = _count(found["memories"]), _count(found["operands"])
        learned, keep = _flags(found["learned"], num_operands), _flags(found["keep"], num_memories)
        num_inputs = 1 + num_memories + num_operands
        forward, forward_literals = _read(found["forward"], num_inputs, 1 + num_memories)
        backward, backward_literals = _read(
            found["backward"], num_inputs + 1 + num_memories, 1 + num_memories + sum(learned)
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BackendError(f"A saved neuron cannot be read: {type(error).__name__}: {error}.") from error
    step = Step(forward, backward, num_memories, num_operands)
    return Woven(step, forward_literals, backward_literals, learned), keep


def _written(plan: Plan, literals: Sequence[float]) -> dict[str, Any]:
    return {
        "instructions": [
            [str(one.result), one.operation, *map(str, one.arguments)] for one in plan.instructions
        ],
        "outputs": [str(output) for output in plan.outputs],
        "literals": literals,
    }


def _read(found: dict[str, Any], num_inputs: int, num_outputs: int) -> tuple[Plan, tuple[float, ...]]:
    literals = tuple(float(literal) for literal in found["literals"])
    known: set[Argument] = {Value(number) for number in range(num_inputs)}
    known |= {Literal(number) for number in range(len(literals))}

    def argument(name: str) -> Argument:
        made = _named(name)
        if made not in known:
            raise ValueError(f"{name} is read before it is written")
        return made

    instructions = []
    for name, operation, *arguments in found["instructions"]:
        result = _named(name)
        if not isinstance(result, Value) or result in known:
            raise ValueError(f"{name} is written twice")
        if operation not in OPERATIONS:
            raise ValueError(f"there is no operation {operation!r}")
        if len(arguments) != _num_arguments(operation):
            raise ValueError(f"{operation} has {len(arguments)} arguments")
        instructions.append(Instruction(result, operation, tuple(map(argument, arguments))))
        known.add(result)
    outputs = tuple(map(argument, found["outputs"]))
    if len(outputs) != num_outputs:
        raise ValueError(f"a plan has {len(outputs)} outputs instead of {num_outputs}")
    return Plan(num_inputs, tuple(instructions), outputs), literals


def _num_arguments(operation: str) -> int:
    return len(set(re.findall(r"\{\d\}", OPERATIONS[operation].template)))


def _named(name: str) -> Argument:
    if not _ARGUMENT.fullmatch(name):
        raise ValueError(f"{name!r} is no value")
    return (Value if name[0] == "v" else Literal)(int(name[1:]))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1000:
        raise ValueError(f"{value!r} is no count")
    return value


def _flags(values: Any, number: int) -> tuple[bool, ...]:
    if len(values) != number or any(type(value) is not bool for value in values):
        raise ValueError(f"{values!r} are not {number} truth values")
    return tuple(values)
