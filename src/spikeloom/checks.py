"""Checks of what users give: a number is returned, or the error says what it must be.

Numbers are integers or floats, NumPy's too, but no booleans, and not NaN. Where a setting may be a tensor,
the rule holds for all of its elements.
"""

import math
import numbers
import operator
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.errors import describe


def is_number(value: Any) -> bool:
    """Whether ``value`` is a real number, which a boolean is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A setting in few words: of a tensor of several numbers its shape."""
    if not isinstance(value, Tensor):
        return str(value)
    text = f"{value.item():.4g}" if value.numel() == 1 else f"tensor{list(value.shape)}"
    return f"{text} (learned)" if isinstance(value, nn.Parameter) else text


def checked_number(name: str, value: Any) -> float:
    """``value`` as a float, if it is a number; it may be infinite.

    Raises:
        TypeError: it is none.
        ValueError: it is NaN.
    """
    if not is_number(value):
        raise TypeError(f"`{name}` must be a number, got {value!r} ({type(value).__name__}).")
    if value != value:
        raise ValueError(f"`{name}` must be a number, got NaN.")
    return float(value)


def checked_integer(name: str, value: Any) -> int:
    """``value``, if it is an integer; else a TypeError."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # NumPy's too, and a tensor of one
    except TypeError:
        pass
    raise TypeError(f"`{name}` must be an integer, got {value!r} ({type(value).__name__}).")


def checked_count(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """``value``, if it is an integer from ``least`` to ``most``.

    Raises:
        TypeError: it is no integer.
        ValueError: it is out of range.
    """
    count = checked_integer(name, value)
    if count < least:
        raise ValueError(f"`{name}` must be at least {least}, got {count}.")
    if most is not None and count > most:
        raise ValueError(f"`{name}` must be at most {most}, got {count}.")
    return count


def is_transformed() -> bool:
    """Whether a graph is being made, or a transformation of ``torch.func`` runs: values cannot be asked."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def check_tensor(name: str, value: Any, module: Any = None) -> None:
    """Raise TypeError unless ``value``, an argument of ``module`` if one is given, is a tensor."""
    if not isinstance(value, Tensor):
        of = f" of {describe(module)}" if module else ""
        raise TypeError(
            f"`{name}`{of} must be a tensor, got a {type(value).__name__}. Use torch.as_tensor({name})."
        )


def check_classes(name: str, labels: Tensor, num_classes: int) -> None:
    """Refuse labels that are no whole numbers, or out of range; on another device, and in a graph that is
    being made, the range is not looked at: nobody waits for it.

    Raises:
        TypeError: they are no whole numbers.
        ValueError: one is negative, or at least ``num_classes``.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"`{name}` must be whole numbers, got {labels.dtype}. Use {name}.long().")
    if labels.device.type != "cpu" or is_transformed() or not labels.numel():
        return
    low, high = int(labels.min()), int(labels.max())
    if not 0 <= low <= high < num_classes:
        raise ValueError(f"`{name}` must be from 0 to {num_classes - 1}, got {low if low < 0 else high}.")


# The checks below take a number, which they return as a float, or a tensor, which they return as it is. They
# raise TypeError for what is neither, and ValueError for what breaks the rule.


def checked_above(name: str, value: Any, low: float) -> Any:
    """``value``, if it is greater than ``low``, perhaps infinite."""
    return _checked(name, value, f"greater than {low:g}", lambda v: v > low)


def checked_positive(name: str, value: Any) -> Any:
    """``value``, if it is greater than 0, perhaps infinite."""
    return checked_above(name, value, 0.0)


def checked_range(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """``value``, if it is finite and from ``low`` to ``high``."""
    least = f"of at least {low:g}" if low > -math.inf else ""
    rule = f"from {low:g} to {high:g}" if high < math.inf else least
    return _checked(name, value, rule, lambda v: (v >= low) & (v <= high), high == math.inf)


def checked_inside(name: str, value: Any, low: float, high: float = math.inf) -> Any:
    """``value``, if it is finite and strictly between ``low`` and ``high``."""
    rule = f"between {low:g} and {high:g}" if high < math.inf else f"greater than {low:g}"
    return _checked(name, value, rule, lambda v: (v > low) & (v < high), high == math.inf)


def checked_part(name: str, value: Any, whole: float = 1.0) -> Any:
    """``value``, if it is greater than 0 and at most ``whole``."""
    rule = f"greater than 0 and at most {whole:g}"
    return _checked(name, value, rule, lambda v: (v > 0) & (v <= whole))


def _checked(name: str, value: Any, rule: str, holds: Any, finite: bool = False) -> Any:
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            raise TypeError(f"`{name}` must be a number or a floating-point tensor, got {value.dtype}.")
        if not bool((holds(value) & (value.isfinite() if finite else True)).all()):
            few = value.detach().flatten().tolist()[:5]
            words = [*(["finite"] if finite else []), *([rule] if rule else [])]
            raise ValueError(f"`{name}` must be {' and '.join(words)} everywhere, got {few}.")
        return value
    number = checked_number(name, value)
    if not holds(number) or (finite and math.isinf(number)):
        kind = "a finite number" if finite else "a number"
        raise ValueError(f"`{name}` must be {f'{kind} {rule}'.rstrip()}, got {value!r}.")
    return number
