"""Single time steps as compiled loops of one step."""

from typing import Any

import torch
from torch import Tensor

from spikeloom.loom.backends import effective_backend
from spikeloom.loom.select import attempt, misses

PAYS = 1 << 18
"""Numbers from which on a single time step is compiled, on a CPU. To find a loop and to call it takes as long
as some ten of PyTorch's operations: with these, four neurons gained 1.2 to 2.8 times, with a quarter 0.91 to
1.7 times (2 threads, 2026-11-28, benchmarks/bench_loom.py --only steps)."""
PATIENCE = 3
"""A neuron that was woven anew more often, one time after the other, is left to the reference: weaving takes
as long as ten of its steps."""


def run_step(node: Any, x: Tensor) -> Tensor | None:
    """Run one time step of ``node`` as a compiled loop of one, on a CPU, where that pays and nobody notices.

    A script that goes step by step may do with a step what it may not do with a sequence: change the input
    before the backward pass, ask for gradients of gradients, hook the potential, set attributes. So this is
    for the library's own neurons where no gradient is recorded; with ``backend='numba'`` for all.

    Args:
        node: as for :func:`run`.
        x: ``[*]``.
    Returns:
        the output ``[*]``; or ``None``: the reference has to run
    """
    if x.numel() < PAYS or x.device.type != "cpu" or x.layout != torch.strided:
        return None
    wanted = effective_backend(node.backend)
    if wanted != "numba" and (wanted != "auto" or torch.is_grad_enabled() or not _is_ours(node)):
        return None
    if misses.get(node, 0) > PATIENCE:
        return None
    result, _ = attempt(node, x.unsqueeze(0), "numba", set())
    if isinstance(result, str):
        return None
    return torch.ops.aten._unsafe_view(result[0], x.shape)  # nobody else has it: a view would be copied


def _is_ours(node: Any) -> bool:
    """Whether a neuron and its surrogate are the library's, whose steps read nothing but the neuron."""
    return all(type(one).__module__.startswith("spikeloom.") for one in (node, node.surrogate_function))
