"""What a step can change that is not its neuron's own: global variables and attributes of classes.

A list that every step appends to is often a global one, in a notebook. It cannot be copied for a trace, so it
is watched, and put back as it was.
"""

import logging
import types
from collections import deque
from collections.abc import MutableMapping, MutableSet
from typing import Any

import numpy as np
from torch import Tensor, nn

from spikeloom.loom.isolate import CHANGES
from spikeloom.loom.same import LIBRARIES, held_by, named_in, of_library

_CONTAINERS = (list, deque, MutableMapping, MutableSet, np.ndarray)
_DEEPEST, _LARGEST = 3, 10_000  # levels, and items of a container, that are watched


class Outside:
    """All of that which the methods and functions of ``module`` name, as it is now.

    Args:
        module: a neuron, live or a copy.
    """

    def __init__(self, module: nn.Module):
        self._seen: set[int] = set()
        self._containers: list[tuple[str, Any, Any]] = []  # name, container, what it holds
        self._variables: list[tuple[Any, dict[str, Any]]] = []  # whose, and their values
        self._cells: list[tuple[str, types.CellType, Any]] = []  # of closures: name, cell, what it holds
        for child in module.modules():
            self._class(type(child))
            for value in child.__dict__.values():
                self._code_of(value)

    def change(self) -> str | None:
        """What is no longer as it was, as a reason."""
        for name, container, held in self._containers:
            if not _same(_items(container), held):
                return f"{CHANGES} what '{name}' holds, which is not the neuron's own; register a memory"
        for owner, values in self._variables:
            for name, value in values.items():
                if _variables(owner).get(name) is not value:
                    return self._changed(name)
        for name, cell, held in self._cells:
            if cell.cell_contents is not held:
                return self._changed(name)
        return None

    def _changed(self, name: str) -> str:
        return f"{CHANGES} the variable '{name}', which is not the neuron's own; register a memory"

    def restore(self) -> None:
        """Put all back as it was."""
        for _, container, held in self._containers:
            if _same(_items(container), held):
                continue
            if isinstance(container, np.ndarray):
                container[...] = held
            elif isinstance(container, MutableMapping):
                container.clear()
                container.update(held)
            else:
                container.clear()
                for item in held:
                    (container.add if isinstance(container, MutableSet) else container.append)(item)
        for owner, values in self._variables:
            for name, value in values.items():
                if _variables(owner).get(name) is not value:
                    _assign(owner, name, value)
        for _, cell, held in self._cells:
            cell.cell_contents = held

    def _code_of(self, value: Any) -> None:
        """Look into a function, a method, or the class of an object."""
        if isinstance(value, types.MethodType):
            value = value.__func__
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif not isinstance(value, Tensor | nn.Module | types.ModuleType):
            self._class(type(value))

    def _class(self, kind: type) -> None:
        for base in kind.__mro__:
            if of_library(base) or not self._is_new(base):
                continue
            own = {name: value for name, value in vars(base).items() if not name.startswith("__")}
            self._variables.append((base, own))
            for name, value in vars(base).items():
                value = getattr(value, "__func__", getattr(value, "fget", value))
                if isinstance(value, types.FunctionType):
                    self._function(value)
                elif name in own:
                    self._watch(f"{base.__name__}.{name}", value)

    def _function(self, function: types.FunctionType) -> None:
        if of_library(function) or not self._is_new(function):
            return
        names = set(named_in(function.__code__))
        known = {name: function.__globals__[name] for name in names if name in function.__globals__}
        self._variables.append((function.__globals__, known))
        for name, value in known.items():
            self._variable(name, value, names)
        for cell, name in zip(function.__closure__ or (), function.__code__.co_freevars, strict=True):
            for held in held_by(cell):
                self._cells.append((name, cell, held))
                self._variable(name, held, names)

    def _variable(self, name: str, value: Any, names: set[str]) -> None:
        """Watch what a variable holds: of a module or a network, what a function can name."""
        self._watch(name, value)
        self._code_of(value)
        known = isinstance(value, types.ModuleType) and value.__name__.split(".")[0] in LIBRARIES
        if isinstance(value, types.ModuleType | nn.Module) and not known and self._is_new(value):
            inner = {key: held for key, held in vars(value).items() if key in names}
            self._variables.append((vars(value), inner))
            for key, held in inner.items():
                self._watch(f"{name}.{key}", held)

    def _watch(self, name: str, value: Any, depth: int = 0) -> None:
        if isinstance(
            value, type | types.ModuleType | types.FunctionType | Tensor | nn.Module | logging.Logger
        ):
            return
        if not isinstance(value, _CONTAINERS):
            if of_library(type(value)) or not hasattr(value, "__dict__"):
                return
            value = vars(value)
        if depth > _DEEPEST or len(self._containers) > _LARGEST or not self._is_new(value):
            return
        if (value.size if isinstance(value, np.ndarray) else len(value)) > _LARGEST:
            return
        self._containers.append((name, value, _items(value)))
        if not isinstance(value, np.ndarray):
            for item in list(value.values() if isinstance(value, MutableMapping) else value):
                self._watch(name, item, depth + 1)

    def _is_new(self, value: Any) -> bool:
        if id(value) in self._seen:
            return False
        self._seen.add(id(value))
        return True


def _items(container: Any) -> Any:
    if isinstance(container, np.ndarray):
        return container.copy()
    return dict(container) if isinstance(container, MutableMapping) else list(container)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return _same([*one, *one.values()], [*other, *other.values()])
    return len(one) == len(other) and all(item is held for item, held in zip(one, other, strict=True))


def _variables(owner: Any) -> Any:
    return owner if isinstance(owner, dict) else vars(owner)


def _assign(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)
