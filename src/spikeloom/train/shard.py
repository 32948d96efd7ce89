"""Sharding: each process keeps a part of every parameter, its gradient and its state in the optimiser.

PyTorch's ``fully_shard`` does it, on GPUs and on CPUs; outside of this file a sharded training looks like any
other. Checkpoints hold whole tensors, so that any number of processes can continue them.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import _BackwardSyncControl
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from spikeloom.learning import SLTT
from spikeloom.memory import MemoryModule
from spikeloom.train.time_chunks import InTimeChunks

LEAST = 2**16
"""Parameters of a layer that is worth an exchange of its own."""


class ShardedStrategy(DDPStrategy):
    """Processes that share batches, as in Fabric's strategy for data parallelism, and hold the network in
    parts.

    Parameters of neurons and other modules with memories stay whole, as do single numbers, which cannot be
    divided: they are few, and compiled loops read them. Their gradients are averaged before each step of the
    optimiser.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._backward_sync_control = _GradientsKept()
        self.whole_parameters: list[nn.Parameter] = []

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        net = module
        while isinstance(net, InTimeChunks | SLTT):  # what only wraps it is not called as a network
            net = net.net
        self.whole_parameters = shard(net, mesh)
        return module

    def setup_module_and_optimizers(
        self, module: nn.Module, optimizers: list[Optimizer], scheduler: Any = None
    ) -> tuple[nn.Module, list[Optimizer], Any]:
        """The optimisers get the parts in place of the parameters that they were made with."""
        names = {parameter: name for name, parameter in module.named_parameters()}
        module = self.setup_module(module)
        parts = dict(module.named_parameters())
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["params"] = [parts[names[one]] if one in names else one for one in group["params"]]
        return module, optimizers, scheduler

    def optimizer_step(self, optimizer: Any, **kwargs: Any) -> Any:
        for parameter in self.whole_parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= self.world_size
        return super().optimizer_step(optimizer, **kwargs)


class _GradientsKept(_BackwardSyncControl):
    """Gradients of parts of a batch add up in each process; only the last part's backward pass exchanges."""

    @contextmanager
    def no_backward_sync(self, module: nn.Module, enabled: bool) -> Iterator[None]:
        sharded = [one for one in module.modules() if isinstance(one, FSDPModule)]
        for one in sharded:
            one.set_requires_gradient_sync(not enabled, recurse=False)
        try:
            yield
        finally:
            for one in sharded:
                one.set_requires_gradient_sync(True, recurse=False)


def shard(net: nn.Module, mesh: DeviceMesh) -> list[nn.Parameter]:
    """Divide the parameters of ``net`` over the processes of ``mesh``, in place.

    Large layers in sequences are gathered one after the other as they are needed; the others all together.

    Returns:
        the parameters that stay whole, in the same order in each process
    """
    whole = {one for one in net.parameters() if one.dim() == 0}
    for module in net.modules():
        if isinstance(module, MemoryModule):
            whole |= set(module.parameters(recurse=False))
    owners = Counter(one for module in net.modules() for one in module.parameters(recurse=False))
    tied = {one for one, number in owners.items() if number > 1}
    for one in net.parameters():
        one.data = one.data.contiguous()  # channels_last is not divided
    alone = (layer for layer in _large_layers(net) if tied.isdisjoint(layer.parameters()))
    for module in (*alone, net):
        module.register_forward_hook(_no_view)
        fully_shard(module, mesh=mesh, ignored_params=whole)
    return [one for one in net.parameters() if one in whole]


def is_finite(parameter: Tensor) -> bool:
    """Whether this process's part of a parameter has no NaN and no infinity."""
    part = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    return not part.is_floating_point() or bool(part.isfinite().all())


def is_sharded(net: nn.Module) -> bool:
    """Whether every process has to take part when the network runs."""
    return isinstance(net, FSDPModule)


def _large_layers(net: nn.Module) -> Iterator[nn.Module]:
    """The outermost layers that a sequence calls, and that are worth it; a layer's own layers go with it."""
    for child in net.children():
        if type(child).forward is nn.Sequential.forward:
            yield from _large_layers(child)
        elif type(net).forward is nn.Sequential.forward and not isinstance(child, MemoryModule):
            large = sum(one.numel() for one in child.parameters()) >= LEAST
            yield from [child] if large else []


def _no_view(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    """The output, so that it may be changed in place: on a view that would lose the hook which gathers the
    parameters again. Time is unfolded by a view."""
    is_view = isinstance(output, Tensor) and output._is_view()
    return torch.ops.aten._unsafe_view(output, output.shape) if is_view else output


def load_whole(net: nn.Module, state: dict[str, Tensor]) -> None:
    """``net.load_state_dict(state)``, where the tensors of ``state`` are whole and those of ``net`` may be
    parts.

    Raises:
        RuntimeError: ``state`` is another network's.
    """
    own = net.state_dict()
    net.load_state_dict({name: _divided(value, own.get(name)) for name, value in state.items()})


def shard_state(optimizer: Optimizer) -> None:
    """Divide the optimiser's loaded state as its parameters are divided."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            state[name] = _divided(value, parameter)


def _divided(value: Any, like: Any) -> Any:
    """This process's part of ``value``, if it is a tensor of the form of ``like``, which is in parts."""
    if not (isinstance(like, DTensor) and isinstance(value, Tensor) and value.shape == like.shape):
        return value
    part = distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return part.clone()  # and not a view of the whole


def gathered(state: Any, keep: bool) -> Any:
    """A tree of dicts, lists, tuples and tensors, with whole tensors in place of parts.

    Args:
        state: as ``state_dict()`` returns it; every process must call this, with trees of the same form.
        keep: whether this process needs the result; the others get ``None`` for what was in parts.
    """

    def whole(part: DTensor) -> Tensor | None:
        tensor = part.full_tensor()
        return tensor.cpu() if keep else None

    return tree_map_only(DTensor, whole, state)
