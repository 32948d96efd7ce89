"""One step of a neuron as a compiled function, for loops that are not the loom's own."""

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikeloom.errors import BackendError, describe
from spikeloom.loom.fingerprint import look
from spikeloom.loom.loops import NumbaLoops
from spikeloom.loom.running import Source
from spikeloom.loom.select import find, fitting, why_not


class RowFunction(NamedTuple):
    """What a loop has to know to take a neuron's step.

    Args:
        address: of a function of the address of words: how many neurons there are, then the addresses of
            literals, input, memories (which it writes into), constants, and output.
        literals: of the step.
        memories: that it starts from: one number for each neuron.
        constants: what the step reads besides, likewise.
    """

    address: int
    literals: Tensor
    memories: list[Tensor]
    constants: list[Tensor]


def row_function(node: Any, x: Tensor, memories: Sequence[Source]) -> RowFunction:
    """The compiled step of a neuron.

    Args:
        node: a neuron.
        x: input of a step, on the CPU, in float32 or float64; rows have its shape and layout in memory.
        memories: that it starts from.
    Raises:
        BackendError: the neuron's step cannot be woven.
    """
    tensors, unfit = fitting(look(node)[1], x.unsqueeze(0))
    loops = find(node, tuple(x.shape), x.dtype, names=tuple(name for name, _ in tensors))
    if isinstance(loops, str):
        loops = why_not(loops, unfit)
    if not isinstance(loops, NumbaLoops):
        raise BackendError(f"{describe(node)} cannot run in a compiled loop: {loops}.")
    if len(memories) != loops.step.num_memories:
        raise BackendError(f"{describe(node)} has {loops.step.num_memories} memories, got {len(memories)}.")

    def row(value: Source) -> Tensor:
        return torch.empty_like(x).copy_(torch.as_tensor(value).detach())

    literals, operands = loops.literals[x.dtype][0], [row(value) for _, value in tensors]
    prepared = [torch.empty_like(x) for _ in range(loops.module.HOISTED[0])]
    if prepared:
        words = array("q", [x.numel(), *(one.data_ptr() for one in (literals, *operands, *prepared))])
        loops.native("prepare_forward", x.dtype)(words.buffer_info()[0])
    address = loops.address("forward_row", x.dtype)
    return RowFunction(address, literals, [row(value) for value in memories], operands + prepared)
