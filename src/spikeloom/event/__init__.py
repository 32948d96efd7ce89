"""Event-driven execution of trained networks: work for spikes, none for silence."""

from spikeloom.event.network import event_driven, report, reset_work
from spikeloom.event.report import Report, Row

__all__ = ["Report", "Row", "event_driven", "report", "reset_work"]
