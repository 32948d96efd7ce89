"""Memories, outputs and inputs of modules at every time step."""

import contextlib
import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.errors import ShapeError, SpikeloomError, UnknownNameError, named, suggest
from spikeloom.memory import MemoryModule
from spikeloom.monitor.base import Instance
from spikeloom.monitor.hooks import Hook, Step, attributes, inputs_of
from spikeloom.steps import map_tensors

_CALLS = ("spike", "input")  # recorded names that are no attributes


class ModuleRecord(Mapping[str, Any]):
    """What :func:`record` kept of one module: name to tensor ``[T, N, *]``."""

    def __init__(self, label: str, names: list[str]):
        self.label = label
        self.chunks: dict[str, list[Any]] = {name: [] for name in names}
        self.unseen: set[str] = set()

    @property
    def has_run(self) -> bool:
        """Whether there is anything that was recorded."""
        return any(self.chunks.values())

    def __getitem__(self, name: str) -> Any:
        if name not in self.chunks:
            raise UnknownNameError(f"{name!r} of {self.label} is not recorded. {suggest(name, self.chunks)}")
        if name in self.unseen:
            raise SpikeloomError(
                f"{self.label} runs a sequence without single_step_forward: {name!r} cannot be seen. "
                "Call functional.set_step_mode(net, 's') and give the network one step at a time."
            )
        if not self.chunks[name]:
            raise SpikeloomError(
                f"{self.label} has not run yet, so there is no {name!r}. Call the network first."
            )
        return _over_time(self.chunks[name], f"{name!r} of {self.label}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.chunks)

    def __len__(self) -> int:
        return len(self.chunks)


class Recording(Mapping[str, ModuleRecord]):
    """What :func:`record` gives: module name to its :class:`ModuleRecord`; ``''`` is the network itself.

    ``recording['2', 'v']`` is ``recording['2']['v']``; with one module, ``recording['v']`` is enough.
    """

    def __init__(self, modules: dict[str, ModuleRecord]):
        self._modules = modules

    def __getitem__(self, key: str | tuple[str, str]) -> Any:
        if isinstance(key, tuple):
            return self[key[0]][key[1]]
        if key in self._modules:
            return self._modules[key]
        only = next(iter(self._modules.values()))
        if len(self._modules) == 1 and key in only:
            return only[key]
        raise UnknownNameError(f"No recorded module is called {key!r}. {suggest(key, self._modules)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def clear(self) -> None:
        """Drop what was recorded, and go on: for a new sequence."""
        for module in self._modules.values():
            module.unseen.clear()
            for chunks in module.chunks.values():
                chunks.clear()


@contextlib.contextmanager
def record(net: nn.Module, *names: str, instance: Instance | None = None) -> Iterator[Recording]:
    """Record memories, outputs and inputs of a network's modules at every time step, in both step modes.

    Values are detached copies. Sequences follow one another until :meth:`Recording.clear`. In multi-step
    mode a module whose memory is recorded runs the plain loop over time. A module without ``step_mode``
    has one step per call. A copy of the network that is made inside the block is not recorded.

    Args:
        net: the network.
        names: memories or other attributes (``'v'``, ``'v_threshold'``), read after each step; ``'spike'`` is
            the output, ``'input'`` the input.
        instance: class or classes of the modules to record; default: those with memories or such attributes.
    Returns:
        a context manager with a :class:`Recording`, which can be read in the block and after it.
    Shape:
        each record ``[T, N, *]``, ``T`` the steps so far; an attribute that is a number ``[T]``.
    Raises:
        UnknownNameError: no module has an attribute of that name, or there is no module of ``instance``.
    Example:
        >>> from spikeloom.neuron import LIFNode
        >>> net = nn.Sequential(nn.Linear(2, 3), LIFNode(step_mode="m"))
        >>> with record(net, "v", "spike") as recording:
        ...     spikes = net(torch.ones(5, 4, 2))
        >>> recording["1"]["v"].shape, torch.equal(recording["1", "spike"], spikes)
        (torch.Size([5, 4, 3]), True)
    """
    with contextlib.ExitStack() as on_exit:
        modules = {}
        for path, module in _selected(net, names, instance).items():
            fields = [name for name in names if name in _CALLS or hasattr(module, name)]
            modules[path] = ModuleRecord(named(module, path), fields)
            _attach(module, modules[path], on_exit)
        yield Recording(modules)


def _selected(net: nn.Module, names: tuple[str, ...], instance: Instance | None) -> dict[str, nn.Module]:
    """The modules to record by their names, after the names were checked."""
    if not names:
        raise ValueError("`names` must hold what to record, such as 'v' or 'spike', got nothing.")
    wanted = [name for name in names if name not in _CALLS]
    everything = dict(net.named_modules())
    for name in wanted:
        if not any(hasattr(module, name) for module in everything.values()):
            known = {own for module in everything.values() for own in attributes(module)}
            memories = [
                f"{named(module, path)}: {', '.join(module._memories)}"  # type: ignore[arg-type]
                for path, module in everything.items()
                if _has_memories(module)
            ]
            raise UnknownNameError(
                f"No module of {type(net).__name__} has a memory or attribute {name!r}. "
                f"{suggest(name, known.union(_CALLS))} Memories by module: {'; '.join(memories) or 'none'}."
            )
    if instance is not None:
        selected = {path: module for path, module in everything.items() if isinstance(module, instance)}
    else:
        selected = {
            path: module
            for path, module in everything.items()
            if _has_memories(module) or any(hasattr(module, name) for name in wanted)
        }
    if not selected:
        raise UnknownNameError(
            f"{type(net).__name__} has no module {'with memories' if instance is None else instance}. "
            "Choose the modules to record with `instance`."
        )
    return selected


def _has_memories(module: nn.Module) -> bool:
    return isinstance(module, MemoryModule) and bool(module._memories)


def _attach(module: nn.Module, kept: ModuleRecord, on_exit: contextlib.ExitStack) -> None:
    """Record ``module`` into ``kept`` until ``on_exit`` is closed."""
    chunks = kept.chunks
    names = [name for name in chunks if name not in _CALLS]

    def after_step() -> None:
        for name in names:
            chunks[name].append(_chunk(getattr(module, name), is_sequence=False))

    step = Step(module, after_step) if names and isinstance(module, MemoryModule) else None
    if step is not None:
        on_exit.callback(step.remove)

    def after_call(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        x = next(iter(inputs_of(args, kwargs)), None)
        is_sequence = getattr(module, "step_mode", "s") == "m"
        if "input" in chunks:
            chunks["input"].append(_chunk(x, is_sequence))
        if "spike" in chunks:
            chunks["spike"].append(_chunk(output, is_sequence and not _is_one_step(output, x)))
        seen = step is not None and step.seen
        if step is None or not (seen or is_sequence):
            after_step()
        elif not seen:
            kept.unseen.update(names)
        lengths.clear()

    lengths: dict[str, int] = {}  # of what was recorded before a call that has not come to its end

    def before_call(_args: Any, _kwargs: Any) -> None:
        lengths.update((name, len(chunks[name])) for name in names)
        if step is not None:
            step.seen = False

    def after_failure(_args: Any, _kwargs: Any, _output: Any) -> None:
        for name, length in lengths.items():
            del chunks[name][length:]
        lengths.clear()

    before = module.register_forward_pre_hook(Hook(module, before_call), with_kwargs=True)
    after = module.register_forward_hook(Hook(module, after_call), with_kwargs=True)
    always = module.register_forward_hook(Hook(module, after_failure), with_kwargs=True, always_call=True)
    for handle in (before, after, always):
        on_exit.callback(handle.remove)


def _is_one_step(output: Any, x_seq: Any) -> bool:
    """Whether a sequence was decoded into one value, as a non-spiking neuron may do."""
    return isinstance(output, Tensor) and isinstance(x_seq, Tensor) and output.shape == x_seq.shape[1:]


def _chunk(value: Any, is_sequence: bool) -> Any:
    """A detached copy of ``value`` with a leading time dimension."""
    if isinstance(value, numbers.Number):
        return torch.tensor([value])
    return map_tensors(lambda tensor: (tensor if is_sequence else tensor[None]).detach().clone(), value)


def _over_time(chunks: list[Any], what: str) -> Any:
    """Chunks ``[t, N, *]`` joined into ``[T, N, *]``; tuples part by part."""
    if all(isinstance(chunk, tuple) for chunk in chunks):
        return tuple(_over_time(list(parts), what) for parts in zip(*chunks, strict=True))
    others = [chunk for chunk in chunks if not isinstance(chunk, Tensor)]
    if others:
        raise TypeError(f"{what} must be a tensor or a number at each step, got {type(others[0]).__name__}.")
    shapes = {tuple(chunk.shape[1:]) for chunk in chunks}
    if len(shapes) > 1:
        raise ShapeError(
            f"{what} must have one shape at all steps, got {sorted(shapes)}. Call clear() on the recording "
            "before a batch of another size."
        )
    return torch.cat(chunks)
