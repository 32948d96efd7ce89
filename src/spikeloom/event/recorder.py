"""Watches a time step of a network.

Modules that are one operation to the compiled loop are watched from outside, PyTorch's functions between them
one by one. What is not known is refused: it would be missing from the loop.
"""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from spikeloom import layer
from spikeloom.checks import is_number
from spikeloom.errors import ConversionError
from spikeloom.event.calls import CURE, Call, Memory, Recording, kind_of, refusal
from spikeloom.memory import MemoryModule
from spikeloom.neuron import BaseNode

RESHAPES = {
    *("flatten", "unflatten", "reshape", "view", "squeeze", "unsqueeze", "contiguous", "clone", "detach"),
    *("to", "type", "float", "double", "getitem", "unbind", "stack"),
}
ARITHMETIC = {
    **dict.fromkeys(("add", "iadd", "radd"), "add"),
    **dict.fromkeys(("sub", "isub", "subtract", "rsub"), "sub"),
    **dict.fromkeys(("mul", "imul", "rmul", "multiply", "neg"), "mul"),
    **dict.fromkeys(("div", "truediv", "itruediv", "divide"), "div"),
}
HARMLESS = {
    *("get", "dim", "ndimension", "size", "numel", "nelement", "len", "stride", "type", "get_device", "hash"),
    *("is_floating_point", "is_complex", "is_signed", "is_contiguous", "is_inference", "is_same_size"),
    *("is_view", "element_size", "storage_offset", "untyped_storage", "data_ptr", "repr", "format"),
}
"""What may be asked of a value: nothing that depends on its numbers."""
CONSTANTS = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}
RECURRENT = (layer.LinearRecurrentContainer, layer.ElementWiseRecurrentContainer)
JOINS = {"cat", "concat", "concatenate"}


