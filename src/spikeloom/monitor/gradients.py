"""Monitors of the backward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook
from torch.utils._pytree import tree_leaves

from spikeloom.monitor.base import BaseMonitor, Instance, identity
from spikeloom.monitor.hooks import Hook, inputs_of


class GradOutputMonitor(BaseMonitor):
    """Records the gradient of each output of a module, in the order of the backward pass: last step first.

    Args:
        net, instance: as for :class:`BaseMonitor`.
        function_on_grad_output: applied to each gradient before it is kept.
    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid())
        >>> with GradOutputMonitor(net, nn.Sigmoid) as monitor:
        ...     net(torch.ones(1, 2)).sum().backward()
        >>> monitor.records
        [tensor([[1., 1., 1.]])]
    """

    def __init__(
        self,
        net: nn.Module,
        instance: Instance | None = None,
        function_on_grad_output: Callable[[Any], Any] = identity,
    ):
        super().__init__(net, instance, function_on_grad_output)

    def _watch(self, name: str, module: nn.Module) -> Any:
        # Hooks on tensors: a module's backward hook would make `counter += net(x)` an error.
        keep = Hook(module, lambda _inputs, output: self._watch_gradients(name, output))
        return module.register_forward_hook(keep)

    def _watch_gradients(self, name: str, value: Any) -> None:
        tensors = [part for part in tree_leaves(value) if isinstance(part, Tensor) and part.requires_grad]
        if len(tensors) == 1:
            tensors[0].register_hook(lambda gradient: self._record(name, gradient))
        elif tensors:
            register_multi_grad_hook(tensors, lambda gradients: self._record(name, tuple(gradients)))


class GradInputMonitor(GradOutputMonitor):
    """Records the gradient of each input of a module that needs one, in the order of the backward pass.

    Args:
        net, instance: as for :class:`BaseMonitor`.
        function_on_grad_input: applied to each gradient before it is kept; of several inputs, to the tuple.
    Example:
        >>> net = nn.Sequential(nn.Identity(), nn.Linear(2, 3, bias=False))
        >>> with GradInputMonitor(net, nn.Linear) as monitor:
        ...     net(torch.ones(1, 2, requires_grad=True)).sum().backward()
        >>> torch.equal(monitor[0], net[1].weight.sum(0, keepdim=True))
        True
    """

    def __init__(
        self,
        net: nn.Module,
        instance: Instance | None = None,
        function_on_grad_input: Callable[[Any], Any] = identity,
    ):
        super().__init__(net, instance, function_on_grad_input)

    def _watch(self, name: str, module: nn.Module) -> Any:
        def keep(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
            if not torch.is_grad_enabled():
                return None
            args = tuple(map(_view, args))
            kwargs = {key: _view(part) for key, part in kwargs.items()}
            self._watch_gradients(name, inputs_of(args, kwargs))
            return args, kwargs

        return module.register_forward_pre_hook(Hook(module, keep), with_kwargs=True)


def _view(part: Any) -> Any:
    """An input for one use: a tensor that is used elsewhere too has one gradient for all uses."""
    return part.view_as(part) if isinstance(part, Tensor) and part.requires_grad else part
