"""One registry for recipes, models and datasets: a decorator, a listing, and errors with close matches."""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

from spikeloom.errors import UnknownNameError, suggest

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """Names and what they stand for.

    Args:
        kind: what an entry is, in the singular, for error messages.
    Example:
        >>> shapes = Registry("shape")
        >>> @shapes.register("square")
        ... def square(side): return side * side
        >>> shapes["square"](3)
        9
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """A decorator that enters what it decorates under ``name``."""

        def enter(entry: Entry) -> Entry:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def names(self, pattern: str = "*") -> list[str]:
        """The registered names that match a shell-style ``pattern``, sorted."""
        return sorted(name for name in self._entries if fnmatchcase(name, pattern))

    def __getitem__(self, name: str) -> Entry:
        if not isinstance(name, str):
            raise TypeError(f"The name of a {self.kind} must be a string, got {name!r}.")
        if name not in self._entries:
            raise UnknownNameError(f"There is no {self.kind} '{name}'. {suggest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
