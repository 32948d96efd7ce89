"""The networks that are read from NIR graphs: nodes that give to each other, in circles too."""

import functools
import operator
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from spikeloom.layer.recurrent import StepByStep
from spikeloom.steps import StepModule

INPUT, OUTPUT = "input", "output"
Sources = Mapping[str, Sequence[str]]
"""For each node, and for ``'output'``, the nodes whose sum it takes; ``'input'`` is the network's input."""


class Scale(nn.Module):
    """Multiplies its input by learned numbers.

    Args:
        scale: ``[*]``, one for each number of a sample.
    Shape:
        input and output ``[N, *]`` or ``[T, N, *]``: it treats each time step alike.
    Example:
        >>> import torch
        >>> Scale(torch.tensor([1.0, 2.0]))(torch.ones(1, 2)).tolist()
        [[1.0, 2.0]]
    """

    def __init__(self, scale: Tensor):
        super().__init__()
        self.scale = nn.Parameter(scale)

    def forward(self, input: Tensor) -> Tensor:
        return input * self.scale


class NIRNetwork(StepModule, nn.Module):
    """Nodes that give to later ones; what comes from several is added up.

    Args:
        nodes: modules by name, each behind those that give to it.
        sources: for each of them, and for ``'output'``, the names of those that give to it.
    Shape:
        as the modules, whose step mode it has.
    Example:
        >>> import torch
        >>> net = NIRNetwork({"twice": nn.Identity()}, {"twice": ["input"], "output": ["input", "twice"]})
        >>> net(torch.ones(1))
        tensor([2.])
    """

    def __init__(self, nodes: Mapping[str, nn.Module], sources: Sources):
        super().__init__()
        self.nodes = nn.ModuleDict(nodes)
        self.sources = {name: tuple(one) for name, one in sources.items()}

    def forward(self, input: Tensor) -> Tensor:
        values = {INPUT: input}
        for name, node in self.nodes.items():
            values[name] = node(_sum([values[one] for one in self.sources[name]]))
        return _sum([values[one] for one in self.sources[OUTPUT]])


class RecurrentNIRNetwork(StepByStep):
    """Nodes that give to each other in circles: some give what they gave in the time step before, 0 at first.

    Args:
        nodes: single-step modules by name, each behind those that give to it in the same time step.
        sources: for each of them, and for ``'output'``, the names of those that give to it at once.
        sources_before: for each that has some, the names of those that give to it one time step later.
        shapes: of what each of these gives, for one sample.
        step_mode: of the network, ``'s'`` or ``'m'``; the modules within are always single-step.
    Shape:
        input and output ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step).
    """

    def __init__(
        self,
        nodes: Mapping[str, nn.Module],
        sources: Sources,
        sources_before: Sources,
        shapes: Mapping[str, Sequence[int]],
        step_mode: str = "s",
    ):
        super().__init__(step_mode)
        self.nodes = nn.ModuleDict(nodes)
        self.sources = {name: tuple(one) for name, one in sources.items()}
        self.sources_before = {name: tuple(one) for name, one in sources_before.items()}
        self.shapes = {name: tuple(map(int, shape)) for name, shape in shapes.items()}
        for name in self.shapes:
            self.register_memory(f"last_{name}", 0.0)

    def single_step_forward(self, x: Tensor) -> Tensor:
        last = {name: self._last(name, x) for name in self.shapes}
        values = {INPUT: x}
        for name, node in self.nodes.items():
            given = [values[one] for one in self.sources[name]]
            values[name] = node(_sum(given + [last[one] for one in self.sources_before.get(name, ())]))
        for name in self.shapes:
            setattr(self, f"last_{name}", values[name])
        return _sum([values[one] for one in self.sources[OUTPUT]])

    def _last(self, name: str, x: Tensor) -> Tensor:
        """What a node gave in the step before."""
        last = getattr(self, f"last_{name}")
        return last if isinstance(last, Tensor) else x.new_zeros(len(x), *self.shapes[name])


def _sum(values: Sequence[Tensor]) -> Tensor:
    return functools.reduce(operator.add, values)
