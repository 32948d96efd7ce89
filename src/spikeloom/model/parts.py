"""Parts of networks without shortcuts: convolutions in a row, fully connected layers, a vote."""

import itertools
from collections.abc import Sequence
from typing import Literal

from torch import nn

from spikeloom import layer
from spikeloom.checks import checked_count
from spikeloom.model.network import Layers, Neuron, Norm
from spikeloom.neuron import BaseNode

Pool = Literal["average", "max"]
Convolutions = Sequence[int | str]
"""The channels of each convolution, and ``"P"`` behind those that are pooled: ``(64, "P", 128, "P")``."""


def convolution_layers(
    plan: Convolutions, in_channels: int, neuron: Neuron, norm: Norm | None, pool: Pool, bias: bool
) -> dict[str, nn.Module]:
    """Convolutions of 3 x 3, each with normalisation, a neuron and, where ``plan`` says so, pooling by 2.

    Raises:
        ValueError: ``plan`` is empty, begins with pooling, pools twice, or pools in an unknown way.
    """
    layers: dict[str, nn.Module] = {}
    entries, number = [*plan, None], 0
    for entry, following in itertools.pairwise(entries):
        if entry == "P":
            if number == 0 or following == "P":
                raise ValueError(f"`convolutions` must have one before each 'P', got {tuple(plan)}.")
            continue
        number += 1
        channels = checked_count("convolutions", entry)
        layers[f"conv{number}"] = layer.Conv2d(in_channels, channels, 3, padding=1, bias=bias)
        if norm is not None:
            layers[f"bn{number}"] = norm(channels)
        layers[f"sn{number}"] = _pooled(neuron(), pool) if following == "P" else neuron()
        in_channels = channels
    if not layers:
        raise ValueError("`convolutions` must have at least one, got none.")
    return layers


def last_channels(plan: Convolutions) -> int:
    """The channels that the last convolution of ``plan`` has."""
    return next(entry for entry in reversed(plan) if not isinstance(entry, str))


def pooled_size(plan: Convolutions, size: int) -> int:
    """Height and width behind the poolings of ``plan``.

    Raises:
        ValueError: the images are too small for them.
    """
    num_poolings = list(plan).count("P")
    pooled = checked_count("size", size) >> num_poolings
    if pooled == 0:
        raise ValueError(
            f"`size` must be at least {2**num_poolings}, which is halved {num_poolings} times, got {size}."
        )
    return pooled


def _pooled(neuron: nn.Module, pool: Pool) -> nn.Module:
    if pool == "max":
        return nn.Sequential(neuron, layer.MaxPool2d(2))
    if pool != "average":
        raise ValueError(f"`pool` must be 'average' or 'max', got {pool!r}.")
    if isinstance(neuron, BaseNode):
        return layer.PooledNode(neuron, 2)
    return nn.Sequential(neuron, layer.AvgPool2d(2))


def hidden_layers(
    features: int, widths: Sequence[int], neuron: Neuron, dropout: float
) -> dict[str, nn.Module]:
    """Fully connected layers of neurons, each with dropout behind it."""
    layers: dict[str, nn.Module] = {}
    for number, width in enumerate(widths, 1):
        layers[f"fc{number}"] = layer.Linear(features, checked_count("hidden", width))
        layers[f"fc{number}_sn"] = neuron()
        layers[f"fc{number}_dropout"] = layer.Dropout(dropout)
        features = width
    return layers


def voting_head(features: int, num_classes: int, voters: int, neuron: Neuron) -> dict[str, nn.Module]:
    """``voters`` neurons for each class, and the share of them that fires."""
    return {
        "fc": layer.Linear(features, num_classes * checked_count("voters", voters)),
        "sn": neuron(),
        "vote": layer.VotingLayer(voters),
    }


def draw_weights(layers: Layers) -> None:
    """Draw the weights so that neurons fire in every layer, with normalisation or without.

    The potentials of the first layer get a variance of 2 for images of variance 1, those behind it one of
    about 1: there a neuron fires in every fourth to tenth step, and its spikes have that as their mean
    square, less where they are averaged.
    """
    gain = 2.0
    for one in layers.values():
        if isinstance(one, nn.Conv2d | nn.Linear):
            fan_in = one.weight[0].numel()
            nn.init.normal_(one.weight, std=(gain / fan_in) ** 0.5)
            if one.bias is not None:
                nn.init.zeros_(one.bias)
            gain = 6.0
