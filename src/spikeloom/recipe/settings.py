"""What settings may be, by their types: of recipes, and of commands. Imports no torch."""

from collections.abc import Collection
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST = 2.0**128 / 10  # float32 ends at 2^128, and Adam multiplies its first step by 10


def check_settings(settings: Any, may_be_zero: Collection[str] = ()) -> None:
    """Refuse fields of a dataclass that none of their types allows, and make integers of whole numbers: 3.0
    is 3.

    Args:
        settings: the dataclass.
        may_be_zero: fields that are numbers of at least 0. Others, but ``seed``, are greater.
    Raises:
        ValueError: a value is of another type or out of range.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        name, hint = field.name, hints[field.name]
        value: Any = getattr(settings, name)
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if value is None and type(None) in kinds:
            continue
        rules = [_broken(name, value, kind, name in may_be_zero) for kind in kinds if kind is not type(None)]
        if all(rules):
            raise ValueError(f"`{name}` must be {', or '.join(filter(None, rules))}, got {value!r}.")
        if isinstance(value, float) and int in kinds and float not in kinds:
            object.__setattr__(settings, name, int(value))


def _broken(name: str, value: Any, kind: Any, may_be_zero: bool) -> str | None:
    """What a value of this kind must be, if this one is not."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if get_origin(kind) is Literal and value not in get_args(kind):
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    if kind is float and not (is_number and 0 <= value < LARGEST and (value or may_be_zero)):
        rule = "a number of at least 0" if may_be_zero else "a number greater than 0"
        return f"{rule} and below {LARGEST:g}" if is_number and value >= LARGEST else rule
    if kind is int and not (is_number and value % 1 == 0):
        return "a whole number"
    if kind is int and name == "seed":
        return None if 0 <= value < 2**63 else "from 0 to 2^63 - 1"
    if kind is int and value < (least := 0 if may_be_zero else 1):
        return f"at least {least}"
    if kind is int and value >= 2**31:
        return "less than 2^31"
    if kind is bool and not isinstance(value, bool):
        return "true or false"
    if kind is str and not isinstance(value, str):
        return "a name"
    return None