class Recorder(TorchFunctionMode):
    """Watches the calls of modules, and PyTorch's functions between them."""

    def __init__(self, net: nn.Module, starts: dict[str, Any], old: dict[int, Tensor], is_first: bool):
        super().__init__()
        self.net, self.starts, self.is_first = net, starts, is_first
        self.old = old  # by their identity, tensors of steps before, and what was made of them
        self.calls: list[Call] = []
        self.shapes: list[torch.Size] = []
        self.numbers: dict[int, int] = {}  # of values, by the identity of tensors
        self.alive: list[Tensor] = []  # or another tensor could get their identity
        self.memories: list[Memory] = []
        self.begun: dict[str, int | None] = {}  # numbers of their values before the step, by their names
        self.inside: list[str] = [""]  # names of the modules that run
        self.closed = 0  # how many of them are an operation, or within one

    def step(self, x: Tensor) -> Recording:
        """Run one time step."""
        self.note(x)
        handles = []
        for name, module, kind in [(name, one, kind_of(one)) for name, one in self.net.named_modules()]:
            handles.append(module.register_forward_pre_hook(partial(self._before, name, kind)))
            handles.append(module.register_forward_hook(partial(self._after, name, kind)))
        try:
            with torch.no_grad(), self:
                output = self.net(x)
        finally:
            for handle in handles:
                handle.remove()
        if not isinstance(output, Tensor) or id(output) not in self.numbers:
            raise ConversionError("`net` must return one tensor, which depends on its input.")
        number = self.numbers[id(output)]
        if output.shape[1:] != self.shapes[number]:
            raise ConversionError(
                f"`net` must return [N, F] or [N, C, H, W], got {list(output.shape)}. {CURE}"
            )
        self.old.update((id(one), one) for one in self.alive)
        return Recording(self.net, self.calls, self.shapes, number, self.memories, self.starts)

    def note(self, tensor: Tensor) -> int:
        """A number for a new value."""
        shape = tensor.shape
        if len(shape) in (3, 5) and shape[0] == 1:  # a sequence of one step
            shape = shape[1:]
        if len(shape) not in (2, 4) or shape[0] != 1:
            raise self._refusal(f"must give [N, F] or [N, C, H, W], but gives {list(shape)} for one sample.")
        self.alive.append(tensor)
        self.shapes.append(shape[1:])
        self.numbers[id(tensor)] = len(self.shapes) - 1
        return len(self.shapes) - 1

    def _before(self, name: str, kind: str | None, module: nn.Module, _args: Any) -> None:
        self.inside.append(name)
        if self.closed or kind is not None:
            self.closed += 1
        if isinstance(module, BaseNode):
            if self.is_first:
                self.starts[name] = dict(module.named_memories())
        elif isinstance(module, MemoryModule) and not self.closed:
            self._enter(name, module)

    def _after(
        self, name: str, kind: str | None, module: nn.Module, args: tuple[Any, ...], output: Any
    ) -> None:
        if self.closed:
            self.closed -= 1
            if kind is not None and not self.closed:
                self._add_module(kind, module, args, output)
        elif isinstance(module, MemoryModule) and not self.is_first:
            self._leave(name, module)
        self.inside.pop()

    def _enter(self, name: str, module: MemoryModule) -> None:
        """Note the memories of a module that is no neuron, as values that a step begins with."""
        for key, value in module.named_memories():
            if f"{name}.{key}" in self.begun:
                raise self._used_twice()
            self.begun[f"{name}.{key}"] = None
            if self.is_first:
                # The output of both containers is 0 before the first step.
                if value is None and type(module) in RECURRENT:
                    value = 0.0
                self.starts[f"{name}.{key}"] = value
                if not is_number(value):
                    raise self._refusal(
                        f"has the memory '{key}' of {type(module).__name__}, which does not begin with a "
                        "number."
                    )
            elif isinstance(value, Tensor):
                self.begun[f"{name}.{key}"] = self.note(value)

    def _leave(self, name: str, module: MemoryModule) -> None:
        """Note what has become of them."""
        for key, value in module.named_memories():
            before, after = self.begun.get(f"{name}.{key}"), self.numbers.get(id(value))
            start = self.starts.get(f"{name}.{key}")
            if before is None or after is None or start is None:
                raise self._refusal(f"must remember tensors, not its '{key}'.")
            self.memories.append(Memory(before, after, float(start)))

    def _add_module(self, kind: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        number = self.numbers.get(id(args[0])) if len(args) == 1 else None
        if number is None and self.is_first:
            return  # of a memory, which is still a number or zeros
        if number is None or not isinstance(output, Tensor):
            raise self._refusal("must take one value, and give one.")
        if isinstance(module, MemoryModule) and any(call.module is module for call in self.calls):
            raise self._used_twice()
        if isinstance(module, BaseNode):
            self.old.update((id(one), one) for one in module.memories() if isinstance(one, Tensor))
        if kind == "nothing":
            self.alive.append(output)
            self.numbers[id(output)] = number
        else:
            self.calls.append(Call(kind, self.inside[-1], (number,), self.note(output), module))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func)).strip("_")
        leaves = tree_leaves([args, kwargs])
        given = [one for one in leaves if id(one) in self.numbers]
        is_old = any(id(one) in self.old and id(one) not in self.numbers for one in leaves)
        if self.closed or not given:
            result = func(*args, **kwargs)
            if is_old and not self.closed:
                self.old.update((id(one), one) for one in tree_leaves(result) if isinstance(one, Tensor))
            return result
        if is_old:
            raise self._refusal(
                "uses a tensor of the step before, or a neuron's memory. What an attribute remembers must "
                "be a memory: register_memory()."
            )
        sources = tuple(self.numbers[id(one)] for one in given)
        # Copied, as a function may write into them.
        constants = tuple(
            None if id(arg) in self.numbers else copy.deepcopy(arg) if name in ARITHMETIC else arg
            for arg in args
        )
        result = func(*args, **kwargs)
        parts = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        if name in CONSTANTS or (name in HARMLESS and not parts):
            return result
        if len(parts) != 1 or parts[0].dtype != given[0].dtype:
            raise self._unknown(name)
        if not (name in RESHAPES and parts[0] is given[0]):
            self._add_function(name, args, kwargs, sources, constants, parts[0])
        return result

    def _add_function(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        sources: tuple[int, ...],
        constants: tuple[Any, ...],
        result: Tensor,
    ) -> None:
        """Note what a function of PyTorch's has done."""
        where = self.inside[-1]
        if name == "getitem" and not _keeps_order(args[1]):
            raise self._unknown("getitem with such an index")
        if name in RESHAPES and len(sources) == 1:
            self.calls.append(Call("reshape", where, sources, self.note(result)))
        elif name in JOINS and result.dim() == 2 and args:
            if len(sources) != len(args[0]) and not self.is_first:
                raise self._refusal("must join values that depend on its input.")
            self.calls.append(Call("join", where, sources, self.note(result)))
        elif name in ARITHMETIC and not kwargs and len(args) <= 2:
            self._add_arithmetic(name, sources, constants, result)
        else:
            known = name in ARITHMETIC and kwargs
            raise self._unknown(f"{name} with {', '.join(kwargs)}" if known else name)

    def _add_arithmetic(
        self, name: str, sources: tuple[int, ...], constants: tuple[Any, ...], result: Tensor
    ) -> None:
        """Note arithmetic of two values; that of a value and a number scales it, and adds to it."""
        self._check_alone(result)
        kind = ARITHMETIC[name]
        if name == "rsub":
            sources, constants = sources[::-1], constants[::-1]
        if name == "neg":
            constants = (None, -1.0)
        if kind == "div" and constants[1] is None:
            raise self._refusal("must not divide by a value.")
        made = self.note(result)
        if len(sources) == 2:
            self.calls.append(Call(kind, self.inside[-1], sources, made))
            return
        number = torch.as_tensor(next(one for one in constants if one is not None), dtype=torch.float64)
        scale_and_shift = {
            "add": (1, number),
            "sub": (1, -number) if constants[0] is None else (-1, number),  # the second: as in 1 - x
            "mul": (number, 0),
            "div": (1 / number, 0),
        }[kind]
        numbers = tuple(
            torch.as_tensor(one, dtype=torch.float64).expand_as(result).reshape(self.shapes[made])
            for one in scale_and_shift
        )
        self.calls.append(Call("scale", self.inside[-1], sources, made, constants=numbers))

    def _unknown(self, name: str) -> ConversionError:
        return self._refusal(f"calls '{name}', which is not known here.")

    def _check_alone(self, result: Tensor) -> None:
        """Refuse to change a value in place that has another shape elsewhere: that would change there too."""
        storage = result.untyped_storage().data_ptr()
        if any(one is not result and one.untyped_storage().data_ptr() == storage for one in self.alive):
            raise self._refusal(
                "changes a tensor in place that is used elsewhere. Write y = y + x for y += x.", ""
            )

    def _used_twice(self) -> ConversionError:
        return self._refusal("runs twice in a time step, but remembers one.")

    def _refusal(self, what: str, cure: str = CURE) -> ConversionError:
        return refusal(self.inside[-1], what, cure)


def _keeps_order(index: Any) -> bool:
    """Whether an index takes numbers as they lie."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts)
