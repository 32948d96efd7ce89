"""Gradients through depth and, by traces of inputs, from earlier spikes: memory does not grow with time."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from spikeloom import neuron
from spikeloom.checks import checked_range
from spikeloom.errors import ShapeError, SpikeloomError, describe
from spikeloom.learning.correlation import SYNAPSES
from spikeloom.learning.sltt import SLTT


class OTTT(SLTT):
    r"""Online training through time: like :class:`SLTT`, but weights also learn from earlier spikes, through
    a trace of each layer's input.

    .. math:: a_t = \left(1 - \tfrac{1}{\tau}\right) a_{t-1} + s_t,\quad \nabla_W = \sum_t g_t\, a_t^\top

    :math:`1 - 1/\tau` is the leak of the neurons behind the layer, those that run next; a layer with no
    neurons behind it, such as a readout, has no trace. If the loss looks at the spikes of one layer of
    neurons with ``v_reset=None`` and ``detach_reset=True``, this is the gradient through time; layers before
    it lack what earlier spikes of theirs do in later ones. Biases have no trace, as in the source.

    Traces belong to linear and convolutional layers. They are put in place of the inputs that these save for
    their backward pass, so parametrised and standardised weights work as well.

    Args:
        net: layers and neurons in single-step mode.
        tau: time constant of all traces, in time steps; needed where neurons other than IF and LIF follow.
    Attributes:
        traces: the trace of each layer, by name.
    Shape:
        as one time step of ``net``.
    Raises:
        ValueError: ``net`` has modules in multi-step mode; a leak is not known, or not one number.
        SpikeloomError: a layer runs twice in a step, or saves a changed input: padding other than zeros,
            or a change of type under autocast.
    Source: Xiao et al., Online training through time for spiking neural networks, NeurIPS 2022.
    Example:
        >>> from spikeloom import functional, layer, neuron
        >>> net = OTTT(nn.Sequential(layer.Linear(1, 1, bias=False), neuron.LIFNode(v_threshold=9.0)))
        >>> for x in (1.0, 0.0):  # a spike, and none
        ...     net.net[0].weight.grad = None
        ...     net(torch.full([1, 1], x)).sum().backward()
        >>> bool(net.net[0].weight.grad > 0)  # the earlier one is remembered
        True
    """

    traces: dict[str, Tensor]

    def __init__(self, net: nn.Module, tau: float | None = None):
        super().__init__(net)
        self.tau = None if tau is None else checked_range("tau", tau, 1)
        self.register_memory("traces", {})
        self._behind: dict[str, nn.Module] = {}  # the neurons behind each layer, as they were seen to run
        self._waiting: list[str] = []

    def single_step_forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super().single_step_forward(x)
        ran: set[str] = set()
        self._waiting = []
        with contextlib.ExitStack() as stack:
            for name, module in self.net.named_modules():
                if isinstance(module, SYNAPSES):
                    stack.enter_context(self._traced(name, module, ran))
                elif isinstance(module, neuron.BaseNode):
                    stack.callback(module.register_forward_pre_hook(self._reached).remove)
            return super().single_step_forward(x)

    def _reached(self, node: nn.Module, _inputs: Any) -> None:
        """Neurons run: they are those behind the layers that ran since the last ones."""
        self._behind |= dict.fromkeys(self._waiting, node)
        self._waiting = []

    @contextlib.contextmanager
    def _traced(self, name: str, layer: nn.Module, ran: set[str]) -> Iterator[None]:
        """A block in which ``layer`` saves the trace of its input for the backward pass, not the input."""
        saved: _Saved | None = None

        def before(_layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            nonlocal saved
            if name in ran:
                raise SpikeloomError(f"{describe(layer)} runs twice in a time step: OTTT cannot trace it.")
            ran.add(name)
            saved = _Saved(inputs[0], self._trace(name, inputs[0]))
            saved.__enter__()

        def after(_layer: nn.Module, _inputs: Any, _output: Any) -> None:
            nonlocal saved
            assert saved is not None
            replaced, saved = saved.close(), None
            if not replaced and layer.weight.requires_grad:
                raise SpikeloomError(
                    f"{describe(layer)} does not save its input as it is (padding other than zeros, or "
                    "autocast): OTTT cannot trace it. Pad before it, or train in float32; or use SLTT."
                )

        hooks = layer.register_forward_pre_hook(before), layer.register_forward_hook(after)
        try:
            yield
        finally:
            if saved is not None:  # the layer raised an error
                saved.close()
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _trace(self, name: str, x: Tensor) -> Tensor:
        """The trace of a layer's input, after this step."""
        last, new = self.traces.get(name), x.detach().clone()
        if last is not None and (node := self._behind.get(name)) is not None:
            if last.shape != x.shape:
                raise ShapeError(
                    f"The trace of layer '{name}' has shape {list(last.shape)}, its input {list(x.shape)}. "
                    "Call functional.reset_net(net) before a batch of another size."
                )
            new.add_(last.to(x), alpha=leak(node) if self.tau is None else 1 - 1 / self.tau)
        self.traces = self.traces | {name: new}  # a new one: functional.checkpoint keeps the old one
        self._waiting.append(name)
        return new


class _Saved(saved_tensors_hooks):
    """A block in which a computation saves ``trace`` in place of ``x``."""

    def __init__(self, x: Tensor, trace: Tensor):
        self.replaced = False

        def pack(tensor: Tensor) -> Tensor:
            is_x = tensor.data_ptr() == x.data_ptr() and tensor.shape[-1:] == x.shape[-1:]
            if not is_x or tensor.numel() != x.numel():
                return tensor
            self.replaced = True
            return trace.reshape(tensor.shape)

        super().__init__(pack, lambda tensor: tensor)

    def close(self) -> bool:
        """End the block; whether ``x`` was to be saved in it."""
        self.__exit__()
        return self.replaced


def leak(node: nn.Module) -> float:
    """What is left of the potential of IF or LIF neurons after a step without input.

    Raises:
        ValueError: they are of another kind, or their leak is not one number.
    """
    if isinstance(node, neuron.ParametricLIFNode):
        return 1 - node.w.sigmoid().item()
    if isinstance(node, neuron.IFNode | neuron.SimpleIFNode | neuron.NonSpikingIFNode):
        return 1.0
    if isinstance(node, neuron.LIFNode | neuron.SimpleLIFNode | neuron.NonSpikingLIFNode):
        tau = torch.as_tensor(node.tau)
        if tau.numel() == 1:
            return 1 - 1 / tau.item()
    raise ValueError(
        f"`tau` must be given, because the leak of {describe(node)} is not one number that OTTT knows. Write "
        "OTTT(net, tau=...)."
    )
