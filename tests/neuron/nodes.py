"""The plain neurons, by the names that tests give them."""

import torch
from torch import nn

from spikeloom import neuron

NODES = {
    "if": neuron.IFNode,
    "lif": neuron.LIFNode,
    "plif": neuron.ParametricLIFNode,
    "non-spiking if": neuron.NonSpikingIFNode,
    "non-spiking lif": neuron.NonSpikingLIFNode,
    "simple if": neuron.SimpleIFNode,
    "simple lif": lambda: neuron.SimpleLIFNode(2.0, True),
    "lif soft": lambda: neuron.LIFNode(v_reset=None),
    "lif leaks last": lambda: neuron.LIFNode(leak_after_reset=True),
    "lif learned": lambda: neuron.LIFNode(v_threshold=nn.Parameter(torch.tensor(1.0)), v_reset=None),
    "multi-step if": neuron.MultiStepIFNode,
    "multi-step lif": neuron.MultiStepLIFNode,
    "multi-step plif": neuron.MultiStepParametricLIFNode,
}
