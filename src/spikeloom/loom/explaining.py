"""An account of what the loom makes of a neuron."""

from typing import Any

import torch

from spikeloom.loom.backends import computed_in
from spikeloom.loom.fingerprint import look
from spikeloom.loom.select import find, held_back, why_not


def explain(node: Any, dims: int = 2, dtype: torch.dtype = torch.float32) -> str:
    """What the loom makes of a neuron: its plans and the emitted source, or why it runs on the reference
    loop.

    Args:
        node: a neuron.
        dims: dimensions of one step's input, with the batch.
        dtype: type of the input.
    Example:
        >>> from spikeloom import neuron
        >>> print(explain(neuron.IFNode()))
        IFNode is woven into one loop over time; its spikes have the bits of the reference loop.
        ...
    """
    own = type(node).multi_step_forward
    if not all(one.__module__.startswith("spikeloom.") for one in (own, type(node).forward)):
        return f"{type(node).__name__} says itself how it runs over time, and need not ask the loom."
    dtype = computed_in(dtype)
    tensors = {one: value.dtype for one, value in look(node)[1]}
    readable = tuple(one for one, type_ in tensors.items() if type_ == dtype)
    unfit = next((f"its '{one}' is a {type_}" for one, type_ in tensors.items() if type_ != dtype), None)
    loops = held_back(node) or find(node, (7,) * dims, dtype, names=readable)
    name = type(node).__name__
    if isinstance(loops, str):
        return f"{name} runs on the reference loop: {why_not(loops, unfit)}."
    from spikeloom.loom import numba_loop, triton_loop
    from spikeloom.loom.triton_operations import on_cuda

    step = loops.step
    agreement = (
        "its spikes have the bits of the reference loop"
        if step.forward.exact
        else "its potentials differ from the reference loop's by rounding"
    )
    on_device = loops.woven._replace(step=on_cuda(step))
    return (
        f"{name} is woven into one loop over time; {agreement}.\n\nForward plan\n{step.forward}\n\n"
        f"Backward plan\n{step.backward}\n\nEmitted source, for the CPU\n{numba_loop.emit(step)}\n\n"
        f"Emitted source, for CUDA devices\n{triton_loop.emit(on_device, dtype, triton_loop.CHUNKS[0])}"
    )
