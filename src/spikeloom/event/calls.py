"""What a network consists of: operations that the compiled loop knows, in their order."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from spikeloom import layer
from spikeloom.neuron import BaseNode, NonSpikingBaseNode

OPERATIONS: dict[str, tuple[type[nn.Module], ...]] = {
    "synapses": (nn.Linear, nn.Conv2d, layer.Linear, layer.Conv2d),
    "norm": (
        *(nn.BatchNorm1d, nn.BatchNorm2d, layer.BatchNorm1d, layer.BatchNorm2d),
        *(layer.ThresholdDependentBatchNorm1d, layer.ThresholdDependentBatchNorm2d),
    ),
    "pool": (
        *(nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d),
        *(layer.AvgPool2d, layer.MaxPool2d, layer.AdaptiveAvgPool2d, layer.VotingLayer),
    ),
    "nothing": (
        *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, layer.Dropout, layer.Dropout1d),
        *(layer.Dropout2d, layer.MultiStepDropout, layer.MultiStepDropout2d),
    ),
}
"""By exact class: a subclass may compute something else."""
CURE = "Run the network itself, or without this part."


@dataclass(frozen=True)
class Call:
    """One operation.

    Args:
        kind: a key of :data:`OPERATIONS`, ``'neuron'``, ``'reshape'``, ``'join'``, or one of arithmetic.
        name: of the module that does it, in the network.
        sources: numbers of the values that it takes; 0 is the network's input.
        result: number of the value that it gives.
        module: it, if it is one.
        constants: of arithmetic, what it takes in the place of a source; ``None`` where it takes one.
    """

    kind: str
    name: str
    sources: tuple[int, ...]
    result: int
    module: nn.Module | None = None
    constants: tuple[Any, ...] = ()


class Memory(NamedTuple):
    """What a module that is no neuron remembers.

    Args:
        before, after: numbers of its value before the step, and of that after it.
        start: its value before the first step.
    """

    before: int
    after: int
    start: float


@dataclass(frozen=True)
class Recording:
    """What a network consists of.

    Args:
        net: a copy of the network, in evaluation and single-step mode, and reset.
        calls: its operations, in order.
        shapes: of all values, for one sample.
        output: number of the value that it returns.
        memories: of modules that are no neurons.
        starts: by the names of neurons, their memories before the first step.
    """

    net: nn.Module
    calls: list[Call]
    shapes: list[torch.Size]
    output: int
    memories: list[Memory]
    starts: dict[str, Any]


def kind_of(module: nn.Module) -> str | None:
    """Which operation a module is, if it is one."""
    if "forward" in vars(module):
        return None
    if isinstance(module, BaseNode):
        base = NonSpikingBaseNode if isinstance(module, NonSpikingBaseNode) else BaseNode
        own = type(module).forward, type(module).multi_step_forward
        is_plain = own == (base.forward, base.multi_step_forward) and not getattr(module, "decode", None)
        return "neuron" if is_plain else None
    return next((kind for kind, classes in OPERATIONS.items() if type(module) in classes), None)
