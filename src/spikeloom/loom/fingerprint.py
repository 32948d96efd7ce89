"""All that decides what a step of a neuron computes, but for the values of tensors."""

import itertools
import logging
import operator
import types
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from spikeloom.memory import BOOKKEEPING

_INTERNAL = (
    (frozenset(nn.Module().__dict__) - {"training"})
    | BOOKKEEPING
    | {"_memories", "_backend", "_v_steps", "_v_seq", "_window"}
)
_SIMPLE = (bool, int, float, str, type(None))
_PLAIN = frozenset(_SIMPLE)
_DEEPEST = 3  # levels of containers and objects that are looked into


class _Same:
    """An object that equals only itself, and nothing once it is gone."""

    def __init__(self, value: Any):
        try:
            self.value = weakref.ref(value)
        except TypeError:
            self.value = lambda: value
        self.hash = id(value)

    def __eq__(self, other: object) -> bool:
        value = self.value()
        return isinstance(other, _Same) and value is not None and value is other.value()

    def __hash__(self) -> int:
        return self.hash


def fingerprint(module: nn.Module) -> tuple[Any, ...]:
    """All that decides what a step computes but for the values of tensors: class, attributes, submodules."""
    memories = getattr(module, "_memories", ())
    parts: list[Any] = [type(module), class_version(type(module)), tuple(memories)]
    for name, value in module.__dict__.items():
        if name not in _INTERNAL and name not in memories:
            kind = type(value)
            parts += (name, kind, value) if kind in _PLAIN else (name, _frozen(value))
    for tensors in (module._parameters, module._buffers):
        parts += [(name, _frozen(value)) for name, value in tensors.items()]
    parts += [
        (name, None if child is None else fingerprint(child)) for name, child in module._modules.items()
    ]
    return tuple(parts)


def settings_of(module: nn.Module, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, bool, Any]]:
    """The numbers, names and types among what :func:`fingerprint` looks at.

    Each is a path, whose parts say whether they are an item's key or an attribute's name; whether it is the
    type's name or the value that follows; and that.
    """
    memories = getattr(module, "_memories", ())
    below_torch = type(module).__mro__[: type(module).__mro__.index(nn.Module)]
    of_class = {name: value for base in reversed(below_torch) for name, value in vars(base).items()}
    numbers = {
        name: value
        for name, value in of_class.items()
        if isinstance(value, _SIMPLE) and not name.startswith("__")
    }
    for name, value in (numbers | module.__dict__).items():
        if name not in _INTERNAL and name not in memories:
            yield from _settings_in(value, (*path, (False, name)), 0)
    for name, child in module._modules.items():
        if child is not None:
            below = (*path, (False, name))
            yield below, True, type(child).__name__
            yield from settings_of(child, below)


def _settings_in(value: Any, path: tuple[Any, ...], depth: int) -> Iterator[tuple[Any, bool, Any]]:
    if isinstance(value, _SIMPLE):
        yield path, False, value
    elif isinstance(value, Tensor) or depth > _DEEPEST:
        return
    elif isinstance(value, list | tuple | dict):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            if isinstance(key, _SIMPLE):
                yield from _settings_in(item, (*path, (True, key)), depth + 1)
    elif hasattr(value, "__dict__") and not isinstance(
        value, type | nn.Module | types.ModuleType | logging.Logger
    ):
        for name, item in vars(value).items():
            yield from _settings_in(item, (*path, (False, name)), depth + 1)


# Of classes: the classes that they derive from, what gives the contents of each, these contents as they were
# last seen, and a number for each state.
_seen: dict[type, tuple[tuple[type, ...], list[Any], list[Any], int]] = {}


def class_version(cls: type) -> int:
    """A number that changes when something of ``cls`` is replaced, or of a base below ``nn.Module``."""
    seen = _seen.get(cls)
    if seen is None or seen[0] is not cls.__mro__:
        own = itertools.takewhile(lambda base: base is not nn.Module, cls.__mro__)
        seen = cls.__mro__, [vars(base).values for base in own], [], -1 if seen is None else seen[3]
    mro, values, contents, number = seen
    now = [one for each in values for one in each()]
    if len(now) != len(contents) or not all(map(operator.is_, now, contents)):
        number += 1
        _seen[cls] = mro, values, now, number
    return number


def _frozen(value: Any, depth: int = 0) -> Any:
    """What decides whether an attribute is still the same; below a few levels, only which object it is."""
    if isinstance(value, _SIMPLE):
        return type(value), value
    if isinstance(value, Tensor):
        return Tensor, value.requires_grad, value.dtype
    if depth > _DEEPEST:
        return _Same(value)
    below = depth + 1
    if isinstance(value, list | tuple):
        return type(value), tuple(_frozen(item, below) for item in value)
    if isinstance(value, dict):
        return dict, tuple((_frozen(key, below), _frozen(item, below)) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return type(value), frozenset(_frozen(item, below) for item in value)
    if isinstance(value, np.ndarray):
        return np.ndarray, value.shape, value.tobytes()
    if isinstance(value, types.FunctionType):
        cells = tuple(_cell(cell) for cell in value.__closure__ or ())
        return (
            _Same(value),
            value.__code__,
            _frozen(value.__defaults__, below),
            cells,
            _frozen(vars(value), below),
        )
    known = isinstance(value, type | nn.Module | types.ModuleType | logging.Logger)
    if hasattr(value, "__dict__") and not known:  # such as a namespace of settings
        return _Same(value), class_version(type(value)), _frozen(vars(value), below)
    return _Same(value)


def _cell(cell: types.CellType) -> Any:
    try:
        value = cell.cell_contents
    except ValueError:  # it is still empty
        return None
    return _frozen(value) if isinstance(value, (*_SIMPLE, Tensor)) else _Same(value)
