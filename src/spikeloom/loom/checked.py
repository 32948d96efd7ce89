"""Numba's cache with checksums: LLVM ends the process over machine code that is damaged."""

import contextlib
import hashlib
import pickle
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import IndexDataCacheFile
from numba.core.ccallback import CFunc
from numba.core.dispatcher import Dispatcher
from numba.core.sigutils import normalize_signature

_LENGTH = hashlib.sha256().digest_size


def compiled(function: Any, signature: str, **options: Any) -> CFunc:
    """What ``numba.cfunc(signature, cache=True, **options)`` makes of a function.

    Raises:
        TypeError: the function closes over a compiled one. Their names differ from process to process, so
            each process would compile it anew.
        Exception: what was in the cache is damaged; of several types.
    """
    for cell in function.__closure__ or ():
        if isinstance(cell.cell_contents, Dispatcher):
            raise TypeError(f"A loop must not close over {cell.cell_contents}; let it be a global.")
    made = CFunc(function, normalize_signature(signature), {}, options)
    _keep(made)
    made.compile()
    return made


def from_python(function: Any) -> Any:
    """Decorates a function that is compiled to be called from Python; what is compiled is kept."""
    made = njit(nogil=True, error_model="numpy")(function)
    _keep(made)
    return made


def _keep(function: Any) -> None:
    """Let what is compiled of a function be kept for the next process, if that can be."""
    with contextlib.suppress(RuntimeError, OSError):  # its module is not in a file, or the folder is gone
        function.enable_caching()
        function._cache._cache_file.__class__ = _CheckedFile


class _CheckedFile(IndexDataCacheFile):
    """Files of a function, of which those with machine code begin with the checksum of the rest."""

    def save(self, key: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # the disk is full: it is compiled again in the next process
            super().save(key, data)

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(content[_LENGTH:]).digest() != content[:_LENGTH]:
            raise ValueError(f"{name} is damaged")
        return pickle.loads(content[_LENGTH:])
