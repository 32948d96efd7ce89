"""What happens inside a network: inputs, outputs, memories and gradients of its modules, recorded.

:func:`record` gives every module's memories and spikes as one tensor over time, in both step modes. The
monitor classes keep one record per call of a module. After the ``with`` block nothing is left on the network.
"""

from spikeloom.monitor.base import BaseMonitor
from spikeloom.monitor.gradients import GradInputMonitor, GradOutputMonitor
from spikeloom.monitor.recording import ModuleRecord, Recording, record
from spikeloom.monitor.values import AttributeMonitor, InputMonitor, OutputMonitor

__all__ = [
    "AttributeMonitor",
    "BaseMonitor",
    "GradInputMonitor",
    "GradOutputMonitor",
    "InputMonitor",
    "ModuleRecord",
    "OutputMonitor",
    "Recording",
    "record",
]
