"""The operations that a plan may hold: their name in ATen, how a loop writes them, how PyTorch computes them.

A template is a Python expression on scalars. The results of a comparison are booleans, all else has the type
of the loop; a template must not mix in Python numbers, which Numba would promote to float64: ``one`` and
``zero`` are there for that. Exact operations round once, so that a loop gives the same bits as ATen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Operation:
    """One pointwise operation.

    Args:
        template: expression with ``{0}``, ``{1}``, ... for its arguments.
        compute: the same in PyTorch, on tensors and numbers.
        exact: whether the loop gives the same bits as ATen.
        boolean: whether the result is a truth value.
    """

    template: str
    compute: Callable[..., Any]
    exact: bool = True
    boolean: bool = False


def _compare(symbol: str, compute: Callable[..., Any]) -> Operation:
    return Operation(f"({{0}} {symbol} {{1}})", compute, boolean=True)


OPERATIONS: dict[str, Operation] = {
    "add": Operation("({0} + {1})", torch.add),
    "sub": Operation("({0} - {1})", torch.sub),
    # ATen fuses these two.
    "add_scaled": Operation("({0} + {2} * {1})", lambda a, b, c: a + c * b, exact=False),
    "sub_scaled": Operation("({0} - {2} * {1})", lambda a, b, c: a - c * b, exact=False),
    "mul": Operation("({0} * {1})", torch.mul),
    "div": Operation("({0} / {1})", torch.div),
    "neg": Operation("(-{0})", torch.neg),
    "reciprocal": Operation("(one / {0})", torch.reciprocal),
    "square": Operation("({0} * {0})", lambda a: a**2),
    "cube": Operation("({0} * {0} * {0})", lambda a: a**3),
    "abs": Operation("abs({0})", torch.abs),
    "sqrt": Operation("sqrt({0})", torch.sqrt, exact=False),
    "sign": Operation("((one if {0} > zero else zero) - (one if {0} < zero else zero))", torch.sign),
    "minimum": Operation("({1} if ({0} > {1} or {1} != {1}) else {0})", torch.minimum),
    "maximum": Operation("({1} if ({0} < {1} or {1} != {1}) else {0})", torch.maximum),
    "where": Operation("({1} if {0} else {2})", torch.where),
    "to_float": Operation("(one if {0} else zero)", lambda a: a),
    "to_bool": Operation("({0} != zero)", lambda a: a != 0, boolean=True),
    "floor": Operation("floor({0})", torch.floor),
    "ceil": Operation("ceil({0})", torch.ceil),
    "trunc": Operation("trunc({0})", torch.trunc),
    "round": Operation("rint({0})", torch.round),
    "ge": _compare(">=", torch.ge),
    "gt": _compare(">", torch.gt),
    "le": _compare("<=", torch.le),
    "lt": _compare("<", torch.lt),
    "eq": _compare("==", torch.eq),
    "ne": _compare("!=", torch.ne),
    "and": Operation("({0} & {1})", torch.logical_and, boolean=True),
    "or": Operation("({0} | {1})", torch.logical_or, boolean=True),
    "xor": Operation("({0} ^ {1})", torch.logical_xor, boolean=True),
    "not": Operation("(not {0})", torch.logical_not, boolean=True),
    "isnan": Operation("({0} != {0})", torch.isnan, boolean=True),
    "exp": Operation("exp({0})", torch.exp, exact=False),
    "sigmoid": Operation("sigmoid({0})", torch.sigmoid, exact=False),
    "tanh": Operation("tanh({0})", torch.tanh, exact=False),
    "log": Operation("log({0})", torch.log, exact=False),
    "log1p": Operation("log1p({0})", torch.log1p, exact=False),
    "expm1": Operation("expm1({0})", torch.expm1, exact=False),
    "sin": Operation("sin({0})", torch.sin, exact=False),
    "cos": Operation("cos({0})", torch.cos, exact=False),
    "atan": Operation("atan({0})", torch.atan, exact=False),
    "erf": Operation("erf({0})", torch.erf, exact=False),
    "rsqrt": Operation("(one / sqrt({0}))", torch.rsqrt, exact=False),
    "pow": Operation("({0} ** {1})", torch.pow, exact=False),
}
"""By the name that plans use."""

RENAMED = {
    "sgn": "sign",
    "clamp_min": "maximum",
    "clamp_max": "minimum",
    "logical_and": "and",
    "bitwise_and": "and",
    "logical_or": "or",
    "bitwise_or": "or",
    "logical_xor": "xor",
    "bitwise_xor": "xor",
    "logical_not": "not",
    "bitwise_not": "not",
}
"""ATen operations that have another name here."""

IDENTITIES = {"detach", "alias", "clone", "expand", "view"}
"""ATen operations that do nothing to a value (those that change a shape are refused by the shape check)."""

KEYWORDS = {
    "alpha", "rounding_mode", "min", "max", "dtype", "layout", "device", "pin_memory", "memory_format",
    "non_blocking", "fill_value", "size",
}  # fmt: skip
"""Keyword arguments that plans take into account, or that cannot change a value."""

FILLED = {"zeros_like": 0.0, "ones_like": 1.0, "zeros": 0.0, "ones": 1.0, "new_zeros": 0.0, "new_ones": 1.0}
"""ATen operations that make a constant."""
