"""A plan: one time step as a list of pointwise operations, which any backend can print as a loop.

Values are numbered: first the inputs, then the results of the instructions, in order. Literals are numbered
apart, because they are arguments of the loop: another time constant compiles nothing. Only to subtract 0, and
to multiply or divide by 1, is left out, as resting potentials and slopes often are these.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikeloom.loom.operations import FILLED, IDENTITIES, KEYWORDS, OPERATIONS, RENAMED

FOREIGN = "a step uses a tensor that is neither"
"""How the reason begins if a step reads what is no operand."""
FAILED = "tracing one step failed"
"""How the reason begins if a step raises an error."""


class CannotWeave(Exception):
    """Why a step does not become a loop."""


@dataclass(frozen=True)
class Value:
    """The input or result with this number."""

    number: int

    def __str__(self) -> str:
        return f"v{self.number}"


@dataclass(frozen=True)
class Literal:
    """The literal with this number."""

    number: int

    def __str__(self) -> str:
        return f"c{self.number}"


Argument = Value | Literal


@dataclass(frozen=True)
class Instruction:
    """``result = operation(*arguments)``."""

    result: Value
    operation: str
    arguments: tuple[Argument, ...]

    def __str__(self) -> str:
        return f"{self.result} = {self.operation}({', '.join(map(str, self.arguments))})"


@dataclass(frozen=True)
class Plan:
    """What one step computes. Equal plans become the same loop, whatever their literals are.

    Args:
        num_inputs: inputs, which are the first values.
        instructions: in order; only those that an output needs.
        outputs: a value or a literal each.
    """

    num_inputs: int
    instructions: tuple[Instruction, ...]
    outputs: tuple[Argument, ...]

    @property
    def exact(self) -> bool:
        """Whether every operation rounds once, so that a loop gives the same bits as ATen."""
        return all(OPERATIONS[instruction.operation].exact for instruction in self.instructions)

    def __str__(self) -> str:
        inputs = ", ".join(f"v{number}" for number in range(self.num_inputs))
        steps = "".join(f"  {instruction}\n" for instruction in self.instructions)
        return f"inputs {inputs}\n{steps}outputs {', '.join(map(str, self.outputs))}"


def needed(
    instructions: Sequence[Instruction], outputs: Sequence[Argument]
) -> tuple[list[Instruction], set[Argument]]:
    """The instructions that lead to an output, and the arguments of those and of the outputs."""
    used, kept = set(outputs), []
    for instruction in reversed(instructions):
        if instruction.result in used:
            kept.append(instruction)
            used.update(instruction.arguments)
    return kept[::-1], used


class PlanBuilder:
    """Writes down ATen operations, one after the other, as the instructions of a plan.

    A tensor is known by its storage: pointwise operations give each result a storage of its own, and an
    operation in place, a detached alias, or a tensor that autograd saved have the storage of the value that
    they stand for.

    Args:
        inputs: the tensors that are the plan's inputs.
        fixed: those of them that a step must not write to.
    """

    def __init__(self, inputs: Sequence[Tensor], fixed: Sequence[Tensor] = ()):
        self.shape, self.dtype = inputs[0].shape, inputs[0].dtype
        self.num_inputs = len(inputs)
        self.instructions: list[Instruction] = []
        self.literals: list[float] = []
        self.boolean: set[Argument] = set()
        self.alive: list[Tensor] = []  # a storage that is freed could lend its address to another
        self.held: dict[int, Argument] = {}
        self.fixed = {tensor.untyped_storage()._cdata for tensor in fixed}
        for number, tensor in enumerate(inputs):
            self.hold(tensor, Value(number))

    def hold(self, tensor: Tensor, value: Argument) -> None:
        """From now on the storage of ``tensor`` holds ``value``."""
        self.alive.append(tensor)
        self.held[tensor.untyped_storage()._cdata] = value

    def check(self, operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
        """Refuse an operation that would leave something behind, before it is carried out.

        Returns:
            the tensor that it writes to, if it does
        Raises:
            CannotWeave: it draws random numbers, or writes to a tensor that is neither a memory nor new.
        """
        name = str(operation.overloadpacket.__name__)
        if torch.Tag.nondeterministic_seeded in operation.tags:
            raise CannotWeave(f"a step draws random numbers ({name})")
        written = None
        for place, argument in enumerate(operation._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            written = args[place] if place < len(args) else kwargs.get(argument.name)
            storage = written.untyped_storage()._cdata if isinstance(written, Tensor) else None
            if storage in self.fixed or storage not in self.held:
                raise CannotWeave(
                    f"a step writes to a tensor that is not a memory ({name}); register it as a memory"
                )
        return written

    def record(self, operation: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Write down that ``operation(*args, **kwargs)`` gave ``result``.

        Raises:
            CannotWeave: the operation is not pointwise, or not known.
        """
        name = str(operation.overloadpacket.__name__)
        if not isinstance(result, Tensor):
            raise CannotWeave(f"a step looks at the values of a tensor ({name})")
        if name.startswith("lift_fresh"):  # a tensor that is written in the step
            if result.numel() != 1:
                raise CannotWeave("a step makes a tensor of several numbers")
            self.hold(result, self.any(args[0].item()))
            return
        if result.shape != self.shape and result.dim() > 0:
            raise CannotWeave(f"the operation {name} is not pointwise: it changes the shape")
        if result.dtype not in (torch.bool, self.dtype):
            raise CannotWeave(f"the operation {name} gives the type {result.dtype}")
        if unknown := [key for key in kwargs if key not in KEYWORDS]:
            raise CannotWeave(f"the operation {name} is called with {unknown[0]}")
        value = self.translate(name.rstrip("_"), list(args), kwargs, result.dtype)
        self.hold(result, self.truth(value) if result.dtype == torch.bool else self.number(value))

    def finish(self, outputs: Sequence[Tensor]) -> tuple[Plan, tuple[float, ...]]:
        """The plan with these outputs, and its literals."""
        values = tuple(self.number(output) for output in outputs)
        return Plan(self.num_inputs, tuple(needed(self.instructions, values)[0]), values), tuple(
            self.literals
        )

    def translate(self, name: str, args: list[Any], kwargs: dict[str, Any], dtype: torch.dtype) -> Argument:
        """The value of one ATen operation."""
        if name in IDENTITIES:
            return self.any(args[0])
        if name in FILLED:
            return self.any(FILLED[name])
        if name in ("full_like", "full", "new_full", "fill", "copy", "scalar_tensor"):
            return self.any(args[{"scalar_tensor": 0, "new_full": 2}.get(name, 1)])
        if name == "_to_copy":
            return self.truth(args[0]) if dtype == torch.bool else self.number(args[0])
        if not kwargs and _changes_nothing(name, *args[1:]):
            return self.number(args[0])
        if name in ("add", "sub", "rsub"):
            operation, operands = ("sub", args[1::-1]) if name == "rsub" else (name, args[:2])
            alpha = kwargs.get("alpha", args[2] if len(args) > 2 else 1)
            scaled = (f"{operation}_scaled", *operands, alpha)
            return self.emit(operation, *operands) if alpha == 1 else self.emit(*scaled)
        if name == "div" and kwargs.get("rounding_mode"):
            if kwargs["rounding_mode"] != "trunc":
                raise CannotWeave("a step divides and rounds down")
            return self.emit("trunc", self.emit("div", *args))
        if name == "pow" and type(args[1]) in (int, float) and args[1] in (2, 3):
            return self.emit("square" if args[1] == 2 else "cube", args[0])
        if name == "clamp":
            low, high = (
                args[place] if len(args) > place else kwargs.get(key)
                for place, key in ((1, "min"), (2, "max"))
            )
            made = args[0] if low is None else self.emit("maximum", args[0], low)
            return self.number(made) if high is None else self.emit("minimum", made, high)
        if name == "relu":
            return self.emit("maximum", args[0], 0.0)
        if name == "where":
            return self.emit("where", *args)
        if name == "masked_fill":
            return self.emit("where", args[1], args[2], args[0])
        if name in _DERIVATIVES:
            return _DERIVATIVES[name](self.emit, *args)
        name = RENAMED.get(name, name)
        if name not in OPERATIONS:
            raise CannotWeave(f"the operation {name} is not one that the loom weaves")
        return self.emit(name, *args)

    def any(self, argument: Any) -> Argument:
        """An argument of an operation, or a value made here, as it is."""
        if isinstance(argument, Value | Literal):
            return argument
        if isinstance(argument, Tensor):
            known = self.held.get(argument.untyped_storage()._cdata)
            if known is None:
                raise CannotWeave(f"{FOREIGN} its neuron's nor made from its input")
            return known
        if isinstance(argument, bool | int | float):
            self.literals.append(float(argument))
            return Literal(len(self.literals) - 1)
        raise CannotWeave(f"a step uses {argument!r} as an operand")

    def number(self, argument: Any) -> Argument:
        """An argument as a number of the loop's type."""
        value = self.any(argument)
        return self.raw("to_float", value) if value in self.boolean else value

    def truth(self, argument: Any) -> Argument:
        """An argument as a truth value."""
        value = self.any(argument)
        return value if value in self.boolean else self.raw("to_bool", value)

    def emit(self, operation: str, *arguments: Any) -> Value:
        """Append an instruction, with its arguments in the type that it takes."""
        if operation in ("and", "or", "xor", "not"):
            return self.raw(operation, *map(self.truth, arguments))
        if operation == "where":
            return self.raw(operation, self.truth(arguments[0]), *map(self.number, arguments[1:]))
        return self.raw(operation, *map(self.number, arguments))

    def raw(self, operation: str, *arguments: Argument) -> Value:
        result = Value(self.num_inputs + len(self.instructions))
        self.instructions.append(Instruction(result, operation, arguments))
        if OPERATIONS[operation].boolean:
            self.boolean.add(result)
        return result


_NEUTRAL = {"sub": 0, "mul": 1, "div": 1}
"""The number with which an operation changes no number; to add 0 would make the negative of 0 positive."""


def _changes_nothing(name: str, *operands: Any) -> bool:
    """Whether an operation leaves every number as it is, given what comes after its first argument."""
    if len(operands) != 1 or type(operands[0]) not in (int, float):
        return False
    return operands[0] == _NEUTRAL.get(name) and math.copysign(1, operands[0]) > 0


_DERIVATIVES: dict[str, Callable[..., Value]] = {
    "sigmoid_backward": lambda emit, grad, result: emit(
        "mul", emit("mul", grad, emit("sub", 1.0, result)), result
    ),
    "tanh_backward": lambda emit, grad, result: emit("mul", grad, emit("sub", 1.0, emit("square", result))),
    "threshold_backward": lambda emit, grad, x, limit: emit("where", emit("le", x, limit), 0.0, grad),
}
