"""Whether a value, a class, or what a function reads elsewhere is still what it was."""

import dis
import functools
import logging
import types
import weakref
from array import array
from collections import deque
from collections.abc import Container, Iterable, Iterator, ValuesView
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

SIMPLE = (bool, int, float, str, type(None))
DEEPEST = 3
"""Levels of containers and objects that are looked into."""
_DEEPEST_SHORT = 8
"""The same, of short containers."""
_LONGEST = 100
"""Items of a container elsewhere that are looked at, each time; those of containers in it, in a short one."""
_SHORT = 16
_CONTAINERS = (list, tuple, dict, set, frozenset, deque)
_LARGEST = 1000  # numbers of an array
_MADE = 1 << 9  # the flag of a class that a program made
LIBRARIES = ("spikeloom", "torch", "numpy", "numba")
"""Packages whose functions read nothing that a user changes."""


def package_of(code: type | types.FunctionType) -> str:
    """The package of a class or a function; that of what ``exec`` made without a name is none."""
    if isinstance(code, types.FunctionType):  # functools.wraps copies another one's __module__
        return str(code.__globals__.get("__name__", "")).split(".")[0]
    package = (code.__module__ or "").split(".")[0]
    return "" if package == "builtins" and code.__flags__ & _MADE else package


def of_library(code: type | types.FunctionType) -> bool:
    """Whether a class or a function reads nothing that a user changes."""
    return package_of(code) in (*LIBRARIES, "builtins")


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


class _Seen(NamedTuple):
    """A class, as it was last seen.

    Args:
        mro: the classes that it derives from.
        now: what those hold that are not PyTorch's, as it is at any time.
        held: what they held.
        version: a number for each state.
    """

    mro: tuple[type, ...]
    now: list[ValuesView[Any]]
    held: list[Any]
    version: int


_seen: dict[type, _Seen] = {}  # never emptied: a class that ran stays, with what it holds


def class_version(cls: type) -> int:
    """A number that changes when something of ``cls`` is replaced, or of a base that is not PyTorch's."""
    seen = _seen.get(cls)
    if seen is None or seen.mro is not cls.__mro__:
        own = [base for base in cls.__mro__ if package_of(base) not in ("torch", "builtins")]
        version = -1 if seen is None else seen.version
        seen = _Seen(cls.__mro__, [vars(base).values() for base in own], [], version)
    now = list(chain.from_iterable(seen.now))
    if len(now) != len(seen.held) or not all(map(is_, now, seen.held)):
        seen = _seen[cls] = seen._replace(held=now, version=seen.version + 1)
    return seen.version


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
            yield name, _brief(held_at(owner, name), self.names)


_by_class: dict[type, _Elsewhere] = {}
_by_function: weakref.WeakKeyDictionary[Any, _Elsewhere] = weakref.WeakKeyDictionary()


def read_by_class(kind: type, version: int) -> Iterable[Any]:
    known = _by_class.get(kind)
    if known is None or known.version != version:
        known = _by_class[kind] = _Elsewhere(*read_by(kind), version)
    return known.values() if known.read else ()


def _read_by_function(function: types.FunctionType) -> Iterable[Any]:
    if function not in _by_function:
        _by_function[function] = _Elsewhere(*read_by(function))
    return _by_function[function].values()


def held_by(cell: types.CellType) -> list[Any]:
    """What a cell of a closure holds; nothing if it is still empty."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def function_of(value: Any) -> Any:
    """The function of a method or a property; another value is itself."""
    if isinstance(value, types.MethodType | classmethod | staticmethod):
        return value.__func__
    return value.fget if isinstance(value, property) else value


def held_at(owner: Any, name: str) -> Any:
    """What an owner of those that :func:`read_by` finds has under a name; ``None`` for nothing."""
    if isinstance(owner, types.CellType):
        return next(iter(held_by(owner)), None)
    return (owner if isinstance(owner, dict) else vars(owner)).get(name)


def _brief(value: Any, names: Container[str]) -> Any:
    """What decides whether something elsewhere is the same: which object, what a short one holds, and of its
    attributes those that have one of the ``names``."""
    if isinstance(value, SIMPLE):
        return type(value), value
    if isinstance(value, Tensor):  # a step that reads it is not woven
        return Tensor
    if isinstance(value, np.ndarray):
        return frozen(value) if value.size <= _LARGEST else _Same(value)
    if isinstance(value, _CONTAINERS) and len(value) <= _LONGEST:
        return frozen(value, DEEPEST - 1 if len(value) <= _SHORT else DEEPEST)
    read = {name: one for name, one in _settings(value) if name in names}
    return (_Same(value), frozen(read, DEEPEST - 1)) if read else _Same(value)


def _settings(value: Any) -> Iterable[tuple[str, Any]]:
    """The attributes of an object or a function, or of a user's class and of those it derives from."""
    if isinstance(value, type):
        own = [base for base in reversed(value.__mro__) if not of_library(base)]
        return chain.from_iterable(vars(base).items() for base in own)
    is_known = isinstance(value, types.ModuleType | nn.Module)
    return () if is_known else attributes(value).items()


