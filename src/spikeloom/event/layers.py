"""Layers of ``torch.nn`` that do only what their inputs ask for: nothing for an input of zero."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom import layer
from spikeloom.event.compiled import Window, add_spikes

TYPES = (torch.float32, torch.float64)
Side = tuple[int, int, int, tuple[int, int], int]
"""Sizes of the input and of the window, the window's stride, the padding at both ends, the dilation."""


def num_targets(size: int, window: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    """The size of a convolution's output."""
    return (size + sum(padding) - dilation * (window - 1) - 1) // stride + 1


@lru_cache(maxsize=1024)
def covered(size: int, window: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    """How often a place of the window lies on an input, over all outputs."""
    starts = range(
        -padding[0], num_targets(size, window, stride, padding, dilation) * stride - padding[0], stride
    )
    return sum(0 <= start + place * dilation < size for start in starts for place in range(window))


@dataclass
class Work:
    """What a layer has done.

    Args:
        inputs, events: values that came, and those that were not zero.
        operations: weights that were added, each times its input.
        dense_operations: of the layer that takes all inputs; padding is no input.
        calls, dense_calls: how often it ran, and how often as that layer.
    """

    inputs: int = 0
    events: int = 0
    operations: int = 0
    dense_operations: int = 0
    calls: int = 0
    dense_calls: int = 0


class EventDriven(nn.Module):
    """What event-driven layers share. A layer that exists becomes one with :meth:`take_over`.

    The layer itself, with all its inputs, runs where gradients are wanted, on other devices than the CPU, in
    other types than float32 and float64, and where more inputs than ``dense_above`` are not zero.
    """

    weight: Tensor
    bias: Tensor | None
    dense_above: float
    work: Work

    def take_over(self, dense_above: float) -> None:
        """Begin to be event-driven, as a module whose class was another one before."""
        self.dense_above, self.work = dense_above, Work()
        self.__dict__["_packed"] = None

    def forward(self, input: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or self._needs_gradient(input) or self._is_unsuited(input):
            return super().forward(input)
        events, dense_operations = int(input.count_nonzero()), self._dense_operations(input)
        is_dense = events > self.dense_above * input.numel()
        if is_dense:
            output, operations = super().forward(input), dense_operations
        else:
            output, operations = self._add_events(input)
        self.work.inputs += input.numel()
        self.work.events += events
        self.work.operations += operations
        self.work.dense_operations += dense_operations
        self.work.calls += 1
        self.work.dense_calls += is_dense
        return output

    @abstractmethod
    def _add_events(self, x: Tensor) -> tuple[Tensor, int]:
        """The output, and how many weights were added to it."""

    @abstractmethod
    def _pack(self, weight: Tensor) -> Tensor:
        """The weights as the loop reads them, ``[downwards, C / groups, backwards, C']``."""

    @abstractmethod
    def _dense_operations(self, x: Tensor) -> int:
        """How many products of an input and a weight the layer computes."""

    def _needs_gradient(self, x: Tensor) -> bool:
        parameters = (self.weight,) if self.bias is None else (self.weight, self.bias)
        return torch.is_grad_enabled() and any(one.requires_grad for one in (x, *parameters))

    def _is_unsuited(self, x: Tensor) -> bool:
        """Whether the layer itself has to run; it says best what is wrong with its input."""
        return (
            x.device.type != "cpu"
            or x.dtype not in TYPES
            or self.weight.dtype != x.dtype
            or torch.is_autocast_enabled("cpu")
        )

    def _start(self, *shape: int) -> Tensor:
        """An output that holds the bias; channels are last."""
        zeros = self.weight.new_zeros if self.bias is None else self.weight.new_empty
        out = zeros(shape).detach()
        return out if self.bias is None else out.copy_(self.bias.detach())

    def _add(self, x: Tensor, out: Tensor, window: Window) -> int:
        """Add what the inputs ask for to ``out``; weights are packed anew after they have changed."""
        weight = self.weight.detach()
        state, packed = (weight.data_ptr(), weight._version), self.__dict__["_packed"]
        if packed is None or packed[0] != state:
            packed = self.__dict__["_packed"] = state, self._pack(weight).contiguous()
        return add_spikes(x, packed[1], out, window)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None}


class EventLinear(EventDriven, nn.Linear):
    """A linear layer that adds the weights of the inputs that are not zero."""

    def _is_unsuited(self, x: Tensor) -> bool:
        return x.shape[-1:] != (self.in_features,) or super()._is_unsuited(x)

    def _dense_operations(self, x: Tensor) -> int:
        return x.numel() * self.out_features

    def _add_events(self, x: Tensor) -> tuple[Tensor, int]:
        rows = x.detach().reshape(-1, 1, 1, self.in_features).contiguous()
        out = self._start(len(rows), 1, 1, self.out_features)
        operations = self._add(rows, out, Window())
        return out.view(*x.shape[:-1], self.out_features), operations

    def _pack(self, weight: Tensor) -> Tensor:
        return weight.t()[None, :, None]


class EventConv2d(EventDriven, nn.Conv2d):
    """A convolution that adds the weights of the inputs that are not zero."""

    def _is_unsuited(self, x: Tensor) -> bool:
        channels = x.shape[-3] if x.dim() in (3, 4) else None
        return channels != self.in_channels or min(self._size(x)) < 1 or super()._is_unsuited(x)

    def _dense_operations(self, x: Tensor) -> int:
        sides = [covered(*side) for side in self._sides(x)]
        return math.prod(sides) * x[..., 0, 0].numel() * (self.out_channels // self.groups)

    def _size(self, x: Tensor) -> list[int]:
        """Height and width of the output."""
        return [num_targets(*side) for side in self._sides(x)]

    def _sides(self, x: Tensor) -> Iterator[Side]:
        """How the window lies over the input, downwards and sideways."""
        left, right, above, below = self._reversed_padding_repeated_twice
        paddings = (above, below), (left, right)
        return zip(x.shape[-2:], self.kernel_size, self.stride, paddings, self.dilation, strict=True)

    def _add_events(self, x: Tensor) -> tuple[Tensor, int]:
        images = x.detach() if x.dim() == 4 else x.detach().unsqueeze(0)
        images = images.movedim(1, -1).contiguous()  # [N, H, W, C]
        left, _, above, _ = self._reversed_padding_repeated_twice
        out = self._start(len(images), *self._size(x), self.out_channels)
        window = Window(self.kernel_size, self.stride, (above, left), self.dilation, self.groups)
        operations = self._add(images, out, window)
        output = out.movedim(-1, 1)
        return (output if x.dim() == 4 else output.squeeze(0)), operations

    def _pack(self, weight: Tensor) -> Tensor:
        return weight.flip(3).permute(2, 1, 3, 0)


class TimeWiseEventLinear(layer.Linear, EventLinear):
    """An event-driven :class:`spikeloom.layer.Linear`."""


class TimeWiseEventConv2d(layer.Conv2d, EventConv2d):
    """An event-driven :class:`spikeloom.layer.Conv2d`."""
