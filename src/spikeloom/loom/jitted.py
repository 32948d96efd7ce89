"""Functions of a file that ``numba.njit`` compiles for NumPy arrays; what was compiled is kept for the next
process."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

from spikeloom.loom.cache import load_module, reload_module


class Jitted:
    """The functions of a file.

    Args:
        file: they are decorated with :func:`~spikeloom.loom.checked.from_python`.
        helpers: the modules whose functions are compiled into them.
    """

    def __init__(self, file: Path, helpers: Sequence[ModuleType]):
        self.module = load_module(file.read_text(), helpers)

    def __call__(self, name: str, *arguments: Any) -> Any:
        """Call the function ``name``; compiled code that cannot be loaded is compiled anew."""
        types = tuple(numba.typeof(argument) for argument in arguments)
        try:
            getattr(self.module, name).compile(types)
        except Exception:
            self.module = reload_module(self.module)
        return getattr(self.module, name)(*arguments)
