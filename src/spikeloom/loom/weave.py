"""From a neuron to its compiled loops."""

import threading
from collections.abc import Container
from typing import Any

import torch

from spikeloom.loom.backends import unavailable
from spikeloom.loom.plan import CannotWeave
from spikeloom.loom.running import Loops
from spikeloom.loom.step import Woven
from spikeloom.loom.trace import plans

_one_at_a_time = threading.Lock()  # PyTorch's dispatch modes are not made for several threads


def weave(
    node: Any,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    target: str = "numba",
    names: Container[str] | None = None,
) -> Loops | str:
    """The loops of ``node`` for steps of a shape, by Numba or Triton; or why it has none."""
    for name in ("single_step_forward", "expand_memories"):
        declared = [vars(base).get(name) for base in type(node).__mro__ if "charge_fire_reset" in vars(base)]
        if getattr(type(node), name, None) not in declared:
            return f"it overrides {name}"
    if node.has_step_function():
        return "it overrides single_step_functional_forward"
    if node.has_sequence_function():
        return "it overrides multi_step_functional_forward"
    if reason := unavailable(target):
        return reason
    try:
        with _one_at_a_time, torch.inference_mode(False), torch.no_grad():
            woven = plans(node, shape, dtype, names)
    except CannotWeave as error:
        return str(error)
    return loops_of(woven, target)


def loops_of(woven: Woven, target: str) -> Loops:
    """The loops of a step that was planned, by Numba or Triton; by the interpreter for ``'torch'``."""
    if target == "torch":
        from spikeloom.loom.interpret import InterpretedLoops

        return InterpretedLoops(woven)
    if target == "triton":
        from spikeloom.loom.triton_run import TritonLoops

        return TritonLoops(woven)
    from spikeloom.loom.cache import load_module
    from spikeloom.loom.loops import NumbaLoops
    from spikeloom.loom.numba_loop import emit

    return NumbaLoops(load_module(emit(woven.step)), woven)
