"""From a neuron to its compiled loops."""

import threading
from collections.abc import Container, Sequence
from typing import Any

import torch

from spikeloom.loom.available import unavailable
from spikeloom.loom.operands import operands_of
from spikeloom.loom.plan import CannotWeave
from spikeloom.loom.running import Loops
from spikeloom.loom.step import Step, Woven
from spikeloom.loom.trace import trace

_one_at_a_time = threading.Lock()  # PyTorch's dispatch modes are not made for several threads


def plans(node: Any, shape: Sequence[int], dtype: torch.dtype, names: Container[str] | None = None) -> Woven:
    """One step of ``node``, planned, with its tensors of these ``names`` as operands, or all.

    Raises:
        CannotWeave: with the reason.
    """
    operands = operands_of(node, names)
    tensors = [operand.of(node) for operand in operands]
    if strange := [
        operand.name
        for operand, tensor in zip(operands, tensors, strict=True)
        if not tensor.is_floating_point()
    ]:
        raise CannotWeave(f"'{strange[0]}' is not floating point")
    learned = [tensor.requires_grad for tensor in tensors]
    traced = trace(node, operands, learned, shape, dtype)
    step = Step(traced.forward, traced.backward, len(node._memories), len(operands))
    numbers = traced.forward_literals, traced.backward_literals
    return Woven(step, *numbers, tuple(learned), traced.has_gradient, traced.gets_gradient)


def weave(
    node: Any,
    shape: Sequence[int],
    dtype: torch.dtype,
    target: str = "numba",
    names: Container[str] | None = None,
) -> Loops | str:
    """The loops of ``node`` for steps of a shape, by Numba or Triton; or why it has none."""
    if reason := unavailable(target):
        return reason
    try:
        with _one_at_a_time, torch.inference_mode(False), torch.no_grad():
            woven = plans(node, shape, dtype, names)
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
