"""From a neuron to its compiled loops."""

import threading
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import torch
from numba import config

from spikeloom.loom.cache import load_module
from spikeloom.loom.loops import Loops
from spikeloom.loom.numba_loop import Step, emit
from spikeloom.loom.plan import CannotWeave
from spikeloom.loom.trace import operands_of, trace

# A row function reads and writes many arrays; to vectorise it LLVM checks each pair for overlap, and gives up
# beyond 8 pairs unless it is told otherwise.
llvm.set_option("spikeloom", "-runtime-memory-check-threshold=256")


_one_at_a_time = threading.Lock()  # PyTorch's dispatch modes are not made for several threads


def plans(
    node: Any, shape: Sequence[int], dtype: torch.dtype
) -> tuple[Step, tuple[float, ...], tuple[float, ...], list[bool]]:
    """The plans of one step of ``node`` with their literals, and which operands are learned.

    Raises:
        CannotWeave: with the reason.
    """
    operands = operands_of(node)
    tensors = [operand.of(node) for operand in operands]
    if strange := [
        operand.name
        for operand, tensor in zip(operands, tensors, strict=True)
        if not tensor.is_floating_point()
    ]:
        raise CannotWeave(f"'{strange[0]}' is not floating point")
    learned = [tensor.requires_grad for tensor in tensors]
    (forward, forward_literals), (backward, backward_literals) = trace(node, operands, learned, shape, dtype)
    step = Step(forward, backward, len(node._memories), len(operands))
    return step, forward_literals, backward_literals, learned


def weave(node: Any, shape: Sequence[int], dtype: torch.dtype) -> Loops | str:
    """The loops of ``node`` for steps of a shape; or why it has none."""
    if config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]
        return "Numba's compiler is switched off (NUMBA_DISABLE_JIT)"
    try:
        with _one_at_a_time, torch.inference_mode(False), torch.no_grad():
            step, forward_literals, backward_literals, learned = plans(node, shape, dtype)
    except CannotWeave as error:
        return str(error)
    return loops_of(step, forward_literals, backward_literals, learned)


def loops_of(
    step: Step,
    forward_literals: Sequence[float],
    backward_literals: Sequence[float],
    learned: Sequence[bool],
) -> Loops:
    """The loops of a step that was planned, with its literals, and which operands get a gradient."""
    return Loops(load_module(emit(step)), step, forward_literals, backward_literals, learned)
