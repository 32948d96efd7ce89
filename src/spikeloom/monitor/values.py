"""Monitors of the forward pass: outputs, inputs, attributes."""

from collections.abc import Callable
from typing import Any

from torch import nn

from spikeloom.errors import describe, suggest
from spikeloom.monitor.base import BaseMonitor, Instance, identity
from spikeloom.monitor.hooks import Hook, attributes, inputs_of


class OutputMonitor(BaseMonitor):
    """Records the output of each call of a module.

    Args:
        net, instance, detach: as for :class:`BaseMonitor`.
        function_on_output: applied to each output before it is kept.
    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with OutputMonitor(net, nn.ReLU) as monitor:
        ...     _ = net(torch.ones(4, 2))
        >>> monitor.monitored_layers, monitor["1"][0].shape
        (['1'], torch.Size([4, 3]))
    """

    def __init__(
        self,
        net: nn.Module,
        instance: Instance | None = None,
        function_on_output: Callable[[Any], Any] = identity,
        *,
        detach: bool = True,
    ):
        super().__init__(net, instance, function_on_output, detach=detach)

    def _watch(self, name: str, module: nn.Module) -> Any:
        return module.register_forward_hook(Hook(module, lambda _inputs, output: self._record(name, output)))


class InputMonitor(BaseMonitor):
    """Records the input of each call of a module; of several inputs, the tuple.

    Args:
        net, instance, detach: as for :class:`BaseMonitor`.
        function_on_input: applied to each input before it is kept.
    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with InputMonitor(net, nn.Linear, lambda x: x.mean()) as monitor:
        ...     _ = net(torch.ones(4, 2))
        >>> monitor.records
        [tensor(1.)]
    """

    def __init__(
        self,
        net: nn.Module,
        instance: Instance | None = None,
        function_on_input: Callable[[Any], Any] = identity,
        *,
        detach: bool = True,
    ):
        super().__init__(net, instance, function_on_input, detach=detach)

    def _watch(self, name: str, module: nn.Module) -> Any:
        def keep(args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any) -> None:
            inputs = inputs_of(args, kwargs)
            self._record(name, inputs[0] if len(inputs) == 1 else inputs)

        return module.register_forward_hook(Hook(module, keep), with_kwargs=True)


class AttributeMonitor(BaseMonitor):
    """Records an attribute of a module at each call of it. In multi-step mode that is once per sequence.

    :func:`record` gives a memory at every time step in both modes.

    Args:
        attribute_name: the attribute, such as ``'v'``.
        pre_forward: whether it is read before the call or after it.
        net, instance, detach: as for :class:`BaseMonitor`.
        function_on_attribute: applied to each value before it is kept.
    Raises:
        AttributeError: at a call of a module that does not have the attribute, or does not store it.
    Example:
        >>> import torch
        >>> from spikeloom.neuron import IFNode
        >>> net = IFNode()
        >>> with AttributeMonitor("v", False, net) as monitor:
        ...     _ = net(torch.full([1], 0.25)), net(torch.full([1], 0.25))
        >>> monitor.records
        [tensor([0.2500]), tensor([0.5000])]
    """

    def __init__(
        self,
        attribute_name: str,
        pre_forward: bool,
        net: nn.Module,
        instance: Instance | None = None,
        function_on_attribute: Callable[[Any], Any] = identity,
        *,
        detach: bool = True,
    ):
        self.attribute_name, self.pre_forward = attribute_name, pre_forward
        super().__init__(net, instance, function_on_attribute, detach=detach)

    def _watch(self, name: str, module: nn.Module) -> Any:
        def keep(*_call: Any) -> None:
            if not self._enable:
                return
            if not hasattr(module, self.attribute_name):
                hint = suggest(self.attribute_name, attributes(module))
                raise AttributeError(f"{describe(module)} has no attribute {self.attribute_name!r}. {hint}")
            value = getattr(module, self.attribute_name)
            if value is None and self.attribute_name == "v_seq":
                raise AttributeError(
                    f"`v_seq` of {describe(module)} is None: set its store_v_seq to True first, or take "
                    "monitor.record(net, 'v')."
                )
            self._record(name, value)

        register = module.register_forward_pre_hook if self.pre_forward else module.register_forward_hook
        return register(Hook(module, keep))
