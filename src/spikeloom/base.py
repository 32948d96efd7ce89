"""What has a step mode or a memory, under the name that older scripts use: see :mod:`spikeloom.memory`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from spikeloom.memory import MemoryModule, load_memory_states, memory_states
from spikeloom.steps import StepModule

__all__ = [
    "MemoryModule",
    "StepModule",
    "extract_memories",
    "load_memories",
    "memories",
    "named_memories",
    "to_functional_forward",
]


def named_memories(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each memory of a network, by the path of its module, after a ``prefix``, and its own name, as in
    ``('1.v', 0.0)``."""
    for path, one in module.named_modules(prefix=prefix):
        if isinstance(one, MemoryModule):
            for name, value in one.named_memories():
                yield f"{path}.{name}".lstrip("."), value


def memories(module: nn.Module) -> Iterator[Any]:
    """The current value of each memory of a network."""
    for _, value in named_memories(module):
        yield value


def extract_memories(module: nn.Module) -> list[Any]:
    """The memories of a network in a list, for :func:`load_memories`."""
    return list(memories(module))


def load_memories(module: nn.Module, memory_list: Sequence[Any]) -> None:
    """Set the memories of a network, in the order of :func:`extract_memories`.

    Raises:
        ValueError: there are more or fewer than the network has.
    """
    paths = [path for path, _ in named_memories(module)]
    if len(paths) != len(memory_list):
        raise ValueError(
            f"`memory_list` must have the network's {len(paths)} memories ({', '.join(paths)}), got "
            f"{len(memory_list)}."
        )
    for path, value in zip(paths, memory_list, strict=True):
        owner, _, name = path.rpartition(".")
        setattr(module.get_submodule(owner), name, value)


def to_functional_forward(
    module: nn.Module, fn: Callable[..., Any] | None = None
) -> Callable[..., tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """A network as a function from inputs and memories to outputs and memories.

    Args:
        module: the network; its own memories stay as they are.
        fn: what to call; default: the network.
    Returns:
        a function of a tuple of inputs, a tuple of memories in the order of :func:`extract_memories`, and
        keyword arguments, which gives a tuple of outputs and one of memories
    Example:
        >>> import torch
        >>> from spikeloom import neuron
        >>> step = to_functional_forward(neuron.IFNode())
        >>> outputs, states = step((torch.tensor([0.75]),), (torch.tensor([0.5]),))
        >>> outputs, states
        ((tensor([1.]),), (tensor([0.]),))
    """
    call = module if fn is None else fn

    def forward(
        inputs: tuple[Any, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        before = memory_states(module)
        try:
            load_memories(module, [one.clone() if isinstance(one, Tensor) else one for one in states])
            outputs = call(*inputs, **kwargs)
            after = tuple(memories(module))
        finally:
            load_memory_states(before)
        return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,), after

    return forward
