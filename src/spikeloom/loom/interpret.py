"""Plans run in PyTorch, operation by operation: for tests, and in graphs where nothing is compiled."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.plan import Argument, Literal, Plan
from spikeloom.loom.running import Call, Loops, chosen
from spikeloom.loom.step import placed


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


class InterpretedLoops(Loops):
    """Loops over time in Python."""

    def forward(self, call: Call, noted: bool = False) -> tuple[tuple[Tensor, ...], None]:
        x, _, keep = call[:3]
        memories, operands = self._spread(call)
        output, *sequences = [torch.empty_like(x) for one in (True, *keep) if one]
        for step, now in enumerate(x.detach()):
            output[step], *memories = self._forward_step([now, *memories, *operands])
            for memory, sequence in zip(memories, placed(sequences, keep), strict=True):
                if sequence is not None:
                    sequence[step] = memory
        finals = [torch.empty_like(x[0]).copy_(memory) for memory in memories]
        return (output, *finals, *sequences), None

    def backward(
        self,
        call: Call,
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
        notes: Tensor | None = None,
    ) -> list[Tensor | None]:
        x, sources, keep = call[:3]
        memories, operands = self._spread(call)
        before = [memories]
        for now in x[:-1]:
            before.append(self._forward_step([now, *before[-1], *operands])[1:])
        output, *rest = gradients
        num_memories = self.step.num_memories
        silence = torch.zeros_like(x[0])
        carried = [silence if one is None else one for one in rest[:num_memories]]
        sequences = placed(rest[num_memories:], keep)
        to_x = torch.empty_like(x)
        to_operands = [torch.zeros_like(x[0]) for one in self.learned if one]
        for step in range(x.shape[0] - 1, -1, -1):
            pairs = zip(carried, sequences, strict=True)
            carried = [one if sequence is None else one + sequence[step] for one, sequence in pairs]
            now = silence if output is None else output[step]
            inputs = [x[step], *before[step], *operands, now, *carried]
            to_x[step], *values = interpret(self.step.backward, self.woven.backward_literals, inputs)
            carried = values[:num_memories]
            for total, value in zip(to_operands, values[num_memories:], strict=True):
                total += value
        return [to_x, *chosen([*carried, *placed(to_operands, self.learned)], sources, wanted)]

    def _spread(self, call: Call) -> tuple[list[Tensor], list[Tensor]]:
        """Memories and operands in the shape of a step."""
        step = call.x[0]
        spread = [torch.as_tensor(one).detach().to(step).expand(step.shape) for one in call.sources]
        return spread[: self.step.num_memories], spread[self.step.num_memories :]

    def _forward_step(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return interpret(self.step.forward, self.woven.forward_literals, inputs)
