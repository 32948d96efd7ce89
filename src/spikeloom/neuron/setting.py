"""Settings of neurons: numbers or tensors, checked and computed with alike."""

import math
from typing import Any

import torch
from torch import Tensor

from spikeloom.neuron.base import checked_number


def checked_range(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """``value`` as a float or as the tensor that it is, if it lies from ``low`` to ``high`` everywhere."""
    return _checked(name, value, f"from {low:g} to {high:g}", lambda v: (v >= low) & (v <= high))


def checked_positive(name: str, value: Any) -> Any:
    """``value`` as a float or as the tensor that it is, if it is greater than 0 everywhere."""
    return _checked(name, value, "greater than 0", lambda v: v > 0)


def checked_inside(name: str, value: Any, low: float, high: float) -> Any:
    """``value`` as a float or as the tensor that it is, if it lies strictly between ``low`` and ``high``."""
    return _checked(name, value, f"between {low:g} and {high:g}", lambda v: (v > low) & (v < high))


def checked_count(name: str, value: Any, least: int) -> int:
    """``value``, if it is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` must be an integer, got {value!r} ({type(value).__name__}).")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}.")
    return value


def function(name: str, value: Any) -> Any:
    """The function of that name (``'exp'``, ``'log'``, ``'sin'``, ``'cos'``) of a number or a tensor.

    That of a number is a number, so a step multiplies by a constant.
    """
    return getattr(torch if isinstance(value, Tensor) else math, name)(value)


def _checked(name: str, value: Any, rule: str, holds: Any) -> Any:
    if isinstance(value, Tensor):
        if not bool(holds(value).all()):
            shown = value.detach().flatten().tolist()[:5]
            raise ValueError(f"`{name}` must be {rule} everywhere, got {shown}.")
        return value
    number = checked_number(name, value)
    if not holds(number):
        raise ValueError(f"`{name}` must be {rule}, got {value!r}.")
    return number
