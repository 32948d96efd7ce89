"""Settings of neurons: numbers or tensors, computed with alike."""

import math
from typing import Any

import torch
from torch import Tensor


def function(name: str, value: Any) -> Any:
    """The function of that name (``'exp'``, ``'log'``, ``'sin'``, ``'cos'``) of a number or a tensor.

    That of a number is a number, so a step multiplies by a constant.
    """
    return getattr(torch if isinstance(value, Tensor) else math, name)(value)