def read_by(code: type | types.FunctionType) -> tuple[list[tuple[Any, str]], frozenset[str]]:
    """What a user's function, or those of a class, name that is not the neuron's own; with those they call.

    Returns:
        owners (a class, a dictionary of variables, a module, a cell of a closure) and names;
        and all names, also of attributes
    """
    read: list[tuple[Any, str]] = []
    names: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [] if isinstance(code, type) else [code]
    for base in code.__mro__ if isinstance(code, type) else ():
        if of_library(base):
            continue
        for name, value in list(vars(base).items()):
            value = function_of(value)
            if isinstance(value, types.FunctionType):
                waiting.append(value)
            elif not name.startswith("__"):
                read.append((base, name))
    while waiting:
        function = waiting.pop()
        if id(function) in seen or of_library(function):
            continue
        seen.add(id(function))
        own = {name for code in _codes_in(function.__code__) for name in code.co_names}
        names |= own
        for cell, name in zip(function.__closure__ or (), function.__code__.co_freevars, strict=True):
            if name != "__class__":
                read.append((cell, name))
                waiting += [held for held in held_by(cell) if isinstance(held, types.FunctionType)]
        for name in _globals_in(function.__code__) & function.__globals__.keys():
            value = function.__globals__[name]
            if isinstance(value, types.FunctionType):
                waiting.append(value)
            if not isinstance(value, types.ModuleType):
                read.append((function.__globals__, name))
            elif value.__name__.split(".")[0] not in LIBRARIES:
                read += [(value, inner) for inner in own & vars(value).keys()]
    return read, frozenset(names)


def _codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function, and of those within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes_in(constant)


def _globals_in(code: types.CodeType) -> set[str]:
    """The names of global variables in a function, and in those within it."""
    ways = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL")
    instructions = (one for within in _codes_in(code) for one in dis.get_instructions(within))
    return {one.argval for one in instructions if one.opname in ways}


def frozen(value: Any, depth: int = 0) -> Any:
    """What decides whether an attribute is still the same; below a few levels, only which object it is."""
    if isinstance(value, SIMPLE):
        return type(value), value if value or not isinstance(value, float) else str(value)  # 0.0 == -0.0
    if isinstance(value, Tensor):
        return Tensor, value.requires_grad, value.dtype
    is_short = isinstance(value, _CONTAINERS) and len(value) <= _SHORT
    if depth > (_DEEPEST_SHORT if is_short else DEEPEST):
        return _Same(value)
    below = depth + 1
    if isinstance(value, list | tuple | deque):
        return type(value), tuple(frozen(item, below) for item in value)
    if isinstance(value, dict):
        return dict, tuple((frozen(key, below), frozen(item, below)) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return type(value), frozenset(frozen(item, below) for item in value)
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, array):
        return value.typecode, value.tobytes()
    if isinstance(value, types.FunctionType):
        return (
            _Same(value),
            value.__code__,
            frozen(value.__defaults__, below),
            tuple(
                frozen(one, _DEEPEST_SHORT + 1) for cell in value.__closure__ or () for one in held_by(cell)
            ),
            frozen(vars(value), below),
            *_read_by_function(value),
        )
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        return functools.partial, *(frozen(one, below) for one in parts)
    known = isinstance(value, type | nn.Module | types.ModuleType | logging.Logger)
    held = {} if known else attributes(value)  # such as of a namespace of settings
    if known or not (held or hasattr(value, "__dict__")):
        return _Same(value)
    return _Same(value), class_version(type(value)), frozen(held, below)


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object, also those in slots."""
    members = chain.from_iterable(vars(kind).items() for kind in type(value).__mro__)
    slots = {
        name for name, one in members if isinstance(one, types.MemberDescriptorType) and hasattr(value, name)
    }
    return getattr(value, "__dict__", {}) | {name: getattr(value, name) for name in slots}
