"""Numba's cache with checksums: LLVM ends the process over machine code that is damaged."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature

_LENGTH = hashlib.sha256().digest_size


def compiled(function: Any, signature: str, **options: Any) -> CFunc:
    """What ``numba.cfunc(signature, cache=True, **options)`` makes of a function.

    Raises:
        Exception: what was in the cache is damaged; of several types.
    """
    made = CFunc(function, normalize_signature(signature), {}, options)
    made.enable_caching()
    made._cache._cache_file.__class__ = _CheckedFile  # type: ignore[attr-defined]
    made.compile()
    return made


class _CheckedFile(IndexDataCacheFile):
    """Files of a function, of which those with machine code begin with the checksum of the rest."""

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(content[_LENGTH:]).digest() != content[:_LENGTH]:
            raise ValueError(f"{name} is damaged")
        return pickle.loads(content[_LENGTH:])
