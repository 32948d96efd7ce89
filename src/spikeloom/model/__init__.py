"""Deep networks by name: residual ones of three kinds, VGG, those of STBP and PLIF, Spikformer.

``create(name)`` makes one, ``names()`` lists them. ``sew_resnet``, ``spiking_resnet``, ``spiking_vgg`` and
``parametric_lif_net`` have the names that tutorials use.
"""

from spikeloom.model import (
    parametric_lif_net,
    plif,
    resnet,
    sew_events,
    sew_resnet,
    spikformer,
    spiking_resnet,
    spiking_vgg,
    stbp,
    vgg,
)
from spikeloom.model.blocks import MembraneBlock, ResidualBlock, SEWBlock, SpikingBlock
from spikeloom.model.network import Network
from spikeloom.model.registered import MODELS, create, names
from spikeloom.model.spikformer import SpikformerBlock, SpikingSelfAttention

__all__ = [
    "MODELS",
    "MembraneBlock",
    "Network",
    "ResidualBlock",
    "SEWBlock",
    "SpikformerBlock",
    "SpikingBlock",
    "SpikingSelfAttention",
    "create",
    "names",
    "parametric_lif_net",
    "sew_resnet",
    "spiking_resnet",
    "spiking_vgg",
]
