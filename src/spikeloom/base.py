"""What has a step mode or a memory, under the name that older scripts use: see :mod:`spikeloom.memory`."""

from spikeloom.memory import MemoryModule, StepModule

__all__ = ["MemoryModule", "StepModule"]
