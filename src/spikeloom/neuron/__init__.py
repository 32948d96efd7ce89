"""What a neuron is: one file per family, equations only."""

from spikeloom.neuron.base import BaseNode, SimpleBaseNode
from spikeloom.neuron.integrate_and_fire import IFNode, SimpleIFNode
from spikeloom.neuron.leaky import LIFNode, SimpleLIFNode
from spikeloom.neuron.multi_step_names import MultiStepIFNode, MultiStepLIFNode, MultiStepParametricLIFNode
from spikeloom.neuron.non_spiking import NonSpikingBaseNode, NonSpikingIFNode, NonSpikingLIFNode
from spikeloom.neuron.parametric import ParametricLIFNode

__all__ = [
    "BaseNode",
    "IFNode",
    "LIFNode",
    "MultiStepIFNode",
    "MultiStepLIFNode",
    "MultiStepParametricLIFNode",
    "NonSpikingBaseNode",
    "NonSpikingIFNode",
    "NonSpikingLIFNode",
    "ParametricLIFNode",
    "SimpleBaseNode",
    "SimpleIFNode",
    "SimpleLIFNode",
]
