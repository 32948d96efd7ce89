"""The engine of Diehl & Cook's network, compiled; what was compiled is kept for the next process."""

import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

from spikeloom.loom.cache import load_module, reload_module

_modules: list[ModuleType] = []


def run(*arguments: Any) -> None:
    """As in diehl_cook_engine.py; compiled code that cannot be loaded is compiled anew."""
    signature = tuple(numba.typeof(argument) for argument in arguments)
    if not _modules:
        _modules.append(load_module(_source()))
    try:
        _modules[0].run.compile(signature)
    except Exception:
        _modules[0] = reload_module(_modules[0])
    _modules[0].run(*arguments)


def _source() -> str:
    """The engine, with a checksum of what it calls: Numba looks at the file alone to see what has changed."""
    folder = Path(__file__).parent
    parts = b"".join(path.read_bytes() for path in sorted(folder.glob("diehl_cook_*.py")))
    return f"{(folder / 'diehl_cook_engine.py').read_text()}# {hashlib.sha256(parts).hexdigest()}\n"
