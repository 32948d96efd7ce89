"""e-prop: recurrent neurons whose synapses learn from traces of what they have done."""

from spikeloom.learning.eprop.layer import EProp

__all__ = ["EProp"]
