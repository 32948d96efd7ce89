"""What is asked of spike times and sizes in more than one place."""

import math

from torch import Tensor

from spikeloom.checks import check_tensor, is_transformed
from spikeloom.errors import ShapeError


def check_finite(times: Tensor) -> None:
    """Raise if one of the spike times is NaN or infinite; minus infinity is no spike."""
    if is_transformed() or not times.numel():
        return
    if not times.detach().max() < float("inf"):  # NaN is not less
        raise ValueError("`times` must have no NaN or infinity. No spike is written as -1.")


def check_window(times: Tensor, T: float) -> None:
    """Raise if one of the spike times is NaN, or later than ``T``."""
    if is_transformed() or not times.numel():
        return
    latest = times.detach().max()
    if latest.isnan():
        raise ValueError(
            f"`times` must have no NaN, got {int(times.isnan().sum())}. No spike is written as -1."
        )
    if latest > T:  # in the type of the times: a neuron may fire at T, which is rounded there
        raise ValueError(
            f"`times` must be at most T = {T:g}, got a spike at {latest:g}. No spike is written as -1; else "
            "make T larger, or do not set `extrapolate` in the layer before."
        )


def check_weights(name: str, weights: Tensor) -> None:
    """Raise if a weight is NaN or infinite: neurons would look silent."""
    if is_transformed() or not weights.numel():
        return
    low, high = weights.detach().aminmax()
    if not (low > -math.inf and high < math.inf):  # NaN is neither
        raise ValueError(
            f"`{name}` must be finite, got NaN or infinity. If the layer was being trained, take a smaller "
            "learning rate."
        )


def check_times(times: Tensor, in_features: int, T: float) -> None:
    """Raise unless these are spike times of so many inputs, with one or several each, within the window."""
    check_tensor("times", times)
    if times.dim() not in (2, 3) or times.shape[1] != in_features:
        raise ShapeError(
            f"`times` must be spike times [N, {in_features}], or [N, {in_features}, S] of neurons with "
            f"several spikes, got {list(times.shape)}. Flatten what an encoder returns."
        )
    check_window(times, T)


def pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width, each at least 1; one number stands for both."""
    both = value if isinstance(value, tuple) else (value, value)
    if len(both) != 2 or any(isinstance(one, bool) or not isinstance(one, int) or one < 1 for one in both):
        raise ValueError(f"`{name}` must be an integer of at least 1, or two of them, got {value!r}.")
    return both
