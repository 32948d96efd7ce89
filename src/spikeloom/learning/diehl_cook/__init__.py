"""Diehl & Cook's network of competing neurons: its constants, its reference, and the compiled engine."""

from spikeloom.learning.diehl_cook.constants import DiehlCookConstants
from spikeloom.learning.diehl_cook.network import DiehlCook

__all__ = ["DiehlCook", "DiehlCookConstants"]
