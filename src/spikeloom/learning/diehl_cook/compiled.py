"""The engine of Diehl & Cook's network, compiled; what was compiled is kept for the next process."""

import functools
from pathlib import Path
from typing import Any

import numba

from spikeloom.learning.diehl_cook import constants, input, plasticity
from spikeloom.loom import numba_job
from spikeloom.loom.cache import load_module, reload_module

PARTS = (constants, input, plasticity, numba_job)


class Engine:
    """engine.py, as a module of the cache."""

    def __init__(self) -> None:
        self.module = load_module(Path(__file__).with_name("engine.py").read_text(), PARTS)

    def run(self, *arguments: Any) -> None:
        """As there; compiled code that cannot be loaded is compiled anew."""
        try:
            self.module.run.compile(tuple(map(numba.typeof, arguments)))
        except Exception:
            self.module = reload_module(self.module)
        self.module.run(*arguments)


engine = functools.cache(Engine)  # loaded once


def run(*arguments: Any) -> None:
    """As in engine.py."""
    engine().run(*arguments)
