"""All that decides what a step of a neuron computes, but for the values of tensors."""

import dis
import logging
import operator
import types
import weakref
from collections.abc import Container, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from spikeloom.memory import BOOKKEEPING

INTERNAL = (
    (frozenset(nn.Module().__dict__) - {"training"})
    | BOOKKEEPING
    | {"_memories", "_backend", "_v_steps", "_v_seq", "_window"}
)
"""Attributes that decide nothing of what a step computes."""
_SIMPLE = (bool, int, float, str, type(None))
PLAIN = frozenset(_SIMPLE)
_DEEPEST = 3  # levels of containers and objects that are looked into
_SHORT = 16  # items of a container elsewhere that are looked at
LIBRARIES = ("spikeloom", "torch", "numpy", "numba", "builtins")
"""Packages whose functions read nothing that a user changes."""


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


def fingerprint(module: nn.Module, seen: dict[nn.Module, int] | None = None) -> tuple[Any, ...]:
    """All that decides what a step computes but for the values of tensors: class, attributes, submodules, and
    what its functions read elsewhere.

    Args:
        module: a neuron.
        seen: submodules that were looked at, and their numbers: one that is there twice is one.
    """
    seen = {} if seen is None else seen
    if module in seen:
        return (seen[module],)
    seen[module] = len(seen)
    kind, memories = type(module), getattr(module, "_memories", ())
    version = class_version(kind)
    parts: list[Any] = [kind, version, tuple(memories), *_read_by_class(kind, version)]
    for name, value in module.__dict__.items():
        if name not in INTERNAL and name not in memories:
            kind = type(value)
            parts += (name, kind, value) if kind in PLAIN else (name, _frozen(value))
    for tensors in (module._parameters, module._buffers):
        parts += [(name, _frozen(value)) for name, value in tensors.items()]
    parts += [
        (name, None if child is None else fingerprint(child, seen)) for name, child in module._modules.items()
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
        if name not in INTERNAL and name not in memories:
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
    """A number that changes when something of ``cls`` is replaced, or of a base that is not PyTorch's."""
    seen = _seen.get(cls)
    if seen is None or seen[0] is not cls.__mro__:
        own = [base for base in cls.__mro__ if base.__module__.split(".")[0] not in ("torch", "builtins")]
        seen = cls.__mro__, [vars(base).values for base in own], [], -1 if seen is None else seen[3]
    mro, values, contents, number = seen
    now = [one for each in values for one in each()]
    if len(now) != len(contents) or not all(map(operator.is_, now, contents)):
        number += 1
        _seen[cls] = mro, values, now, number
    return number


class _Elsewhere(NamedTuple):
    """What the functions of a user's class, or a function, read that is not the neuron's.

    Args:
        read: owners and names, as of :func:`read_by`.
        names: all that these functions name.
        version: of the class.
    """

    read: list[tuple[Any, str]]
    names: frozenset[str]
    version: int = 0

    def values(self) -> Iterator[Any]:
        """The numbers, names and short containers among it: global variables, attributes of modules and of
        the class, and what functions have in their closures."""
        for owner, name in self.read:
            if isinstance(owner, weakref.ref):
                owner = owner()
            if isinstance(owner, types.CellType):
                yield name, _brief(owner.cell_contents if _is_full(owner) else None, self.names)
            else:
                variables = owner if isinstance(owner, dict) else vars(owner)
                yield name, _brief(variables.get(name), self.names)


_by_class: dict[type, _Elsewhere] = {}
_by_function: weakref.WeakKeyDictionary[Any, _Elsewhere] = weakref.WeakKeyDictionary()


def _read_by_class(kind: type, version: int) -> Iterable[Any]:
    known = _by_class.get(kind)
    if known is None or known.version != version:
        known = _by_class[kind] = _Elsewhere(*read_by(kind), version)
    return known.values() if known.read else ()


def _read_by_function(function: types.FunctionType) -> Iterable[Any]:
    if function not in _by_function:
        _by_function[function] = _Elsewhere(*read_by(function))
    return _by_function[function].values()


def _is_full(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _brief(value: Any, names: Container[str]) -> Any:
    """What decides whether something elsewhere is the same: which object, what a short one holds, and of its
    attributes those that have one of the ``names``."""
    if isinstance(value, _SIMPLE):
        return type(value), value
    if isinstance(value, Tensor):  # a step that reads it is not woven
        return Tensor
    if isinstance(value, list | tuple | dict | set) and len(value) <= _SHORT:
        return type(value), _frozen(value, _DEEPEST - 1)
    settings = getattr(value, "__dict__", None)
    is_code = isinstance(value, types.FunctionType | type | types.ModuleType | nn.Module)
    if isinstance(settings, dict) and not is_code:
        read = {name: one for name, one in settings.items() if name in names}
        return _Same(value), _frozen(read, _DEEPEST - 1)
    return _Same(value)


def read_by(code: type | types.FunctionType) -> tuple[list[tuple[Any, str]], frozenset[str]]:
    """What a user's function, or those of a class, name that is not the neuron's own; with those they call.

    Returns:
        owners (a reference to a class, a dictionary of variables, a module, a cell of a closure) and names;
        and all names, also of attributes
    """
    read: list[tuple[Any, str]] = []
    names: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [] if isinstance(code, type) else [code]
    for base in code.__mro__ if isinstance(code, type) else ():
        if base.__module__.split(".")[0] in LIBRARIES:
            continue
        for name, value in list(vars(base).items()):
            value = getattr(value, "__func__", getattr(value, "fget", value))
            if isinstance(value, types.FunctionType):
                waiting.append(value)
            elif not name.startswith("__"):
                read.append((weakref.ref(base), name))  # or no class that was asked about would ever be freed
    while waiting:
        function = waiting.pop()
        if id(function) in seen or (function.__module__ or "").split(".")[0] in LIBRARIES:
            continue
        seen.add(id(function))
        own = set(named_in(function.__code__))
        names |= own
        for cell, name in zip(function.__closure__ or (), function.__code__.co_freevars, strict=True):
            if name != "__class__":
                read.append((cell, name))
                if _is_full(cell) and isinstance(cell.cell_contents, types.FunctionType):
                    waiting.append(cell.cell_contents)
        for name in set(_globals_in(function.__code__)) & function.__globals__.keys():
            value = function.__globals__[name]
            if isinstance(value, types.FunctionType):
                waiting.append(value)
            if not isinstance(value, types.ModuleType):
                read.append((function.__globals__, name))
            elif value.__name__.split(".")[0] not in LIBRARIES:
                read += [(value, inner) for inner in own & vars(value).keys()]
    return read, frozenset(names)


def _globals_in(code: types.CodeType) -> Iterator[str]:
    """The names of global variables in a function, and in those within it."""
    yield from (
        one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    )
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_in(constant)


def named_in(code: types.CodeType) -> Iterator[str]:
    """The names of variables and attributes in a function, and in those within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from named_in(constant)


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
        return (
            _Same(value),
            value.__code__,
            _frozen(value.__defaults__, below),
            tuple(_cell(cell) for cell in value.__closure__ or ()),
            _frozen(vars(value), below),
            *_read_by_function(value),
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
