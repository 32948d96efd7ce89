"""EventProp: leaky neurons with synaptic currents, and the exact gradients of their spike times."""

from spikeloom.timing.event_prop.layers import EventProp, PeakPotential

__all__ = ["EventProp", "PeakPotential"]
