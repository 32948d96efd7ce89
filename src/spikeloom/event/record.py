"""Which operations a network consists of, found out by running it on one sample, step by step."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from spikeloom import base, functional
from spikeloom.errors import ConversionError
from spikeloom.event.calls import CURE, Recording, kind_of
from spikeloom.event.recorder import Recorder
from spikeloom.layer.synchronised import plain_batch_norm
from spikeloom.monitor.hooks import has_hooks
from spikeloom.neuron import BaseNode


def record(net: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> Recording:
    """Run a copy of a network for three time steps, and say what it consists of.

    Args:
        net: the network.
        shape: of the input of one sample and time step.
        dtype: of its input.
    Raises:
        ConversionError: it does something that is not one of these operations.
    """
    if isinstance(net, nn.Module):
        _check_modules(net)
    net = in_single_steps(net, dtype)
    steps, generator = [], torch.Generator().manual_seed(0)
    starts: dict[str, Any] = {}
    old: dict[int, Tensor] = {}
    with torch.random.fork_rng([]):
        for _ in range(3):  # in the first one memories may still be numbers; the others have to be alike
            recorder = Recorder(net, starts, old, is_first=not steps)
            steps.append(recorder.step(torch.rand(1, *shape, dtype=dtype, generator=generator)))
    starts_of(net)
    if not _alike(*steps[1:]):
        raise ConversionError(
            "`net` must do the same at each time step, but the second and the third differ. Look for random "
            f"numbers, and for attributes that change with time. {CURE}"
        )
    return steps[1]


def in_single_steps(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a network, on the CPU, in evaluation and single-step mode, reset, without compiled steps.

    Raises:
        ConversionError: it is no network, cannot be copied, or has no single-step mode.
    """
    if not isinstance(net, nn.Module):
        raise ConversionError(f"`net` must be a network, got a {type(net).__name__}.")
    net = copied(net, "net").eval().requires_grad_(False).to("cpu", dtype)
    try:
        functional.set_step_mode(net, "s")
    except ValueError as error:
        raise ConversionError(f"`net` must have a single-step mode, got: {error} {CURE}") from error
    functional.set_backend(net, "torch", BaseNode)
    plain_batch_norm(net)  # after a training in several processes
    first, second = starts_of(net), starts_of(net)
    for (name, one), other in zip(first.items(), second.values(), strict=True):
        if not (torch.equal(one, other) if isinstance(one, Tensor) else one == other):
            raise ConversionError(f"`net` must start alike after each reset, but its '{name}' does not.")
    return net


def starts_of(net: nn.Module) -> dict[str, Any]:
    """What the memories of a network start from, which it is set to."""
    functional.reset_net(net)
    for module in net.modules():  # a converted network's neurons start from a buffer
        getattr(module, "start_memories", lambda: None)()
    return dict(base.named_memories(net))


def _check_modules(net: nn.Module) -> None:
    """Refuse what would go unnoticed: hooks, which may change what a module gives, and neurons that are more
    than their step."""
    for name, module in net.named_modules():
        if has_hooks(module):
            raise ConversionError(
                f"'{name}' of `net` has forward hooks, which would be lost. Remove them (a "
                "monitor's with remove_hooks(); torch.nn.utils.remove_weight_norm; prune.remove)."
            )
        if getattr(module, "running_mean", module) is None:
            raise ConversionError(f"'{name}' of `net` uses the statistics of each batch. {CURE}")
        if isinstance(module, BaseNode) and kind_of(module) is None:
            raise ConversionError(
                f"'{name}' of `net` must be its step over time, without a forward or multi_step_forward of "
                f"its own, and without `decode`. {CURE}"
            )
    if _has_any_global_hook():
        raise ConversionError("There are global forward hooks, which would be lost. Remove them.")


def copied(net: nn.Module, name: str) -> nn.Module:
    """A copy of the network that was given as the argument ``name``.

    Raises:
        ConversionError: it cannot be copied.
    """
    try:
        return copy.deepcopy(net)
    except RuntimeError as error:
        raise ConversionError(
            f"`{name}` must be a network that copy.deepcopy can copy, got {error} Make weights that hooks "
            "compute plain ones first (torch.nn.utils.remove_weight_norm or remove_spectral_norm, "
            "prune.remove), or use torch.nn.utils.parametrizations."
        ) from error


def _alike(one: Recording, other: Recording) -> bool:
    """Whether two steps consist of the same operations, with the same numbers."""
    described = [
        ([replace(call, constants=()) for call in step.calls], step.shapes, step.output, step.memories)
        for step in (one, other)
    ]
    return described[0] == described[1] and all(
        torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
        for call, again in zip(one.calls, other.calls, strict=True)
        for a, b in zip(call.constants, again.constants, strict=True)
    )
