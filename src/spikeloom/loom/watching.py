"""What a trace has to notice although no ATen operation shows it: values that are read, shapes, chance."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.overrides import TorchFunctionMode

from spikeloom.loom.plan import CannotWeave

_READS = ("tolist", "numpy", "__array__", "data_ptr", "untyped_storage", "storage", "__dlpack__")
_HOOKS = ("register_hook", "register_post_accumulate_grad_hook", "retain_grad")
_SIZES = ("dim", "numel", "size", "nelement", "ndimension", "__len__")
_PROPERTIES = (Tensor.shape, Tensor.ndim)


class Watch(TorchFunctionMode):
    """A block that refuses to read a tensor's values, to watch its gradient, and to ask for the shape of what
    stands in for a tensor of the neuron, whose own shape is another.

    Args:
        values: that stand in.
    """

    def __init__(self, values: Sequence[Tensor]):
        super().__init__()
        self.values = {id(value) for value in values}

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _READS:
            raise CannotWeave(f"a step looks at the values of a tensor ({name})")
        if name in _HOOKS:
            raise CannotWeave(f"a step watches a gradient ({name})")
        is_size = name in _SIZES or (name == "__get__" and getattr(func, "__self__", None) in _PROPERTIES)
        if is_size and args and id(args[0]) in self.values:
            raise CannotWeave("a step asks for the shape of a tensor of its neuron")
        return func(*args, **(kwargs or {}))


class RandomState:
    """A block that refuses draws of Python's or NumPy's global random numbers, and puts their state back."""

    def __enter__(self) -> None:
        self.python, self.numpy = random.getstate(), _of_numpy()

    def __exit__(self, kind: type[BaseException] | None, *_details: object) -> None:
        if (random.getstate(), _compared(_of_numpy())) == (self.python, _compared(self.numpy)):
            return
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002  the one that steps draw from
        if kind is None or issubclass(kind, CannotWeave):
            raise CannotWeave("a step depends on chance: it draws random numbers of Python's or NumPy's")


def _of_numpy() -> Any:
    return np.random.get_state(legacy=True)  # noqa: NPY002


def _compared(state: Any) -> Any:
    kind, keys, *rest = state
    return kind, keys.tobytes(), rest
