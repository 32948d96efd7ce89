"""Values to spikes: Poisson, latency, phase and population coding, and changes of a signal."""

from spikeloom.encoding.delta import DeltaEncoder
from spikeloom.encoding.latency import LatencyEncoder
from spikeloom.encoding.periodic import PeriodicEncoder
from spikeloom.encoding.phase import WeightedPhaseEncoder
from spikeloom.encoding.poisson import PoissonEncoder
from spikeloom.encoding.population import PopulationEncoder
from spikeloom.encoding.random import SampleGenerator, UniformSource, derive_seed
from spikeloom.encoding.stateful import StatefulEncoder

__all__ = [
    "DeltaEncoder",
    "LatencyEncoder",
    "PeriodicEncoder",
    "PoissonEncoder",
    "PopulationEncoder",
    "SampleGenerator",
    "StatefulEncoder",
    "UniformSource",
    "WeightedPhaseEncoder",
    "derive_seed",
]
