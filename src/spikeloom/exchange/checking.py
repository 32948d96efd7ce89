"""What is given to be exported, and whether what became of it still does the same."""

import math
import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_number
from spikeloom.errors import ConversionError
from spikeloom.event.record import in_single_steps

_SCALES = (1.0, 1.0, 4.0, 4.0, 16.0, 1.0)  # of random input, from step to step, so that neurons fire
_ALLOWED = 0.02  # of the outputs' norm: a spike in some millions falls otherwise, as its potential is rounded


def shape_of_step(example: Tensor | Sequence[int]) -> tuple[int, ...]:
    """The shape of one sample in one time step: a sequence has one dimension more than a step."""
    rule = (
        "`example_input` must be a batch, a sequence of batches with time first, or the shape of one sample"
    )
    if not isinstance(example, Tensor):
        sizes: Any = example if isinstance(example, Sequence) and not isinstance(example, str) else [None]
        if not all(isinstance(one, numbers.Integral) and int(one) > 0 for one in sizes):
            raise ConversionError(f"{rule} in a time step, got {example!r}.")
        return tuple(int(one) for one in sizes)
    if not 2 <= example.dim() <= 5:
        raise ConversionError(f"{rule} in a time step, got a tensor of shape {list(example.shape)}.")
    return tuple(example.shape[2 if example.dim() in (3, 5) else 1 :])


def check_dt(dt: Any) -> None:
    """Raise unless ``dt`` is a time step in seconds."""
    if not 0 < checked_number("dt", dt) < math.inf:
        raise ValueError(f"`dt` must be a finite number of seconds greater than 0, got {dt!r}.")


@torch.no_grad()
def check_meaning(net: nn.Module, again: nn.Module, shape: Sequence[int]) -> None:
    """Refuse what does something else than the network in some time steps of random input.

    Args:
        net: the network, which stays as it is.
        again: what it has become, in single-step mode and double precision.
        shape: of one sample and time step.
    Raises:
        ConversionError: their outputs differ.
    """
    net, generator = in_single_steps(net, torch.float64), torch.Generator().manual_seed(0)
    error = norm = 0.0
    for step, scale in enumerate(_SCALES, 1):
        x = scale * torch.rand(3, *shape, dtype=torch.float64, generator=generator)
        wanted, got = net(x), again(x)
        if got.shape == wanted.shape:
            error += float((got - wanted).square().sum())
            norm += float(wanted.square().sum())
        if got.shape != wanted.shape or not math.sqrt(error) <= _ALLOWED * math.sqrt(norm):
            raise ConversionError(
                f"`net` must be what is written of it, but gives something else in step {step} of random "
                "input. Look for memories that do not start from v_reset or 0, or are added up; for feedback "
                "that does not come from a neuron; for methods and surrogate functions of your own; and for "
                "what depends on the size of the batch or changes with time."
            )
