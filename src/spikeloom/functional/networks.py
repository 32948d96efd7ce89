"""What is done to whole networks over time: resetting, step modes, loops."""

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import check_tensor, checked_count
from spikeloom.errors import ShapeError, describe, named
from spikeloom.memory import MemoryModule
from spikeloom.steps import loop_over_time

Module = nn.Module | Callable[[Tensor], Tensor]


def reset_net(net: nn.Module) -> None:
    """Reset every module of ``net`` that has a ``reset()`` method, to start a new sequence.

    Call it after each batch, before or after ``loss.backward()`` and the optimiser's step: the gradients do
    not need the memories. The modules are searched anew each time, so one that was added later is reset too.

    Args:
        net: the network.
    Raises:
        TypeError: ``net`` is no module; a module's ``reset`` cannot be called without arguments.
    Warns:
        UserWarning: an ``nn.Sequential`` has one neuron in two places, which share its memories.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(nn.Linear(2, 3), neuron.LIFNode())
        >>> _ = net(torch.ones(4, 2)); reset_net(net); net[1].v
        0.0
    """
    if not isinstance(net, nn.Module):
        raise TypeError(
            f"`net` must be a network, got a {type(net).__name__}. Reset several in an nn.ModuleList, or one "
            "by one."
        )
    in_rows: set[nn.Module] = set()
    for name, module in net.named_modules():
        if _is_row(module) and module not in in_rows:
            _warn_of_shared_memories(module, name, in_rows)
        reset = getattr(module, "reset", None)
        if not callable(reset):
            continue
        try:
            reset()
        except TypeError as error:
            if not (required := _required(reset)):
                raise
            raise TypeError(
                f"`reset` of {named(module, name)} must take no arguments, so that reset_net can call it, "
                f"but it requires {' and '.join(map(repr, required))}. Give them default values, or rename "
                "the method."
            ) from error


def _is_row(module: nn.Module) -> bool:
    """Whether the modules within run one after the other. A scripted one is no ``nn.Sequential``, and its
    class has no ``forward`` to ask for."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _warn_of_shared_memories(row: nn.Module, name: str, in_rows: set[nn.Module]) -> None:
    """Warn if layers that run one after the other are the same one, with memories. In a ``forward`` of one's
    own a network may do what it wants with a module; :mod:`spikeloom.diagnose` sees what it does.

    Args:
        row: an ``nn.Sequential``.
        name: of it, in the network.
        in_rows: gets those within it.
    """
    places: dict[nn.Module, str] = {}
    waiting = [(name, row)]
    while waiting:
        place, module = waiting.pop()
        if _is_row(module):
            in_rows.add(module)
            children = reversed(module._modules.items())
            waiting += [(f"{place}.{key}" if place else key, one) for key, one in children if one is not None]
        elif isinstance(module, MemoryModule) and "v" in module._memories:
            if module in places:
                warnings.warn(
                    f"{named(module, places[module])} stands at '{place}' too: it goes on there from the "
                    "memories that it has in the other place. Give each place a neuron of its own.",
                    stacklevel=3,
                )
                return
            places[module] = place


def _required(function: Callable[..., object]) -> list[str]:
    """The arguments without which ``function`` cannot be called."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # it is not written in Python
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in optional]


def detach_net(net: nn.Module) -> None:
    """Keep the memories' values but cut them from the graph: truncated backpropagation through time.

    Args:
        net: the network; every module with a ``detach()`` method is detached.
    """
    for module in net.modules():
        detach = getattr(module, "detach", None)
        if callable(detach):
            detach()


@contextlib.contextmanager
def fresh_state(net: nn.Module) -> Iterator[nn.Module]:
    """A block that starts with ``net`` reset and leaves it reset, also after an exception.

    Example:
        >>> from spikeloom import neuron
        >>> net = neuron.IFNode()
        >>> with fresh_state(net):
        ...     spikes = [net(torch.tensor(0.6)).item() for _ in range(3)]
        >>> spikes, net.v
        ([0.0, 1.0, 0.0], 0.0)
    """
    reset_net(net)
    try:
        yield net
    finally:
        reset_net(net)


