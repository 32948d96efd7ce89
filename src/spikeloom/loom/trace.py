"""One time step of a neuron as a plan, forwards and backwards.

The step is run on a copy of the neuron, never on the live one, and on a few made-up values, while every ATen
operation is written down. It is traced at several shapes, with other values: what depends on the
shape, on a value, on chance, or on a Python attribute that the step itself changes would freeze into the
plan, and shows as a difference.
"""

from collections.abc import Callable, Container, Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spikeloom.loom.fingerprint import look
from spikeloom.loom.isolate import Isolated, uncopied
from spikeloom.loom.outside import Outside
from spikeloom.loom.plan import FAILED, Argument, CannotWeave, Literal, Plan, PlanBuilder, Value
from spikeloom.loom.step import Step, Woven
from spikeloom.loom.watching import RandomState, Watch
from spikeloom.memory import outside_of_checkpoints


def plans(node: Any, shape: Sequence[int], dtype: torch.dtype, names: Container[str] | None = None) -> Woven:
    """One step of ``node``, forwards and its gradient, as plans with their literals.

    Args:
        node: a neuron with ``neuronal_charge``, ``neuronal_fire``, ``neuronal_reset`` and memories.
        shape: of a step's input.
        dtype: what is computed in.
        names: of its tensors that are operands; default: all.
    Raises:
        CannotWeave: with the reason.
    """
    operands = [(name, tensor) for name, tensor in look(node)[1] if names is None or name in names]
    if strange := [name for name, tensor in operands if not tensor.is_floating_point()]:
        raise CannotWeave(f"'{strange[0].rpartition('.')[2]}' is not floating point")
    for name, value in node.__dict__.items():
        if isinstance(value, MethodType) and value.__self__ is node:
            raise CannotWeave(f"its '{name}' is a method that is bound to the neuron itself")
    try:
        isolated = Isolated(node)
    except Exception as error:
        raise CannotWeave(f"it cannot be copied for a trace: {error!r}") from error
    with Outside(node) as outside, RandomState():
        return _traced(_Recordable(isolated, outside, operands), shape, dtype)


