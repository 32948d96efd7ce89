"""Loops of a module, as native functions of a job's address."""

import functools
from array import array
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import torch
from torch import Tensor

from spikeloom.loom import threads
from spikeloom.loom.cache import load_module, reload_module
from spikeloom.loom.checked import compiled
from spikeloom.loom.numba_job import DONE, RANGES

# A row function reads and writes many arrays; to vectorise it LLVM checks each pair for overlap, and gives up
# beyond 8 pairs unless it is told otherwise.
llvm.set_option("spikeloom", "-runtime-memory-check-threshold=256")

REAL = {torch.float32: np.float32, torch.float64: np.float64}
# What a maker is called with, for the type of the numbers in memory.
_ARGUMENTS = {dtype: (real,) for dtype, real in REAL.items()} | {torch.bfloat16: (np.float32, True)}


class Native:
    """The loops of a module that has a maker ``<name>_job(real)`` for each, or ``<name>_job(real, half)``,
    whose loop reads and writes bfloat16 if ``half``.

    Args:
        module: from :func:`~spikeloom.loom.cache.load_module`.
    """

    def __init__(self, module: ModuleType):
        self.module = module

    def native(self, name: str, dtype: torch.dtype) -> Callable[[int], Any]:
        """The loop ``name`` for a type."""
        return self._found(name, dtype).ctypes

    def address(self, name: str, dtype: torch.dtype) -> int:
        """The address of the loop ``name`` for a type; 0 if the module has none of that name."""
        return self._found(name, dtype).address if hasattr(self.module, f"{name}_job") else 0

    def run_pieces(self, name: str, dtype: torch.dtype, pieces: int, *arguments: Tensor | np.ndarray) -> None:
        """Run the loop ``name`` in as many threads as PyTorch uses, which share its work piece by piece.

        Args:
            name, dtype: of the loop.
            pieces: of the work.
            arguments: of the loop, contiguous.
        Raises:
            MemoryError: there is too little.
        """
        job = array("q", [0, 0, pieces, pieces, 1, *[0] * 7])
        for one in arguments:
            if isinstance(one, Tensor):
                job.extend((one.data_ptr(), one.numel()))
            else:
                job.extend((one.ctypes.data, one.size))
        self.run_job(name, dtype, job, min(torch.get_num_threads(), pieces), f"the compiled loop {name!r}")

    def run_job(self, name: str, dtype: torch.dtype, job: "array[int]", num_threads: int, what: str) -> None:
        """The same, for a job as :mod:`spikeloom.loom.numba_job` describes it; ``what`` it is, for errors."""
        threads.run(self.native(name, dtype), job.buffer_info()[0], num_threads)
        if job[DONE] != job[RANGES]:
            raise MemoryError(f"Too little memory for {what}.")

    def _found(self, name: str, dtype: torch.dtype) -> Any:
        """The compiled function; what cannot be loaded is compiled anew."""
        natives = vars(self.module).setdefault("natives", {})  # of all that share the module
        if (name, dtype) not in natives:
            try:
                natives[name, dtype] = self._compiled(name, dtype)
            except Exception:
                self.module = reload_module(self.module)
                natives = vars(self.module).setdefault("natives", {})
                natives[name, dtype] = self._compiled(name, dtype)
        return natives[name, dtype]

    def _compiled(self, name: str, dtype: torch.dtype) -> Any:
        made = getattr(self.module, f"{name}_job")(*_ARGUMENTS[dtype])
        return compiled(made, "void(voidptr)", error_model="numpy")


@functools.cache
def loops_of_file(path: Path, helpers: tuple[ModuleType, ...] | None = None) -> Native:
    """The loops of a file, loaded once; ``helpers`` as for :func:`~spikeloom.loom.cache.load_module`."""
    return Native(load_module(path.read_text(), helpers))
