"""All that decides what a step of a neuron computes, but for the values of tensors."""

import logging
import types
import weakref
from collections.abc import Iterator
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.loom.same import DEEPEST, SIMPLE, class_version, frozen, read_by_class
from spikeloom.memory import BOOKKEEPING

INTERNAL = (
    (frozenset(nn.Module().__dict__) - {"training"})
    | BOOKKEEPING
    | {"_memories", "_backend", "_v_steps", "_v_seq", "_window", "_feedback"}
)
"""Attributes that decide nothing of what a step computes."""
_CONSTANT = frozenset((*SIMPLE, torch.dtype, torch.device))  # types of which an object never changes


class _Own:
    """A module without those within it, as it was when it was looked at.

    Args:
        module: a neuron, or a module within one.
        code: its class, the version of that, its memories' names, and what its methods read elsewhere.
    """

    def __init__(self, module: nn.Module, code: tuple[Any, ...]):
        self.code = code
        self.names = [list(each) for each in _variables(module)]
        internal = INTERNAL.union(code[2])
        named = [
            (owner, name, value)
            for owner, each in enumerate(_variables(module))
            for name, value in each.items()
            if name not in internal
        ]
        self.tensors = [(owner, name) for owner, name, value in named if _is_tensor(owner, value)]
        self.types = [frozen(value) for owner, _, value in named if _is_tensor(owner, value)]
        others = {name: value for owner, name, value in named if not _is_tensor(owner, value)}
        self.others, self.values = list(others), list(others.values())
        self.decides = (*code, *((name, frozen(value)) for _, name, value in named))

    def can_tell(self) -> bool:
        """Whether this can tell by itself that nothing changed: no attribute changes within, and nothing is
        read elsewhere, which could lead back to the module and would keep it alive."""
        return len(self.code) == 3 and all(map(_never_changes, self.values))

    def is_still(self, module: nn.Module, code: tuple[Any, ...]) -> bool:
        """Whether this is what would be found now."""
        variables = _variables(module)
        return (
            code == self.code
            and [list(each) for each in variables] == self.names
            and all(map(is_, map(variables[-1].__getitem__, self.others), self.values))
            and [frozen(variables[owner][name]) for owner, name in self.tensors] == self.types
        )


_known: weakref.WeakKeyDictionary[nn.Module, _Own] = weakref.WeakKeyDictionary()


def look(module: nn.Module) -> tuple[tuple[Any, ...], list[tuple[str, Tensor]]]:
    """What decides what a step of a neuron computes; each call of it looks.

    Returns:
        what is equal for two neurons whose steps differ at most in the values of tensors: class, attributes,
        submodules, and what its functions read elsewhere; and each tensor of it and its submodules that is no
        memory, by its name and theirs
    """
    tensors: list[tuple[str, Tensor]] = []
    return _look(module, "", tensors, {}), tensors


def _look(
    module: nn.Module, prefix: str, tensors: list[tuple[str, Tensor]], seen: dict[nn.Module, int]
) -> tuple[Any, ...]:
    if module in seen:
        return (seen[module],)
    seen[module] = len(seen)
    kind = type(module)
    version = class_version(kind)
    code = (kind, version, tuple(module.__dict__.get("_memories", ())), *read_by_class(kind, version))
    own = _known.get(module)
    if own is None or not own.is_still(module, code):
        own = _Own(module, code)
        if own.can_tell():
            _known[module] = own
    variables = _variables(module)
    for owner, name in own.tensors:
        value = variables[owner][name]
        if value is not None:
            tensors.append((prefix + name, value))
    within = [
        (name, None if child is None else _look(child, f"{prefix}{name}.", tensors, seen))
        for name, child in module._modules.items()
    ]
    return (own.decides, *within)


def _variables(module: nn.Module) -> tuple[dict[str, Any], ...]:
    return module._parameters, module._buffers, module.__dict__


def _is_tensor(owner: int, value: Any) -> bool:
    """Whether this is a tensor, or a place for one: a parameter or buffer that is ``None``."""
    return isinstance(value, Tensor) or owner < 2


def _never_changes(value: Any) -> bool:
    return type(value) in _CONSTANT or (type(value) is tuple and all(map(_never_changes, value)))


def settings_of(module: nn.Module, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, bool, Any]]:
    """The numbers, names and types among what :func:`look` looks at.

    Each is a path, whose parts say whether they are an item's key or an attribute's name; whether it is the
    type's name or the value that follows; and that.
    """
    memories = getattr(module, "_memories", ())
    below_torch = type(module).__mro__[: type(module).__mro__.index(nn.Module)]
    of_class = {name: value for base in reversed(below_torch) for name, value in vars(base).items()}
    numbers = {
        name: value
        for name, value in of_class.items()
        if isinstance(value, SIMPLE) and not name.startswith("__")
    }
    for name, value in (numbers | module.__dict__).items():
        if name not in INTERNAL and name not in memories:
            yield from _settings_in(value, (*path, (False, name)), 0)
    for name, child in module._modules.items():
        if child is not None:
            below = (*path, (False, name))
            yield below, True, type(child).__name__
            yield from settings_of(child, below)


def _settings_in(value: Any, path: tuple[Any, ...], depth: int) -> Iterator[tuple[Any, bool, Any]]:
    if isinstance(value, SIMPLE):
        yield path, False, value
    elif isinstance(value, Tensor) or depth > DEEPEST:
        return
    elif isinstance(value, list | tuple | dict):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            if isinstance(key, SIMPLE):
                yield from _settings_in(item, (*path, (True, key)), depth + 1)
    elif hasattr(value, "__dict__") and not isinstance(
        value, type | nn.Module | types.ModuleType | logging.Logger
    ):
        for name, item in vars(value).items():
            yield from _settings_in(item, (*path, (False, name)), depth + 1)
