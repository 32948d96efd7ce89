"""The memory that training takes, against the number of time steps."""

import copy
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from spikeloom import functional
from spikeloom.profile.feed import checked, feed, own_random_numbers, size


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that the training of a network takes.

    Args:
        parameters: the weights.
        gradients: of those that are learned.
        optimizer: what it remembers from step to step, such as Adam's two moments; 0 without one.
        num_samples: samples of the batch.
        saved: what autograd keeps of a batch for the backward pass, by the number of time steps.
    """

    parameters: int
    gradients: int
    optimizer: int
    num_samples: int
    saved: dict[int, int]

    @property
    def per_step(self) -> float | None:
        """What one more time step of the batch adds to ``saved``; ``None`` after one measurement."""
        (first, low), (last, high) = min(self.saved.items()), max(self.saved.items())
        return (high - low) / (last - first) if last > first else None


def training_memory(
    net: nn.Module,
    x: Tensor,
    steps: Sequence[int] | None = None,
    num_steps: int | None = None,
    optimizer: Optimizer | None = None,
) -> TrainingMemory:
    """Measure what autograd keeps for the backward pass, by running a copy of the network in training mode.

    Each storage counts once, however many operations keep it; weights and buffers are counted apart. Not in
    it: the loss, and buffers that live for one operation only.

    Args:
        net: the network, in either step mode, on the device and with the backend that it is trained with.
        x: a batch of encoded samples.
        steps: time steps to measure with; ``x`` is cut or repeated. Default: half of its steps, as many, and
            twice as many.
        num_steps: as for :func:`count`; then it is measured with these only.
        optimizer: of the network; most remember nothing before their first step.
    Shape:
        x ``[T, N, *]``, or with ``num_steps`` ``[N, *]``.
    Raises:
        ShapeError: there are no samples or no time steps.
        ValueError: ``steps`` holds a number below 1, or is given with ``num_steps``.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(nn.Linear(4, 3), neuron.IFNode(step_mode="m"))
        >>> memory = training_memory(net, torch.ones(8, 2, 4))
        >>> memory.parameters, sorted(memory.saved)
        (60, [4, 8, 16])
    """
    length, num_samples = size(checked(x, num_steps), num_steps)
    if steps is None:
        steps = [length] if num_steps else sorted({max(1, length // 2), length, 2 * length})
    elif num_steps or not steps or min(steps) < 1:
        raise ValueError(
            f"`steps` must hold numbers of at least 1, without `num_steps`, got {list(steps)}. Leave it out "
            "to measure at the input's own length."
        )
    parameters = list(net.parameters())
    saved = {}
    for count in steps:
        part = x if num_steps else x.repeat(math.ceil(count / length), *[1] * (x.dim() - 1))[:count]
        saved[count] = _saved(net, part.clone(), num_steps)  # a part's storage would be that of the whole
    return TrainingMemory(
        num_bytes(parameters),
        num_bytes([one for one in parameters if one.requires_grad]),
        num_bytes(list(optimizer.state.values())) if optimizer else 0,
        num_samples,
        saved,
    )


def num_bytes(tree: Any) -> int:
    """Bytes of the tensors in a tree of lists and dictionaries."""
    return sum(one.nbytes for one in tree_leaves(tree) if isinstance(one, Tensor))


def _saved(net: nn.Module, x: Tensor, num_steps: int | None) -> int:
    """Bytes of the storages that autograd keeps, except for weights and buffers."""
    net = copy.deepcopy(net).train()
    functional.reset_net(net)
    kept: weakref.WeakSet[_Kept] = weakref.WeakSet()  # what a first call saves to weave a loop is gone again

    def keep(tensor: Tensor) -> _Kept:
        holder = _Kept(tensor)
        kept.add(holder)
        return holder

    hooks = saved_tensors_hooks(keep, lambda holder: holder.tensor)
    with own_random_numbers(net), torch.enable_grad(), hooks:
        outputs = feed(net, x, num_steps)
    storages = (holder.tensor.untyped_storage() for holder in kept)
    sizes = {storage._cdata: storage.nbytes() for storage in storages}
    del outputs  # which held the graph
    for tensor in (*net.parameters(), *net.buffers()):
        sizes.pop(tensor.untyped_storage()._cdata, None)
    return sum(sizes.values())


class _Kept:
    """Holds a tensor for as long as autograd does."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor
