"""A copy of a neuron for a trace, which leaves nothing behind in the live one, and shows what a step changes.

Everything that the neuron holds is copied, however deep: containers, objects, arrays, random generators, what
functions have in their closures. Tensors are not: a plan can follow the neuron's own ones only, so any other
is refused where it is used. What cannot be copied, such as an open file, is replaced by something that may be
carried along, but not used.
"""

import copyreg
import enum
import itertools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.loom.plan import CannotWeave
from spikeloom.loom.same import held_by
from spikeloom.memory import BOOKKEEPING

_SIMPLE = (type(None), bool, int, float, complex, str, bytes)
_SHARED = (*_SIMPLE, type, range, types.ModuleType, types.CodeType, Tensor, torch.dtype, torch.device)
_MODULES_OWN = frozenset(nn.Module().__dict__) - {"training"}
_REPLACED = ("_parameters", "_buffers")  # their tensors are, with each step of a trace
Contents = list[list[Any]]
CHANGES = "a step changes"
"""How the reason begins if a step changes what its neuron holds, but for memories."""


class Isolated:
    """A copy of ``original`` and of all that it holds but tensors.

    Args:
        original: it is read, and nothing else.
    Attributes:
        module: the copy.
        used: names of attributes that a step used although they cannot be copied.
    """

    def __init__(self, original: nn.Module):
        self.used: list[str] = []
        self._original = original
        self._known: dict[int, tuple[Any, Any]] = {}  # by number: the original, kept alive, and its copy
        self._made: list[tuple[str, Any, Callable[[Any], list[Any]]]] = []
        self.module: Any = self.copy(original, "")

    def contents(self) -> Contents:
        """What each part of the copy holds, but for memories; for :meth:`change_since`."""
        return [look(part) for _, part, look in self._made]

    def change_since(self, before: Contents) -> str | None:
        """What no longer holds what it held, as a reason."""
        for (name, part, _), old, new in zip(self._made, before, self.contents(), strict=True):
            if _same(tuple(old), tuple(new)):
                continue
            if isinstance(part, nn.Module):
                held, holds = dict(old), dict(new)
                names = [key for key in held | holds if not _same(held.get(key, self), holds.get(key, self))]
                shown = " and ".join(repr(f"{name}.{key}".lstrip(".")) for key in names)
                meant = [
                    one for one in getattr(part, "_memories", ()) if one.lower() in map(str.lower, names)
                ]
                cure = f"write self.{meant[0]} if that is meant, or register it" if meant else "register it"
                return f"{CHANGES} the attribute {shown}; {cure} as a memory"
            return f"{CHANGES} what its attribute '{name}' holds; register it as a memory"
        return None

    def copy(self, value: Any, name: str) -> Any:
        """A copy of what the attribute ``name`` leads to."""
        if isinstance(value, _SHARED):
            return value
        if id(value) in self._known:
            return self._known[id(value)][1]
        if isinstance(value, nn.Module):
            return self._module(value, name)
        if copier := _COPIERS.get(type(value)):
            return copier(self, value, name)
        try:
            return self._object(value, name)
        except Exception:  # whatever a class raises when it is asked for its state
            return self._keep(value, _Uncopied(name, self.used))

    def _keep(
        self, original: Any, copied: Any, name: str = "", look: Callable[[Any], list[Any]] | None = None
    ) -> Any:
        """Remember the copy of ``original``; with ``look``, a step that changes it is noticed."""
        self._known[id(original)] = (original, copied)
        if look:
            self._made.append((name, copied, look))
        return copied

    def _module(self, module: nn.Module, name: str) -> nn.Module:
        skipped = BOOKKEEPING.union(_REPLACED, ("_modules",))
        if module is self._original:
            skipped = skipped.union(getattr(module, "_memories", ()))

        def look(module: nn.Module) -> list[Any]:
            return [item for item in module.__dict__.items() if item[0] not in skipped]

        copied = self._keep(module, object.__new__(type(module)), name, look)
        for key, value in module.__dict__.items():
            path = f"{name}.{key}".lstrip(".")
            if key in _MODULES_OWN and key != "_modules" and not value:
                copied.__dict__[key] = None if value is None else value.copy()  # such as no hooks
            elif key in (*_REPLACED, "_modules"):
                path = name if key == "_modules" else path
                items = {
                    inner: self.copy(held, f"{path}.{inner}".lstrip(".")) for inner, held in value.items()
                }
                copied.__dict__[key] = self._keep(value, items, path, _look_at_dict)
            else:
                copied.__dict__[key] = self.copy(value, path)
        return copied

    def _list(self, value: list[Any], name: str) -> list[Any]:
        copied = self._keep(value, [], name, list)
        copied.extend(self.copy(item, name) for item in value)
        return copied

    def _dict(self, value: dict[Any, Any], name: str) -> dict[Any, Any]:
        copied = self._keep(value, {}, name, _look_at_dict)
        copied.update((self.copy(key, name), self.copy(item, name)) for key, item in value.items())
        return copied

    def _set(self, value: set[Any], name: str) -> set[Any]:
        copied = self._keep(value, set(), name, list)
        copied.update(self.copy(item, name) for item in value)
        return copied

    def _fixed(self, value: Any, name: str) -> Any:
        """A tuple or a frozen set: itself, unless something in it had to be copied."""
        items = [self.copy(item, name) for item in value]
        if id(value) in self._known:  # it holds itself, by way of a list
            return self._known[id(value)][1]
        same = all(one is other for one, other in zip(items, value, strict=True))
        return self._keep(value, value if same else type(value)(items))

    def _array(self, value: np.ndarray, name: str) -> Any:
        if value.dtype.hasobject:
            return self._keep(value, _Uncopied(name, self.used))
        return self._keep(value, value.copy(), name, lambda array: [array.tobytes()])

    def _cell(self, cell: types.CellType, name: str) -> types.CellType:
        copied = self._keep(cell, types.CellType(), name, held_by)
        if held_by(cell):
            copied.cell_contents = self.copy(cell.cell_contents, name)
        return copied

    def _function(self, value: types.FunctionType, name: str) -> Any:
        """Itself, if it has nothing of its own that a call could change."""
        held = (value.__defaults__, value.__kwdefaults__, value.__dict__)
        if not value.__closure__ and not any(held):
            return value
        cells = tuple(self.copy(cell, name) for cell in value.__closure__ or ())
        copied = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, cells)
        self._keep(value, copied, name, _look_at_function)
        copied.__defaults__ = self.copy(value.__defaults__, name)
        copied.__kwdefaults__ = self.copy(value.__kwdefaults__, name)
        copied.__dict__.update(self.copy(value.__dict__, name))
        return copied

    def _method(self, value: types.MethodType, name: str) -> Any:
        function, owner = self.copy(value.__func__, name), self.copy(value.__self__, name)
        same = function is value.__func__ and owner is value.__self__
        return self._keep(value, value if same else types.MethodType(function, owner))

    def _builtin(self, value: types.BuiltinMethodType, name: str) -> Any:
        owner = value.__self__  # of ``log.append``, the list; of a function, its module
        copied = self.copy(owner, name)
        return self._keep(value, value if copied is owner else getattr(copied, value.__name__))

    def _object(self, value: Any, name: str) -> Any:
        """By what ``copy`` and ``pickle`` ask of it; for a plain object that is its ``__dict__``."""
        kind = type(value)
        if hasattr(kind, "__del__") or kind.__module__ == itertools.__name__:
            raise TypeError("the end of a copy could close what is still in use; itertools warn")
        if hasattr(kind, "__deepcopy__"):
            copied = value.__deepcopy__({})
            if copied is value:
                _require_fixed(value)
                return self._keep(value, value)
            _look_at_object(copied)  # it raises if changes could not be seen
            return self._keep(value, copied, name, _look_at_object)
        reduced = _reduced(value)
        if isinstance(reduced, str):  # the name of what exists only once
            return self._keep(value, value)
        make, arguments, state, items, pairs = _parts(reduced)
        copied = make(*(self.copy(argument, name) for argument in arguments))
        if copied is value and (state, items, pairs) != (None, None, None):
            raise TypeError("there is only one, which has a state")
        self._keep(value, copied, name, _look_at_object)
        if state is not None:
            state = self._state(state, name)
            if hasattr(copied, "__setstate__"):
                copied.__setstate__(state)
            else:
                plain, slots = state if isinstance(state, tuple) else (state, None)
                if plain:
                    copied.__dict__.update(plain)
                for key, held in (slots or {}).items():
                    setattr(copied, key, held)
        for item in items or ():
            copied.append(self.copy(item, name))
        for key, item in pairs or ():
            copied[self.copy(key, name)] = self.copy(item, name)
        return copied

    def _state(self, state: Any, name: str) -> Any:
        """A copy of an object's state, which may have been made for the asking: it is kept alive, because
        another object could get the number of one that is gone."""
        self._known[id(state)] = (state, state)
        if type(state) is dict:
            return {key: self.copy(held, name) for key, held in state.items()}
        if type(state) is tuple:
            return tuple(
                self._state(held, name) if type(held) is dict else self.copy(held, name) for held in state
            )
        return self.copy(state, name)


_COPIERS: dict[type, Callable[[Isolated, Any, str], Any]] = {
    list: Isolated._list,
    dict: Isolated._dict,
    set: Isolated._set,
    tuple: Isolated._fixed,
    frozenset: Isolated._fixed,
    np.ndarray: Isolated._array,
    types.CellType: Isolated._cell,
    types.FunctionType: Isolated._function,
    types.MethodType: Isolated._method,
    types.BuiltinMethodType: Isolated._builtin,
}


class _Uncopied:
    """In place of what cannot be copied. Whatever is done with it is noted, and refused."""

    def __init__(self, name: str, used: list[str]):
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_used", used)

    def _refuse(self, *_arguments: Any, **_options: Any) -> Any:
        name = object.__getattribute__(self, "_name")
        object.__getattribute__(self, "_used").append(name)
        raise CannotWeave(uncopied(name))


_WAYS_TO_USE = """
    getattribute setattr delattr call iter next len bool contains getitem setitem delitem enter exit eq ne lt
    le gt ge hash str repr format int float index add radd sub rsub mul rmul truediv rtruediv iadd
"""
for _name in _WAYS_TO_USE.split():
    setattr(_Uncopied, f"__{_name}__", _Uncopied._refuse)


def uncopied(name: str) -> str:
    """The reason why a step that uses the attribute ``name`` is not traced."""
    return f"a step uses its '{name}', which cannot be copied for a trace"


