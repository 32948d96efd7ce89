"""What a network consists of: operations that the compiled loop knows, in their order."""

import copy
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from spikeloom import layer
from spikeloom.errors import ConversionError
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
    "delay": (layer.Delay, layer.LearnableDelay),
    "nothing": (
        *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, layer.Dropout, layer.Dropout1d),
        *(layer.Dropout2d, layer.MultiStepDropout, layer.MultiStepDropout2d),
    ),
}
"""By exact class: a subclass may compute something else."""
CURE = "Run the network itself, or leave this part out."


@dataclass(frozen=True)
class Call:
    """One operation.

    Args:
        kind: a key of :data:`OPERATIONS`, ``'neuron'``, ``'reshape'``, ``'join'``, ``'scale'``, or, of two
            values, ``'add'``, ``'sub'`` or ``'mul'``.
        name: of the module that does it, in the network.
        sources: numbers of the values that it takes; 0 is the network's input.
        result: number of the value that it gives.
        module: it, if it is one.
        constants: of ``'scale'``, what it multiplies by and what it adds, in double precision.
    """

    kind: str
    name: str
    sources: tuple[int, ...]
    result: int
    module: nn.Module | None = None
    constants: tuple[Tensor, ...] = ()


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

    @cached_property
    def _norms(self) -> dict[int, Call]:
        """The normalisations that become a part of the weights before them, by the values that they take."""
        layers = {call.result for call in self.calls if call.kind == "synapses"}
        uses = Counter(source for call in self.calls for source in call.sources)
        uses.update([self.output, *(memory.after for memory in self.memories)])
        norms = {call.sources[0]: call for call in self.calls if call.kind == "norm"}
        return {value: call for value, call in norms.items() if value in layers and uses[value] == 1}

    def is_folded(self, norm: Call) -> bool:
        """Whether a normalisation becomes a part of the weights before it."""
        return self._norms.get(norm.sources[0]) is norm

    def synapses(self, call: Call) -> tuple[Tensor, Tensor | None, int]:
        """Weights and bias of a layer, in double precision, with the normalisation behind it if that becomes
        a part of them, and the number of the value that both together give."""
        module: Any = call.module
        weight, norm = module.weight.detach().double(), self._norms.get(call.result)
        bias = None if module.bias is None else module.bias.detach().double()
        if norm is None:
            return weight, bias, call.result
        scale, shift = (one.reshape(len(one), -1)[:, 0] for one in self.scale_and_shift(norm))
        bias = shift if bias is None else bias * scale + shift
        return weight * scale.view(-1, *[1] * (weight.dim() - 1)), bias, norm.result

    def scale_and_shift(self, call: Call) -> tuple[Tensor, Tensor]:
        """What a normalisation, or arithmetic, multiplies each number of a sample by, and what it adds to it.

        Raises:
            ConversionError: it is not one of such inputs.
        """
        if call.constants:
            return call.constants[0], call.constants[1]
        shape = self.shapes[call.result]
        if len(shape) != (1 if isinstance(call.module, nn.BatchNorm1d) else 3):
            raise refusal(
                call.name, f"must take [N, F], or [N, C, H, W] if it is of images; gets {list(shape)}."
            )
        module: Any = copy.deepcopy(call.module)
        module, zeros = module.double(), torch.zeros(1, *shape, dtype=torch.float64)
        with torch.no_grad():
            shift, both = module(zeros)[0], module(zeros + 1)[0]
        return both - shift, shift


def refusal(name: str, what: str, cure: str = CURE) -> ConversionError:
    """Why a network cannot be taken: what its module ``name`` is, does or must do, and the cure."""
    where = f"'{name}' of `net`" if name else "`net`"
    return ConversionError(f"{where} {what} {cure}".rstrip())


def kind_of(module: nn.Module) -> str | None:
    """Which operation a module is, if it is one."""
    if "forward" in vars(module):
        return None
    if isinstance(module, BaseNode):
        base = NonSpikingBaseNode if isinstance(module, NonSpikingBaseNode) else BaseNode
        own = type(module).forward, type(module).multi_step_forward
        is_plain = own == (base.forward, base.multi_step_forward) and not module.has_sequence_function()
        return "neuron" if is_plain and not getattr(module, "decode", None) else None
    own = type_before_parametrizations(module)
    return next((kind for kind, classes in OPERATIONS.items() if own in classes), None)
