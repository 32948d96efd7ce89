"""SpikeProp: layers of neurons that fire at a time which has a gradient, and the original rule."""

from spikeloom.timing.spike_prop.layer import SpikeProp
from spikeloom.timing.spike_prop.rule import spike_prop_rule

__all__ = ["SpikeProp", "spike_prop_rule"]
