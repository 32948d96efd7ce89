"""Loops of an emitted module, as native functions of a job's address."""

import ctypes
from collections.abc import Callable
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import torch

from spikeloom.loom.cache import reload_module
from spikeloom.loom.checked import compiled

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
        found = self._found(name, dtype)
        if not hasattr(found, "from_python"):
            found.from_python = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(found.address)
        return found.from_python

    def address(self, name: str, dtype: torch.dtype) -> int:
        """The address of the loop ``name`` for a type; 0 if the module has none of that name."""
        return self._found(name, dtype).address if hasattr(self.module, f"{name}_job") else 0

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