def _reduced(value: Any) -> Any:
    """What ``pickle`` would ask for, but without the note that this leaves on the class."""
    kind = type(value)
    if reducer := copyreg.dispatch_table.get(kind):
        return reducer(value)
    noted = "__slotnames__" in vars(kind)
    try:
        return value.__reduce_ex__(4)
    finally:
        if not noted and "__slotnames__" in vars(kind):
            del kind.__slotnames__


def _require_fixed(value: Any) -> None:
    """Refuse an object that copies to itself, but could change. Members of an enumeration do not."""
    slots = any(getattr(kind, "__slots__", ()) for kind in type(value).__mro__)
    if (slots or hasattr(value, "__dict__")) and not isinstance(value, enum.Enum):
        raise TypeError("there is only one, which has a state")


def _parts(reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Function, arguments, state, items, and pairs of key and item."""
    return (*reduced, None, None, None)[:5]


def _look_at_dict(value: dict[Any, Any]) -> list[Any]:
    return [*value, *value.values()]


def _look_at_function(function: types.FunctionType) -> list[Any]:
    return [function.__defaults__, function.__kwdefaults__, *_look_at_dict(vars(function))]


def _look_at_object(value: Any) -> list[Any]:
    attributes = getattr(value, "__dict__", {})  # first: to ask for it may make it, and change the state
    reduced = _reduced(value)
    if isinstance(reduced, str):
        return []
    _, arguments, state, items, pairs = _parts(reduced)
    return [*map(_frozen, (arguments, state)), *(items or ()), *(pairs or ()), *attributes.items()]


def _frozen(state: Any, depth: int = 0) -> Any:
    """What was perhaps made for the asking, in a form that can be compared with that of another time."""
    if depth < 4 and type(state) is dict:
        return tuple((key, _frozen(held, depth + 1)) for key, held in state.items())
    if depth < 4 and type(state) is tuple:
        return tuple(_frozen(held, depth + 1) for held in state)
    return state.tobytes() if isinstance(state, np.ndarray) else state


def _same(one: Any, other: Any) -> bool:
    """Whether two parts of contents are the same object, or equal numbers or text."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if type(one) is tuple:
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Tensor):  # of the state of a random generator
        return one.dtype == torch.uint8 and torch.equal(one, other)
    return type(one) in _SIMPLE and repr(one) == repr(other)
