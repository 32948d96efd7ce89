"""The engine of Diehl & Cook's network, compiled."""

import functools
from pathlib import Path
from typing import Any

from spikeloom.learning import diehl_cook_constants, diehl_cook_input, diehl_cook_plasticity
from spikeloom.loom import numba_job
from spikeloom.loom.jitted import Jitted

PARTS = (diehl_cook_constants, diehl_cook_input, diehl_cook_plasticity, numba_job)


def run(*arguments: Any) -> None:
    """As in diehl_cook_engine.py."""
    engine()("run", *arguments)


@functools.cache
def engine() -> Jitted:
    """The engine, loaded once."""
    return Jitted(Path(__file__).with_name("diehl_cook_engine.py"), PARTS)
