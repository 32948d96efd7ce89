"""What users hand to a plot, as a checked NumPy array."""

from typing import Any

import numpy as np
import torch

from spikeloom.checks import checked_integer
from spikeloom.errors import ShapeError


def as_array(name: str, value: Any) -> np.ndarray:
    """``value`` as a float array: a tensor (any device or type, with a graph too), an array, or lists.

    Raises:
        TypeError: it does not hold real numbers.
        ShapeError: it is empty.
        ValueError: a value is NaN or infinite.
    """
    if isinstance(value, list | tuple) and len(value) > 0 and isinstance(value[0], torch.Tensor):
        value = torch.stack([item.detach() for item in value])
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().to_dense()
        value = value.float().numpy() if value.dtype is torch.bfloat16 else value.numpy()
    try:
        array = np.asarray(value)
    except ValueError:
        raise ShapeError(f"`{name}` must be a rectangular array, got rows of different lengths.") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"`{name}` must hold real numbers, got {type(value).__name__} of type {array.dtype}.")
    if array.size == 0:
        raise ShapeError(f"`{name}` must not be empty, got shape {list(array.shape)}.")
    array = array.astype(float)
    if not np.isfinite(array).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise ValueError(
            f"`{name}` must be finite, got {array[tuple(where)]} at {where} of shape {list(array.shape)}."
        )
    return array


def time_by_neuron(name: str, value: Any, sample: int | None = None) -> np.ndarray:
    """``value`` as ``[T, neurons]``: of ``[T]``, ``[T, neurons]``, or one sample of ``[T, N, ...]``.

    Args:
        name: the argument's name, for errors.
        value: see :func:`as_array`.
        sample: which of the ``N``; default: two dimensions are ``[T, neurons]``, of more the first sample.
    """
    array = as_array(name, value)
    if array.ndim == 0:
        raise ShapeError(f"`{name}` must be [T], [T, neurons] or [T, N, ...], got a single number.")
    if sample is not None and array.ndim == 1:
        raise ShapeError(f"`{name}` must be [T, N, ...] for `sample`, got shape {list(array.shape)}.")
    if sample is not None or array.ndim > 2:
        array = one_sample(name, array, sample)
    return array.reshape(array.shape[0], -1)


def spikes_by_neuron(name: str, value: Any, sample: int | None = None) -> np.ndarray:
    """As :func:`time_by_neuron`, of what can be spikes: whole numbers, or multiples of one size.

    Raises:
        ValueError: the values are of other kinds, as those of potentials.
    """
    array = time_by_neuron(name, value, sample)
    sizes = np.unique(np.abs(array[array != 0]))
    in_units = [sizes / unit for unit in (1, sizes.min(initial=np.inf))]
    if not any(np.allclose(counts, counts.round(), rtol=0, atol=1e-3) for counts in in_units):
        raise ValueError(
            f"`{name}` must be 0 and 1, whole numbers, or multiples of one size, got values such as "
            f"{sizes[0]:.4g} and {sizes[1]:.4g}. Draw potentials with `plot.membrane`, other values "
            f"with `plot.heatmap`; or say where the spikes are, such as with `{name}=x != 0`."
        )
    return array


def which_sample(value: Any, sample: int | None) -> str:
    """The end of a title: which one of several samples :func:`time_by_neuron` chose; else nothing."""
    shape = as_array("value", value).shape
    if (sample is None and len(shape) <= 2) or shape[1] == 1:
        return ""
    return f", sample {(sample or 0) % shape[1]} of {shape[1]}"


def one_sample(name: str, array: np.ndarray, sample: int | None) -> np.ndarray:
    """``[T, N, *]`` as ``[T, *]``, of one of the ``N``; default: the first."""
    index, num_samples = 0 if sample is None else checked_integer("sample", sample), array.shape[1]
    if not -num_samples <= index < num_samples:
        raise ShapeError(
            f"`sample` must be from -{num_samples} to {num_samples - 1}, of `{name}`, got {sample}."
        )
    return array[:, index]
