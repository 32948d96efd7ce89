"""Settings of neurons: numbers or tensors, computed with alike; and those that older scripts still give."""

import inspect
import math
import warnings
from typing import Any

import torch
from torch import Tensor

_OLD = {"cupy_fp32_inference", "lava_s_cale", "monitor_state"}
_FAMILIAR = {  # names of other libraries, the argument that is meant here, and how to say it
    "beta": ("decay_input", "A factor of decay `beta` is `tau=1 / (1 - beta), decay_input=False`."),
    "threshold": ("v_threshold", "It is called `v_threshold`."),
    "spike_grad": ("surrogate_function", "It is called `surrogate_function`."),
    "reset_mechanism": (
        "v_reset",
        "`v_reset=None` subtracts the threshold, a number is where `v` is reset to.",
    ),
    "tau": ("init_tau", "The start of a time constant that is learned is `init_tau`."),
    "init_tau": ("tau", "A time constant that is not learned is `tau`."),
}


def function(name: str, value: Any) -> Any:
    """The function of that name (``'exp'``, ``'log'``, ``'sin'``, ``'cos'``) of a number or a tensor.

    That of a number is a number, so a step multiplies by a constant.
    """
    return getattr(torch if isinstance(value, Tensor) else math, name)(value)


def ignore_old(kind: type, given: dict[str, Any]) -> None:
    """Warn of arguments of ``kind`` that mean nothing here, but did in versions of SpikingJelly.

    Raises:
        TypeError: another argument is among them.
        ValueError: what was asked for is to be had in another way.
    """
    for name, value in given.items():
        if name not in _OLD:
            ours, cure = _FAMILIAR.get(name, ("", ""))
            if ours not in inspect.signature(kind).parameters:
                cure = f"help(neuron.{kind.__name__}) lists them."
            raise TypeError(f"{kind.__name__}.__init__() got an unexpected keyword argument {name!r}. {cure}")
        if name == "monitor_state" and value:
            raise ValueError(
                "`monitor_state` is not there: give store_v_seq=True, or use monitor.OutputMonitor and "
                "monitor.AttributeMonitor('v', ...)."
            )
        warnings.warn(f"`{name}` of {kind.__name__} has no effect here.", stacklevel=4)
