"""What a network costs: firing rates, synaptic operations, energy, and the memory of its training.

:func:`count` runs a network once and counts, layer by layer; :func:`training_memory` measures what autograd
keeps; :func:`speed` times a neuron. None of them changes the network. docs/energy-and-cost.md says what is
counted, and what is not.
"""

from spikeloom.profile.counting import count
from spikeloom.profile.figures import draw_profile
from spikeloom.profile.memory import TrainingMemory, training_memory
from spikeloom.profile.result import AC_ENERGY, MAC_ENERGY, LayerProfile, Profile
from spikeloom.profile.speed import Speed, speed
from spikeloom.profile.watch import is_neuron

__all__ = [
    "AC_ENERGY",
    "MAC_ENERGY",
    "LayerProfile",
    "Profile",
    "Speed",
    "TrainingMemory",
    "count",
    "draw_profile",
    "is_neuron",
    "speed",
    "training_memory",
]
