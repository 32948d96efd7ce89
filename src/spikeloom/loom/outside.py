"""What a step can change that is not its neuron's own: global variables and attributes of classes.

A list that every step appends to is often a global one, in a notebook. It cannot be copied for a trace, so it
is watched, and put back as it was.
"""

import logging
import types
from collections import deque
from collections.abc import MutableMapping, MutableSet
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from spikeloom.loom.isolate import CHANGES
from spikeloom.loom.same import function_of, held_at, of_library, read_by

_CONTAINERS = (list, deque, MutableMapping, MutableSet, np.ndarray)
_DEEPEST, _LARGEST = 3, 10_000  # levels, and items of a container, that are watched


class Outside:
    """All of that which the methods and functions of ``module`` name, as it is now; as a block, it puts all
    back as it was.

    Args:
        module: a neuron, live or a copy.
    """

    def __init__(self, module: nn.Module):
        self._seen: set[int] = set()
        self._containers: list[tuple[str, Any, Any]] = []  # name, container, what it holds
        self._variables: list[tuple[Any, str, Any]] = []  # whose, name, value
        for child in module.modules():
            self._code(type(child))
            for value in child.__dict__.values():
                self._code_of(value)

    def change(self) -> str | None:
        """What is no longer as it was, as a reason."""
        for name, container, held in self._containers:
            if not _same(_items(container), held):
                return f"{CHANGES} what '{name}' holds, which is not the neuron's own; register a memory"
        for owner, name, value in self._variables:
            if held_at(owner, name) is not value:
                return f"{CHANGES} the variable '{name}', which is not the neuron's own; register a memory"
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
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
        for owner, name, value in self._variables:
            if held_at(owner, name) is value:
                continue
            if isinstance(owner, dict):
                owner[name] = value
            else:
                setattr(owner, "cell_contents" if isinstance(owner, types.CellType) else name, value)

    def _code_of(self, value: Any) -> None:
        """Look into a function, a method, or the class of an object."""
        value = function_of(value)
        if isinstance(value, types.FunctionType | type):
            self._code(value)
        elif not isinstance(value, Tensor | nn.Module | types.ModuleType):
            self._code(type(value))

    def _code(self, code: type | types.FunctionType) -> None:
        if of_library(code) or not self._is_new(code):
            return
        read, names = read_by(code)
        own = [base for base in code.__mro__ if not of_library(base)] if isinstance(code, type) else []
        read += [
            (base, name) for base in own for name in vars(base) if not name.startswith("__")
        ]  # methods too
        for owner, name in read:
            value = held_at(owner, name)
            self._variables.append((owner, name, value))
            self._watch(
                f"{owner.__name__}.{name}" if isinstance(owner, type | types.ModuleType) else name, value
            )
            self._code_of(value)
            if isinstance(value, nn.Module) and self._is_new(value):
                inner = [(vars(value), key, held) for key, held in vars(value).items() if key in names]
                self._variables += inner
                for _, key, held in inner:
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
