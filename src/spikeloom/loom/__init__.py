"""How a neuron runs: one time step is traced, planned, and woven into a compiled loop over time.

Numba and PyTorch's tracer are imported with the first neuron that is woven.
"""

from spikeloom.loom import graph, operator
from spikeloom.loom.backends import BACKENDS, backend, checked_backend, reads_half
from spikeloom.loom.explaining import explain
from spikeloom.loom.select import run
from spikeloom.loom.single import run_step

__all__ = [
    "BACKENDS",
    "backend",
    "checked_backend",
    "explain",
    "graph",
    "operator",
    "reads_half",
    "run",
    "run_step",
]
