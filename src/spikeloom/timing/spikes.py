"""Spike times ``[N, in_features]`` as a list of the spikes that there are."""

from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.checks import check_tensor
from spikeloom.errors import ShapeError


class Spikes(NamedTuple):
    """The spikes of a batch, one entry for each.

    Args:
        sample: its place in the batch, int64 ``[spikes]``.
        source: the input that it comes from, int64 ``[spikes]``.
        time: when it comes, ``[spikes]``.
    """

    sample: Tensor
    source: Tensor
    time: Tensor


def list_spikes(times: Tensor) -> Spikes:
    """The spikes in ``times`` ``[N, in_features]``, where a negative number is none."""
    flat = times.reshape(-1)
    place = (flat >= 0).nonzero().squeeze(1)
    sample = place.div(times.shape[1], rounding_mode="floor")
    return Spikes(sample, place - sample * times.shape[1], flat[place])


def check_patterns(times: Tensor, num_inputs: int, T: int) -> None:
    """Raise unless ``times`` are spike times ``[N, num_inputs]`` before ``T``, at least one in each pattern.

    Raises:
        ShapeError: they have another shape.
        ValueError: a time is NaN or not before ``T``, or a pattern has no spike.
    """
    check_tensor("in_spikes", times)
    if times.dim() != 2 or times.shape[1] != num_inputs:
        raise ShapeError(
            f"`in_spikes` must be spike times [N, {num_inputs}], got {list(times.shape)}. Flatten what an "
            "encoder returns: times.flatten(1)."
        )
    if torch.compiler.is_compiling() or times.numel() == 0:
        return
    latest = times.detach().amax(1)  # [N]; NaN if a time is
    low, high = (value.item() for value in latest.aminmax())
    if low >= 0 and high < T:
        return
    if high != high or low != low:
        raise ValueError(
            f"`in_spikes` must have no NaN, got {int(times.isnan().sum())}. No spike is written as -1."
        )
    if high >= T:
        raise ValueError(
            f"`in_spikes` must be less than T = {T}, got a spike at {high:g}. No spike is written as -1; "
            "else encode with a `max_spike_time` of at most T, or make T larger."
        )
    first = int((latest < 0).nonzero()[0, 0])
    raise ValueError(
        f"`in_spikes` must have a spike in each pattern, got none in {int((latest < 0).sum())} of "
        f"{len(times)} (the first is number {first}). Leave empty patterns out, or check the range of the "
        "encoder; if they come from another layer, it never fires: make its weights larger."
    )
