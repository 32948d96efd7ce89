"""What a neuron is: one file per family, equations only."""

from spikeloom.neuron.adaptive_current import AdaptiveLIFNode
from spikeloom.neuron.adaptive_threshold import ALIFNode
from spikeloom.neuron.balanced import BalancedResonateAndFireNode
from spikeloom.neuron.base import BaseNode, SimpleBaseNode
from spikeloom.neuron.complementary import CLIFNode
from spikeloom.neuron.exponential import AdExNode, EIFNode
from spikeloom.neuron.gated import GLIFNode
from spikeloom.neuron.homeostatic import HomeostaticLIFNode
from spikeloom.neuron.integer import ILIFNode
from spikeloom.neuron.integrate_and_fire import IFNode, SimpleIFNode
from spikeloom.neuron.izhikevich import BiologicalIzhikevichNode, IzhikevichNode
from spikeloom.neuron.k_based import KLIFNode
from spikeloom.neuron.leaky import LIFNode, SimpleLIFNode
from spikeloom.neuron.multi_step_names import (
    MultiStepEIFNode,
    MultiStepIFNode,
    MultiStepLIFNode,
    MultiStepParametricLIFNode,
)
from spikeloom.neuron.non_spiking import NonSpikingBaseNode, NonSpikingIFNode, NonSpikingLIFNode
from spikeloom.neuron.parallel import PSN, MaskedPSN, SlidingPSN
from spikeloom.neuron.parametric import ParametricLIFNode
from spikeloom.neuron.quadratic import QIFNode
from spikeloom.neuron.refractory import RefractoryLIFNode
from spikeloom.neuron.resonate import ResonateAndFireNode
from spikeloom.neuron.symplectic import SEAdLIFNode
from spikeloom.neuron.synaptic import AlphaNode, CubaLIFNode
from spikeloom.neuron.ternary import TernaryLIFNode

__all__ = [
    "PSN",
    "ALIFNode",
    "AdExNode",
    "AdaptiveLIFNode",
    "AlphaNode",
    "BalancedResonateAndFireNode",
    "BaseNode",
    "BiologicalIzhikevichNode",
    "CLIFNode",
    "CubaLIFNode",
    "EIFNode",
    "GLIFNode",
    "HomeostaticLIFNode",
    "IFNode",
    "ILIFNode",
    "IzhikevichNode",
    "KLIFNode",
    "LIFNode",
    "MaskedPSN",
    "MultiStepEIFNode",
    "MultiStepIFNode",
    "MultiStepLIFNode",
    "MultiStepParametricLIFNode",
    "NonSpikingBaseNode",
    "NonSpikingIFNode",
    "NonSpikingLIFNode",
    "ParametricLIFNode",
    "QIFNode",
    "RefractoryLIFNode",
    "ResonateAndFireNode",
    "SEAdLIFNode",
    "SimpleBaseNode",
    "SimpleIFNode",
    "SimpleLIFNode",
    "SlidingPSN",
    "TernaryLIFNode",
]
