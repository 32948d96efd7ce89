"""The engine of Diehl & Cook's network, compiled."""

import functools
from pathlib import Path
from typing import Any

from spikeloom.learning.diehl_cook import constants, input, plasticity
from spikeloom.loom import numba_job
from spikeloom.loom.jitted import Jitted

PARTS = (constants, input, plasticity, numba_job)


def run(*arguments: Any) -> None:
    """As in engine.py."""
    engine()("run", *arguments)


@functools.cache
def engine() -> Jitted:
    """The engine, loaded once."""
    return Jitted(Path(__file__).with_name("engine.py"), PARTS)
