"""How a neuron runs: one time step is traced, planned, and woven into a compiled loop over time.

Numba and PyTorch's tracer are imported with the first neuron that is woven. Where to find what:

- Which loop runs: ``select`` (and ``single``, for time steps) finds it again by what ``fingerprint`` and
  ``same`` see of a neuron; ``backends``. Within a graph of PyTorch's: ``graph``, ``operator``, ``program``.
- From a neuron to a plan: ``weave``, ``trace``, on a copy (``isolate``), while nothing else may change
  (``outside``, ``watching``); ``plan``, ``operations``, ``step``.
- From a plan to source: ``numba_loop`` and ``triton_loop``. What they print calls the other files that begin
  with ``numba_`` or ``triton_``; ``numba_driver`` runs it over time.
- Running: ``running`` (autograd), then ``loops`` (Numba; with ``native``, ``threads``, ``pooled``),
  ``triton_run`` or ``interpret``. ``cache`` and ``checked`` keep what was compiled.
- For others: ``explaining``; ``row`` for the event-driven runner; ``own_loops`` for loops written by hand.
"""

from spikeloom.loom import graph, operator
from spikeloom.loom.backends import BACKENDS, backend, checked_backend, reads_half
from spikeloom.loom.explaining import explain
from spikeloom.loom.select import run, run_fed_back
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
    "run_fed_back",
    "run_step",
]
