"""Event-driven execution of trained networks: work for spikes, none for silence."""

from spikeloom.event.report import LayerWork, Report
from spikeloom.event.runner import Runner

__all__ = ["LayerWork", "Report", "Runner"]