@contextlib.contextmanager
def evaluating(net: nn.Module) -> Iterator[nn.Module]:
    """A block in which ``net`` is in evaluation mode; after it, also after an exception, each module is in
    the mode that it was in, those too that were in evaluation mode for good, such as frozen normalisation.

    Example:
        >>> net = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3).eval())
        >>> with evaluating(net):
        ...     net[0].training
        False
        >>> net[0].training, net[1].training
        (True, False)
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield net
    finally:
        net.train(modes[0][1])  # of the network itself; a module may do more than keep its mode
        for module, mode in modes:
            if module.training != mode:
                module.train(mode)


def set_step_mode(net: nn.Module, step_mode: str) -> None:
    """Set the step mode of every module of ``net`` that has one.

    Containers that decide for their children (``layer.MultiStepContainer`` and its kin, which have
    ``step_mode_boundary = True``) are set themselves, and their children are left alone; so are those within
    a :class:`~spikeloom.memory.MemoryModule` whose sequence is the loop over its single steps.

    Args:
        net: the network.
        step_mode: ``'s'`` (one time step) or ``'m'`` (sequences).
    Raises:
        TypeError: ``net`` is no module.
        ValueError: a module does not support ``step_mode``; all are then as they were.
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"`net` must be a module, got {net!r}. Call set_step_mode(net, 'm').")
    if step_mode not in ("s", "m"):
        raise ValueError(f"`step_mode` must be 's' or 'm', got {step_mode!r}.")
    before = []
    try:
        for module in in_one_step_mode(net):
            before.append((module, module.step_mode))
            module.step_mode = step_mode  # type: ignore[assignment]
    except ValueError:
        for module, mode in reversed(before[:-1]):
            module.step_mode = mode
        raise


def in_one_step_mode(net: nn.Module) -> Iterator[nn.Module]:
    """The modules that have a step mode, but for those whose container decides."""
    if hasattr(net, "step_mode"):
        yield net
    if not any(getattr(net, name, False) for name in ("step_mode_boundary", "gives_single_steps")):
        for child in net.children():
            yield from in_one_step_mode(child)


def set_backend(net: nn.Module, backend: str, instance: type | tuple[type, ...] = nn.Module) -> None:
    """Set ``backend`` of every module of ``net`` that has one and is an ``instance``.

    Modules with backends of their own, in the attribute ``own_backends`` (``neuron.SlidingPSN``), are left as
    they are if ``backend`` is none of these.

    Raises:
        ValueError: a module has no such backend.
    """
    for module in net.modules():
        if not isinstance(module, instance) or not hasattr(module, "backend"):
            continue
        if backend in getattr(module, "own_backends", (backend,)):
            module.backend = backend  # type: ignore[assignment]


def multi_step_forward(x_seq: Tensor, single_step_module: Module | Sequence[Module]) -> Tensor:
    """Apply single-step modules, one after the other, to each time step of ``x_seq``.

    Args:
        x_seq: ``[T, N, *]``.
        single_step_module: a module, or several in a list or ``nn.Sequential``.
    Returns:
        ``[T, N, *]``
    Raises:
        ShapeError: there are no time steps.
        ValueError: a module is in multi-step mode.
    """
    check_time(x_seq, "x_seq")
    modules = _several(single_step_module)
    require_single_step("multi_step_forward", modules)
    return loop_over_time(_composed(modules), x_seq)


def seq_to_ann_forward(x_seq: Tensor, stateless_module: Module | Sequence[Module]) -> Tensor:
    """Apply stateless modules to all time steps at once, as one batch of ``T * N``.

    Args:
        x_seq: ``[T, N, *]``.
        stateless_module: a module, or several in a list or ``nn.Sequential``; without memories.
    Returns:
        ``[T, N, *]``
    Raises:
        ShapeError: there are no time steps, or no batch dimension.
        ValueError: a module has memories, or is in multi-step mode.
    """
    check_time(x_seq, "x_seq")
    if x_seq.dim() < 2:
        raise ShapeError(f"`x_seq` must be [T, N, *], got {list(x_seq.shape)}. Add the batch dimension.")
    modules = _several(stateless_module)
    require_stateless("seq_to_ann_forward", modules)
    require_single_step("seq_to_ann_forward", modules)
    output = _composed(modules)(x_seq.flatten(0, 1))
    return output.unflatten(0, x_seq.shape[:2])


