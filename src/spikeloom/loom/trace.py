"""One time step of a neuron as a graph of ATen operations, forwards and backwards.

The step is run on a shallow copy of the neuron, never on the live one, and on fake tensors: a step that looks
at values fails here, and runs on the reference. It is traced twice, at two shapes: what depends on the shape,
on chance or on a Python attribute that the step itself changes would freeze into the graph, and shows as a
difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from spikeloom.memory import BOOKKEEPING


class CannotWeave(Exception):
    """Why a step does not become a loop."""


@dataclass(frozen=True)
class Operand:
    """A tensor of the neuron that a step reads: a parameter, a buffer, or a plain attribute.

    Args:
        path: names of the submodules that lead to its owner.
        name: its own name.
    """

    path: tuple[str, ...]
    name: str

    def of(self, module: nn.Module) -> Tensor:
        """The tensor itself."""
        for child in self.path:
            module = module._modules[child]  # type: ignore[assignment]
        return getattr(module, self.name)


def operands_of(module: Any) -> list[Operand]:
    """Every tensor of ``module`` and its submodules that is not a memory."""
    found = []
    for prefix, child in module.named_modules():
        path = tuple(prefix.split(".")) if prefix else ()
        memories = getattr(child, "_memories", {})
        for tensors in (child._parameters, child._buffers, child.__dict__):
            for name, value in tensors.items():
                if isinstance(value, Tensor) and name not in memories:
                    found.append(Operand(path, name))
    return found


def shallow_copy(module: nn.Module) -> Any:
    """A copy whose attributes can be changed without touching ``module``; values are shared."""
    copy = object.__new__(type(module))
    copy.__dict__ = dict(module.__dict__)
    for name in ("_parameters", "_buffers", "_memories"):
        if name in copy.__dict__:
            copy.__dict__[name] = dict(copy.__dict__[name])
    copy.__dict__["_modules"] = {
        name: None if child is None else shallow_copy(child) for name, child in module._modules.items()
    }
    return copy


def step_function(module: Any, operands: Sequence[Operand]) -> Callable[..., Any]:
    """``step(x, memories, values) -> (output, memories)``, without side effects on ``module``."""

    def step(x: Tensor, memories: Sequence[Tensor], values: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        copy = shallow_copy(module)
        copy.__dict__["_stepping"] = False  # a number that becomes a tensor is found below, not adopted
        for name, value in zip(module._memories, memories, strict=True):
            copy.__dict__[name] = value
        for operand, value in zip(operands, values, strict=True):
            owner = copy
            for child in operand.path:
                owner = owner._modules[child]
            for tensors in (owner._parameters, owner._buffers, owner.__dict__):
                if operand.name in tensors:
                    tensors[operand.name] = value
        before = _attributes(copy)
        copy.neuronal_charge(x)
        output = copy.neuronal_fire()
        copy.neuronal_reset(output)
        changed = [name for name, value in _attributes(copy).items() if before.get(name, step) is not value]
        if changed:
            raise CannotWeave(
                f"a step changes the attribute {' and '.join(map(repr, changed))}; register it as a memory"
            )
        return output, [copy.__dict__[name] for name in module._memories]

    return step


def trace(
    module: Any, operands: Sequence[Operand], learned: Sequence[bool], dims: int, dtype: torch.dtype
) -> tuple[fx.Graph, fx.Graph]:
    """The graphs of one step forwards, and of its gradient.

    Args:
        module: a neuron with ``neuronal_charge``, ``neuronal_fire``, ``neuronal_reset`` and memories.
        operands: tensors that the step reads.
        learned: which of them need a gradient.
        dims: number of dimensions of a step's input.
        dtype: what is computed in.
    Returns:
        forward: inputs x, memories, operands; outputs output, memories. Backward: the same inputs, then the
            gradients of
        output and memories; outputs the gradients of x, memories, learned operands, or zero constants.
    Raises:
        CannotWeave: with the reason.
    """
    step = step_function(module, operands)

    def gradient(x: Tensor, memories: list, values: list, grad_output: Tensor, grad_memories: list) -> list:
        with torch.enable_grad():
            x, *memories = (value.detach().requires_grad_() for value in (x, *memories))
            pairs = zip(values, learned, strict=True)
            values = [value.detach().requires_grad_() if needed else value for value, needed in pairs]
            output, new = step(x, memories, values)
            wanted = [x, *memories, *(value for value in values if value.requires_grad)]
            produced = [
                pair
                for pair in zip((output, *new), (grad_output, *grad_memories), strict=True)
                if pair[0].requires_grad
            ]
            if not produced:
                return [torch.zeros_like(value) for value in wanted]
            outputs, gradients = zip(*produced, strict=True)
            found = torch.autograd.grad(outputs, wanted, gradients, allow_unused=True)
        return [
            torch.zeros_like(value) if grad is None else grad
            for grad, value in zip(found, wanted, strict=True)
        ]

    graphs = []
    for size in (2, 3):  # two shapes

        def make(count: int, size: int = size) -> list[Tensor]:
            return [torch.zeros((size,) * dims, dtype=dtype) for _ in range(count)]

        inputs = (make(1)[0], make(len(module._memories)), make(len(operands)))
        gradients = (make(1)[0], make(len(module._memories)))
        graphs.append((_graph(step, inputs), _graph(gradient, (*inputs, *gradients))))
    for first, second in zip(*graphs, strict=True):
        if _signature(first) != _signature(second):
            raise CannotWeave(
                "a step depends on the input's shape, on chance, or on an attribute that it changes"
            )
    return graphs[0]


def _graph(function: Callable[..., Any], inputs: tuple) -> fx.Graph:
    try:
        return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=False)(*inputs).graph
    except CannotWeave:
        raise
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise CannotWeave(f"tracing one step failed with {type(error).__name__}: {first_line}") from error


def _attributes(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module and its submodules that are no memories; containers by identity."""
    found = {}
    for prefix, child in module.named_modules():
        memories = getattr(child, "_memories", {})
        skipped = BOOKKEEPING.union(memories)
        own = {name: value for name, value in child.__dict__.items() if name not in skipped}
        found |= {f"{prefix}.{name}".lstrip("."): value for name, value in own.items()}
    return found


def _signature(graph: fx.Graph) -> list[Any]:
    """Operations and arguments of a graph, without the sizes of the tensors that it makes."""
    return [
        (node.op, str(node.target), _sizeless(node.args), sorted(map(str, _sizeless(node.kwargs).items())))
        for node in graph.nodes
        if node.op != "placeholder"
    ]


def _sizeless(value: Any) -> Any:
    if isinstance(value, fx.Node):
        return value.name
    if isinstance(value, dict):
        return {key: _sizeless(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, int) for item in value):
            return f"{len(value)} sizes"
        return tuple(_sizeless(item) for item in value)
    return repr(value)
