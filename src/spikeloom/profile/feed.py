"""How a network is given its input, in either step mode."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import check_tensor, checked_count
from spikeloom.errors import ShapeError
from spikeloom.functional.networks import in_one_step_mode
from spikeloom.memory import MemoryModule


def checked(x: Any, num_steps: int | None) -> Tensor:
    """``x``, if it is a batch that a network can be given.

    Raises:
        TypeError: it is no tensor.
        ShapeError: it has no time steps or no samples.
        ValueError: ``num_steps`` is less than 1.
    """
    check_tensor("x", x)
    if num_steps is not None:
        checked_count("num_steps", num_steps)
    least, shape = (2, "[T, N, *]") if num_steps is None else (1, "[N, *]")
    if x.dim() < least or 0 in x.shape[:least]:
        raise ShapeError(
            f"`x` must be {shape} with at least one time step and one sample, got {list(x.shape)}. "
            "Give it at least one encoded sample."
        )
    return x


def size(x: Tensor, num_steps: int | None) -> tuple[int, int]:
    """Time steps and samples of a batch."""
    return (num_steps, x.shape[0]) if num_steps else (x.shape[0], x.shape[1])


def told_apart(x: Tensor, num_steps: int | None) -> tuple[Tensor, ...]:
    """A batch in parts with another number of samples than of time steps, so that what a layer before time
    sees of a sample, such as the parts of an image, is not taken for time steps."""
    length, samples = size(x, num_steps)
    if not length == samples > 1:
        return (x,)
    return x.split([samples - 1, 1], 0 if num_steps else 1)


def feed(net: nn.Module, x: Tensor, num_steps: int | None) -> list[Any]:
    """What ``net`` returns for a batch: one output, or one for each time step in single-step mode."""
    if num_steps is not None or {module.step_mode for module in in_one_step_mode(net)} != {"s"}:
        return [net(x)]
    outputs = [net(step) for step in x]
    _refuse_lost_samples(net, x.shape[1])
    return outputs


def _refuse_lost_samples(net: nn.Module, num_samples: int) -> None:
    """Refuse a network that goes through time itself, and so took the samples of a step for time steps."""
    for name, module in net.named_modules():
        shape = module._step_shape if isinstance(module, MemoryModule) else None
        if shape is not None and (shape[:1] != (num_samples,) and (len(shape) < 2 or shape[0] % num_samples)):
            raise ShapeError(
                f"`net` must take one time step [N, *] with its layers in single-step mode, but '{name}' got "
                f"{list(shape)} of {num_samples} samples. If forward() goes through time itself, write it "
                "for one step, or for multi-step mode."
            )


def own_random_numbers(net: nn.Module) -> AbstractContextManager[None]:
    """A block after which the global random numbers go on as if it had not been."""
    devices = {parameter.device for parameter in net.parameters() if parameter.is_cuda}
    return torch.random.fork_rng(sorted(device.index for device in devices))