def chunk_multi_step_forward(split_size: int, x_seq: Tensor, multi_step_module: nn.Module) -> Tensor:
    """Apply a multi-step network to chunks of ``split_size`` time steps, which needs less memory without
    gradients.

    Args:
        split_size: time steps in a chunk, at least 1.
        x_seq: ``[T, N, *]``.
        multi_step_module: a network in multi-step mode; its memories pass from chunk to chunk.
    Returns:
        ``[T, N, *]``; ``v_seq`` of a neuron is that of the last chunk
    Raises:
        ShapeError: there are no time steps.
        ValueError: ``split_size`` is less than 1, or a module is in single-step mode.
    """
    checked_count("split_size", split_size)
    check_time(x_seq, "x_seq")
    require_multi_step(multi_step_module, "multi_step_module")
    return torch.cat([multi_step_module(chunk) for chunk in x_seq.split(split_size)])


def require_multi_step(net: nn.Module, name: str) -> None:
    """Refuse a network, or layers in a row, with memories that would take time for the batch. What a module
    with a ``forward`` of its own does with its children is its own business."""
    if type(net) is nn.Sequential:
        for child in net:
            require_multi_step(child, name)
    elif isinstance(net, MemoryModule) and net._memories and net.step_mode == "s":
        raise ValueError(
            f"`{name}` must be in multi-step mode, but {describe(net)} is in single-step mode. Call "
            "functional.set_step_mode(net, 'm')."
        )


def require_single_step(who: object, modules: Iterable[Any]) -> None:
    """Refuse modules in multi-step mode where ``who``, a container or the name of a function, gives them
    single steps: they would take the batch for time."""
    given = [module for module in modules if isinstance(module, nn.Module)]
    waiting = given[::-1]  # this runs at every call
    while waiting:
        module = waiting.pop()
        if getattr(module, "step_mode", "s") != "s":
            names = (name for one in given for name, found in one.named_modules() if found is module)
            which = type(module).__name__ + (f" '{name}'" if (name := next(names)) else "")
            raise ValueError(
                f"{_named(who)} gives its modules single time steps, so `step_mode` of {which} must be "
                f"'s', got {module.step_mode!r}. Build it with step_mode='s', or call "
                "functional.set_step_mode(module, 's')."
            )
        if module._modules and not getattr(module, "step_mode_boundary", False):
            waiting += [child for child in reversed(module._modules.values()) if child is not None]


def require_stateless(who: object, modules: Iterable[Any]) -> None:
    """Refuse modules with memories where ``who`` folds time into the batch: they would take time steps for
    samples."""
    for given in modules:
        for module in given.modules() if isinstance(given, nn.Module) else ():
            if isinstance(module, MemoryModule) and module._memories:
                raise ValueError(
                    f"{_named(who)} folds time into the batch, so its modules must be stateless, got "
                    f"{type(module).__name__}, which has memories. Give it to a "
                    "layer.MultiStepContainer, or to functional.multi_step_forward."
                )


def _named(who: object) -> str:
    return who if isinstance(who, str) else describe(who)


def _several(modules: Module | Sequence[Module]) -> Sequence[Module]:
    return modules if isinstance(modules, list | tuple) else [modules]  # type: ignore[list-item]


def _composed(modules: Sequence[Module]) -> Module:
    """One callable for several modules."""
    return lambda x: reduce(lambda output, module: module(output), modules, x)


def check_time(x_seq: Tensor, name: str) -> None:
    """Raise unless ``x_seq`` is a tensor with a time step."""
    check_tensor(name, x_seq)
    if x_seq.dim() == 0 or x_seq.shape[0] == 0:
        raise ShapeError(f"`{name}` must have at least one time step, [T, N, *], got {list(x_seq.shape)}.")
