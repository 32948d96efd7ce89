"""The front door: ``spikeloom list | train | test | plot | profile | export``."""

from spikeloom.cli.command import main

__all__ = ["main"]
