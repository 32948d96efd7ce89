"""Layers of spike response neurons in continuous time, and the exact gradients of their spike times."""

from spikeloom.timing.spike_response.event_prop import EventProp, PeakPotential
from spikeloom.timing.spike_response.response import SpikeResponse
from spikeloom.timing.spike_response.spike_prop import SpikeProp

__all__ = ["EventProp", "PeakPotential", "SpikeProp", "SpikeResponse"]
