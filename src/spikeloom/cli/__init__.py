"""The front door: ``spikeloom list | train | test | plot | profile | export | bench``."""

from spikeloom.cli.command import main

__all__ = ["main"]
