"""From a neuron to its compiled loops."""

import threading
from collections.abc import Sequence
from typing import Any

import torch

from spikeloom.loom.available import unavailable
from spikeloom.loom.operands import operands_of
from spikeloom.loom.plan import CannotWeave
from spikeloom.loom.running import Loops
from spikeloom.loom.step import Step, Woven
from spikeloom.loom.trace import trace

_one_at_a_time = threading.Lock()  # PyTorch's dispatch modes are not made for several threads


def plans(node: Any, shape: Sequence[int], dtype: torch.dtype) -> Woven:
    """One step of ``node``, planned.

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
    return Woven(step, forward_literals, backward_literals, tuple(learned))


def weave(node: Any, shape: Sequence[int], dtype: torch.dtype, target: str = "numba") -> Loops | str:
    """The loops of ``node`` for steps of a shape, by Numba or Triton; or why it has none."""
    if reason := unavailable(target):
        return reason
    try:
        with _one_at_a_time, torch.inference_mode(False), torch.no_grad():
            woven = plans(node, shape, dtype)
    except CannotWeave as error:
        return str(error)
    return loops_of(woven, target)


def loops_of(woven: Woven, target: str = "numba") -> Loops:
    """The loops of a step that was planned."""
    if target == "triton":
        from spikeloom.loom.triton_run import TritonLoops

        return TritonLoops(woven)
    from spikeloom.loom.cache import load_module
    from spikeloom.loom.loops import NumbaLoops
    from spikeloom.loom.numba_loop import emit

    return NumbaLoops(load_module(emit(woven.step)), woven)
