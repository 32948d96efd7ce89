"""Intermediate results that are computed again in the backward pass, over layers and over time."""

import contextlib
from collections.abc import Iterator

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from spikeloom.checks import checked_count
from spikeloom.errors import ShapeError, describe
from spikeloom.functional.networks import check_time, in_one_step_mode, require_multi_step
from spikeloom.memory import load_memory_states, memory_states, recomputing
from spikeloom.steps import takes_single_steps


def checkpoint(module: nn.Module, x: Tensor) -> Tensor:
    """``module(x)``, whose intermediate results are computed again in the backward pass instead of being
    kept.

    PyTorch's own checkpointing would compute again from the memories as the first run left them; here they
    are set back to what they were before it, and afterwards to what they are now. Buffers, such as the
    running statistics of BatchNorm, change in the first run only.

    Args:
        module: any module; its memories, and those of its children, are taken care of.
        x: its input.
    Returns:
        what ``module(x)`` returns, with the same gradients
    Raises:
        ValueError: an encoder in it draws from a generator of its own, which would draw other spikes.
    """
    before, runs = memory_states(module), 0
    for child, _ in before:
        if getattr(child, "generator", None) is not None:
            raise ValueError(
                f"`module` must draw random numbers from PyTorch's own generator, but {describe(child)} has "
                "another one, which cannot be set back. Encode outside of the checkpoint."
            )

    def run(x: Tensor) -> Tensor:
        nonlocal runs
        runs += 1
        now = memory_states(module) if runs > 1 else []
        load_memory_states(before, copy=True)
        if runs == 1:
            return module(x)
        try:
            with recomputing(), _buffers_unchanged(module):
                return module(x)
        finally:  # PyTorch ends the run by an exception as soon as it has what it needs
            load_memory_states(now)

    return torch.utils.checkpoint.checkpoint(run, x, use_reentrant=False)


def checkpoint_time(net: nn.Module, x_seq: Tensor, chunk: int) -> Tensor:
    """``net(x_seq)``, of which only ``chunk`` time steps at a time keep their intermediate results.

    Between chunks only the memories are kept. The backward pass computes each chunk again from them, the last
    one excepted, so it needs the memory of one chunk and up to a third more time. Gradients flow through all
    of time, as without: this does not truncate them. ``v_seq`` of a neuron is that of the last chunk.

    Args:
        net: a network in multi-step mode that returns as many time steps as it gets.
        x_seq: ``[T, N, *]``.
        chunk: time steps that are computed at once, at least 1.
    Returns:
        ``[T, N, *]``, what ``net(x_seq)`` returns, with its gradients up to the order in which they add up
    Raises:
        ValueError: ``chunk`` is less than 1; ``net`` is in single-step mode; or a module of it cannot work on
            parts of a sequence, as batch normalisation in training, whose statistics are over time.
        ShapeError: there are no time steps, or ``net`` returns other ones.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(nn.Linear(3, 2), neuron.LIFNode(step_mode="m"))
        >>> checkpoint_time(net, torch.rand(100, 8, 3), chunk=10).shape
        torch.Size([100, 8, 2])
    """
    checked_count("chunk", chunk)
    check_time(x_seq, "x_seq")
    require_multi_step(net, "net")
    parts = list(x_seq.split(chunk))
    if len(parts) > 1:
        require_parts(net)
    outputs = [checkpoint(net, part) for part in parts[:-1]]
    outputs.append(net(parts[-1]))  # its backward pass is the first thing to come
    for part, output in zip(parts, outputs, strict=True):
        if output.dim() == 0 or len(output) != len(part):
            raise ShapeError(
                f"`net` must return as many time steps as it gets, but made {list(output.shape)} of "
                f"{list(part.shape)}. Take the mean over time, or the like, outside of `net`."
            )
    return torch.cat(outputs)


def require_parts(net: nn.Module) -> None:
    """Raise a ValueError if a module of ``net`` has to see a sequence as a whole."""
    own_mode = set(in_one_step_mode(net))
    for name, module in net.named_modules():
        # In another's mode, its container gives it what it needs.
        whole_only = module in own_mode and not takes_single_steps(module)
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
        if whole_only or (is_norm and getattr(module, "step_mode", "m") == "m"):
            raise ValueError(
                f"`net` must work on parts of a sequence, but its {type(module).__name__} '{name}' takes all "
                "time steps together. Give `chunk` all of them; to save memory, use functional.checkpoint on "
                "some of the layers."
            )


@contextlib.contextmanager
def _buffers_unchanged(module: nn.Module) -> Iterator[None]:
    """A block in which buffers change without consequence."""
    before = [(child._buffers, dict(child._buffers)) for child in module.modules()]
    for buffers, values in before:
        buffers.update({name: value.clone() for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        for buffers, values in before:
            buffers.update(values)