class _Recordable:
    """A step as functions of x, memories and operands, which can be recorded.

    Args:
        isolated: a copy of a neuron, which a step must leave as it is.
        outside: what a step must leave as it is, too.
        operands: tensors that the step reads, by name. What stands in for a parameter is one.
    Attributes:
        num_memories: of the neuron.
        learned: which operands need a gradient.
        has_gradient, gets_gradient: as of :class:`~spikeloom.loom.step.Woven`, after :meth:`backward`.
    """

    def __init__(self, isolated: Isolated, outside: Outside, operands: Sequence[tuple[str, Tensor]]):
        self.isolated, self.outside, self.module = isolated, outside, isolated.module
        self.module.__dict__["_stepping"] = (
            False  # a number that becomes a tensor is found below, not adopted
        )
        self.names, self.places = list(self.module._memories), [name.rpartition(".") for name, _ in operands]
        self.num_memories, self.own = len(self.names), 1 + len(self.names)
        self.parameters = [False] * self.own + [isinstance(one, nn.Parameter) for _, one in operands]
        self.learned = tuple(one.requires_grad for _, one in operands)
        self.wanted = [True] * self.own + list(self.learned)
        self.has_gradient: tuple[bool, ...] = ()
        self.gets_gradient: tuple[bool, ...] = ()

    def forward(self, *inputs: Tensor) -> list[list[Tensor]]:
        """Output and memories."""
        return [self._run(self._stand_ins(inputs))]

    def backward(self, *inputs: Tensor) -> list[list[Tensor]]:
        """The gradients of x, memories and learned operands, as those of the results follow the inputs; and
        the results, where gradients are asked for."""
        with torch.enable_grad():
            pairs = zip(inputs, self.wanted, strict=False)  # gradients follow
            sources = self._stand_ins([value.detach().requires_grad_(wanted) for value, wanted in pairs])
            # A step may write to its input and memories, but not to leaves of a graph.
            results = self._run([*(one.clone() for one in sources[: self.own]), *sources[self.own :]])
            sources = [source for source, wanted in zip(sources, self.wanted, strict=True) if wanted]
            pairs = list(zip(results, inputs[len(self.wanted) :], strict=True))
            produced = [pair for pair in pairs if pair[0].requires_grad]
            found: Sequence[Tensor | None] = [None] * len(sources)
            if produced:
                outputs, gradients = zip(*produced, strict=True)
                found = torch.autograd.grad(outputs, sources, gradients, allow_unused=True)
        self.has_gradient = tuple(one.requires_grad for one in results)
        self.gets_gradient = tuple(one is not None for one in found)
        pairs = list(zip(found, sources, strict=True))
        made = [torch.zeros_like(source) if gradient is None else gradient for gradient, source in pairs]
        return [made, results]

    def _stand_ins(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The inputs, as parameters where operands are."""
        return [
            nn.Parameter(value, value.requires_grad) if is_parameter else value
            for value, is_parameter in zip(inputs, self.parameters, strict=True)
        ]

    def _run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Output and memories of a step of the copy."""
        module, x = self.module, inputs[0]
        memories, values = inputs[1 : self.own], inputs[self.own :]
        for name, value in zip(self.names, memories, strict=True):
            module.__dict__[name] = value.detach() if module.cuts_memories else value
        for (path, _, name), value in zip(self.places, values, strict=True):
            owner = module.get_submodule(path)
            for tensors in (owner._parameters, owner._buffers, owner.__dict__):
                if name in tensors:
                    tensors[name] = value
        before, versions = self.isolated.contents(), [value._version for value in memories]
        with Watch(values):
            returned = module.neuronal_charge(x)
            output = module.neuronal_fire()
            module.neuronal_reset(output)
        if returned is not None and returned is not module.__dict__["v"]:
            raise CannotWeave("neuronal_charge returns something, instead of setting self.v")
        if output.dtype == torch.bool:
            raise CannotWeave(
                "neuronal_fire gives truth values, not numbers; convert them to the input's type"
            )
        if reason := self.isolated.change_since(before) or self.outside.change():
            raise CannotWeave(reason)
        new = [module.__dict__[name] for name in self.names]
        if versions != [value._version for value in memories]:  # what has two names then changes twice
            storages = [one.untyped_storage()._cdata for one in new if isinstance(one, Tensor)]
            if len(set(storages)) < len(storages):
                raise CannotWeave("two memories are one tensor, and a step writes to memories in place")
        return [output, *new]

    def recorded(
        self, shape: tuple[int, ...], dtype: torch.dtype, first: int, expanded: bool = False
    ) -> tuple[tuple[Plan, tuple[float, ...]], ...]:
        """The plans and literals, forwards and backwards, for made-up inputs from the ``first`` on."""
        count = len(self.wanted)
        numbers = range(first, first + count + 1 + self.num_memories)
        inputs = [_made_up(shape, dtype, number, expanded) for number in numbers]
        fixed = [inputs[0], *inputs[self.own : count]]
        (forward,) = _recorded(self.forward, inputs[:count], fixed, expanded)
        backward, seen_by_autograd = _recorded(self.backward, inputs, fixed, expanded)
        if _written(*seen_by_autograd) != _written(*forward):
            raise CannotWeave("a step computes something else where gradients are asked for")
        if self.isolated.used:  # though the step may have caught the error
            raise CannotWeave(uncopied(self.isolated.used[0]))
        return forward, backward


def _traced(step: _Recordable, shape: Sequence[int], dtype: torch.dtype) -> Woven:
    dims = len(shape)
    found = [step.recorded((2,) * dims, dtype, 0), step.recorded((3,) * dims, dtype, 3)]
    if 0 not in shape:  # what is empty shows nothing
        found.append(step.recorded(tuple(shape), dtype, 6, expanded=True))
    if any(repr(plans) != repr(found[0]) for plans in found):
        raise CannotWeave(
            "a step depends on the input's shape, on a tensor's value, on chance, or on what it changes"
        )
    (forward, forward_literals), (backward, backward_literals) = found[0]
    plans = Step(forward, backward, step.num_memories, len(step.learned))
    return Woven(
        plans, forward_literals, backward_literals, step.learned, step.has_gradient, step.gets_gradient
    )


def _written(plan: Plan, literals: tuple[float, ...]) -> list[str]:
    """What a plan computes, whatever else was computed beside it: its results numbered in order."""
    names = {Value(number): f"v{number}" for number in range(plan.num_inputs)}
    names |= {one.result: f"r{place}" for place, one in enumerate(plan.instructions)}

    def name(argument: Argument) -> str:
        return repr(literals[argument.number]) if isinstance(argument, Literal) else names[argument]

    lines = [" ".join([one.operation, *map(name, one.arguments)]) for one in plan.instructions]
    return [*lines, *map(name, plan.outputs)]


def _made_up(shape: tuple[int, ...], dtype: torch.dtype, number: int, expanded: bool) -> Tensor:
    """Values between 0 and 1 that differ by place, unless one is expanded to all places, and by ``number``;
    PyTorch's random state is left alone."""
    count = 1 if expanded else torch.Size(shape).numel()
    values = (torch.arange(count, dtype=dtype) * 0.618034 + number * 0.414214).frac()
    return values.reshape([1] * len(shape)).expand(shape) if expanded else values.reshape(shape)


class _Recorder(TorchDispatchMode):
    """Writes every operation down.

    Args:
        builder: where to.
        expanded: the shape of tensors that are one value, expanded; an operation is carried out on the one
            value, and its result is expanded, so that a step of any size takes no time and no memory.
    """

    def __init__(self, builder: PlanBuilder, expanded: torch.Size | None):
        super().__init__()
        self.builder, self.expanded = builder, expanded

    def dispatch(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The result of an ATen operation, which the builder writes down."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            written = self.builder.check(func, args, kwargs)
            if self.expanded is None or func.overloadpacket.__name__ in ("view", "expand"):
                result = func(*args, **kwargs)
            else:
                small = {name: self.narrowed(value) for name, value in kwargs.items()}
                result = func(*map(self.narrowed, args), **small)
                if isinstance(result, Tensor) and result.shape == (1,) * len(self.expanded):
                    result = written if written is not None else result.expand(self.expanded)
            self.builder.record(func, args, kwargs, result)
            return result

    def narrowed(self, value: Any) -> Any:
        """One of the expanded values, or of the sizes of what is to be made."""
        assert self.expanded is not None
        ones = [1] * len(self.expanded)
        if isinstance(value, Tensor):
            return value.as_strided(ones, ones) if value.shape == self.expanded else value
        is_size = isinstance(value, list | tuple) and all(type(size) is int for size in value)
        return ones if is_size and tuple(value) == self.expanded else value


# Set after the class is made, because PyTorch wraps what it finds while it is made into something that
# imports all of torch._dynamo: more than a second (2 cores, 2026-11-22).
_Recorder.__torch_dispatch__ = _Recorder.dispatch  # type: ignore[method-assign]


def _recorded(
    function: Callable[..., list[list[Tensor]]], inputs: list[Tensor], fixed: list[Tensor], expanded: bool
) -> list[tuple[Plan, tuple[float, ...]]]:
    """For each list of tensors that a function gives, the plan that ends in it, and its literals."""
    builder = PlanBuilder(inputs, fixed)
    try:
        recorder = _Recorder(builder, inputs[0].shape if expanded else None)
        with outside_of_checkpoints(), torch.autocast("cpu", enabled=False), recorder:
            found = function(*inputs)
        return [builder.finish(outputs) for outputs in found]
    except CannotWeave:
        raise
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise CannotWeave(f"{FAILED} with {type(error).__name__}: {first_line.rstrip('.')}") from error
