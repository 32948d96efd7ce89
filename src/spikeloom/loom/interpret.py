"""Plans run in PyTorch, operation by operation: for tests, and in graphs where nothing is compiled."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.plan import Argument, Literal, Plan


def interpret(plan: Plan, literals: Sequence[float], inputs: Sequence[Tensor]) -> list[Tensor]:
    """One step: the plan's outputs for its inputs, which have one shape and type."""
    like = inputs[0]
    values: dict[Argument, Any] = {}

    def read(argument: Argument) -> Tensor:
        if isinstance(argument, Literal):
            return torch.full_like(like, literals[argument.number])
        return values[argument] if argument in values else inputs[argument.number]

    for instruction in plan.instructions:
        result = OPERATIONS[instruction.operation].compute(*map(read, instruction.arguments))
        values[instruction.result] = result.to(like.dtype) if instruction.operation == "to_float" else result
    return [read(output) for output in plan.outputs]
