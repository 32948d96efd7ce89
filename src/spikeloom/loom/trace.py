"""One time step of a neuron as a plan, forwards and backwards.

The step is run on a shallow copy of the neuron, never on the live one, and on a few made-up values, while
every ATen operation is written down. It is traced at several shapes, with other values: what depends on the
shape, on a value, on chance, or on a Python attribute that the step itself changes would freeze into the
plan, and shows as a difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spikeloom.loom.plan import CannotWeave, Plan, PlanBuilder
from spikeloom.memory import BOOKKEEPING


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
    """A copy whose attributes and containers can be changed without touching ``module``."""
    copy = object.__new__(type(module))
    containers = (dict, list, set)
    copy.__dict__ = {
        name: value.copy() if type(value) in containers else value for name, value in module.__dict__.items()
    }
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
        for name, value in copy.__dict__.items():
            if getattr(value, "__self__", None) is module:
                raise CannotWeave(f"its '{name}' is a method that is bound to the neuron itself")
        before = _attributes(copy)
        copy.neuronal_charge(x)
        output = copy.neuronal_fire()
        copy.neuronal_reset(output)
        changed = [name for name, value in _attributes(copy).items() if before.get(name) != value]
        if changed:
            raise CannotWeave(
                f"a step changes the attribute {' and '.join(map(repr, changed))}; register it as a memory"
            )
        return output, [copy.__dict__[name] for name in module._memories]

    return step


def trace(
    module: Any,
    operands: Sequence[Operand],
    learned: Sequence[bool],
    shape: Sequence[int],
    dtype: torch.dtype,
) -> tuple[tuple[Plan, tuple[float, ...]], tuple[Plan, tuple[float, ...]]]:
    """The plans of one step forwards, and of its gradient, each with its literals.

    Args:
        module: a neuron with ``neuronal_charge``, ``neuronal_fire``, ``neuronal_reset`` and memories.
        operands: tensors that the step reads.
        learned: which of them need a gradient.
        shape: of a step's input.
        dtype: what is computed in.
    Returns:
        forward: inputs x, memories, operands; outputs output, memories. Backward: the same inputs, then the
            gradients
        of output and memories; outputs the gradients of x, memories, learned operands.
    Raises:
        CannotWeave: with the reason.
    """
    step, num_memories = step_function(module, operands), len(module._memories)

    def forward(x: Tensor, *values: Tensor) -> list[Tensor]:
        output, new = step(x, values[:num_memories], values[num_memories:])
        return [output, *new]

    def backward(*inputs: Tensor) -> list[Tensor]:
        wanted = [True] * (1 + num_memories) + list(learned)
        sources = [
            value.detach().requires_grad_() if needed else value
            for value, needed in zip(inputs, wanted, strict=False)
        ]
        with torch.enable_grad():
            results = forward(*(source.clone() for source in sources))  # a step may write to what it is given
            pairs = list(zip(results, inputs[len(sources) :], strict=True))
            produced = [pair for pair in pairs if pair[0].requires_grad]
            sources = [source for source, needed in zip(sources, wanted, strict=True) if needed]
            if not produced:
                return [torch.zeros_like(source) for source in sources]
            outputs, gradients = zip(*produced, strict=True)
            found = torch.autograd.grad(outputs, sources, gradients, allow_unused=True)
        pairs = list(zip(found, sources, strict=True))
        return [torch.zeros_like(source) if gradient is None else gradient for gradient, source in pairs]

    num_inputs = 1 + num_memories + len(operands)
    traced = []
    for number, size in enumerate([(2,) * len(shape), (3,) * len(shape), tuple(shape)]):
        if torch.Size(size).numel() in range(
            1, SMALL + 1
        ):  # what is empty shows nothing, what is large takes long
            inputs = [
                _made_up(size, dtype, 3 * number + place) for place in range(num_inputs + 1 + num_memories)
            ]
            traced.append((_recorded(forward, inputs[:num_inputs]), _recorded(backward, inputs)))
    if any(repr(one) != repr(traced[0]) for one in traced):
        raise CannotWeave(
            "a step depends on the input's shape, on a tensor's value, on chance, or on what it changes"
        )
    return traced[0]


def _made_up(shape: tuple[int, ...], dtype: torch.dtype, number: int) -> Tensor:
    """Values between 0 and 1 that differ by place and by ``number``; PyTorch's random state is left alone."""
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=dtype) * 0.618034 + number * 0.414214).frac().reshape(shape)


SMALL = 1 << 16
"""Steps of up to this many values are traced at their own size too, to see whether the size matters."""


class _Recorder(TorchDispatchMode):
    """Writes every operation down."""

    def __init__(self, builder: PlanBuilder):
        super().__init__()
        self.builder = builder

    def dispatch(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One ATen operation, with what it was called with."""
        result = func(*args, **(kwargs or {}))
        self.builder.record(func, args, kwargs or {}, result)
        return result


# Set after the class is made, because PyTorch wraps what it finds while it is made into something that
# imports all of torch._dynamo: more than a second (2 cores, 2026-11-22).
_Recorder.__torch_dispatch__ = _Recorder.dispatch  # type: ignore[method-assign]


def _recorded(function: Callable[..., list[Tensor]], inputs: list[Tensor]) -> tuple[Plan, tuple[float, ...]]:
    builder = PlanBuilder(inputs)
    try:
        with torch.autocast("cpu", enabled=False), _Recorder(builder):
            outputs = function(*inputs)
        return builder.finish(outputs)
    except CannotWeave:
        raise
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise CannotWeave(f"tracing one step failed with {type(error).__name__}: {first_line}") from error


def _attributes(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module and its submodules that are no memories, with what they contain."""
    found = {}
    for prefix, child in module.named_modules():
        memories = getattr(child, "_memories", {})
        skipped = BOOKKEEPING.union(memories)
        own = {name: _contents(value) for name, value in child.__dict__.items() if name not in skipped}
        found |= {f"{prefix}.{name}".lstrip("."): value for name, value in own.items()}
    return found


def _contents(value: Any) -> list[int]:
    """Identities of an object and of what it contains, to see whether it changes."""
    if isinstance(value, dict):
        return [id(value), *map(id, value), *map(id, value.values())]
    if isinstance(value, list | tuple | set | frozenset):
        return [id(value), *map(id, value)]
    return [id(value)]
