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
from spikeloom.memory import HALF


class OTTT(SLTT):
    r"""Online training through time: like :class:`SLTT`, but weights also learn from earlier spikes, through
    a trace of each layer's input.

    .. math:: a_t = \left(1 - \tfrac{1}{\tau}\right) a_{t-1} + s_t,\quad \nabla_W = \sum_t g_t\, a_t^\top

    :math:`1 - 1/\tau` is the leak of the neurons behind the layer, those that run next; a layer with no
    neurons behind it, such as a readout, has no trace. If the loss looks at the spikes of one layer of
    neurons with ``v_reset=None`` and ``detach_reset=True``, this is the gradient through time; layers before
    it lack what earlier spikes of theirs do in later ones. Biases have no trace, as in the source.

    Traces belong to linear and convolutional layers. They are put in place of the inputs that these save for
    their backward pass, so parametrised and standardised weights work as well. A layer that runs once for all
    time steps, as the first ones for a static image, has no trace, and the gradient of :class:`SLTT`.

    Args:
        net: layers and neurons, all in single-step mode or all in multi-step mode, as for :class:`SLTT`.
        tau: time constant of all traces, in time steps; needed where neurons other than IF and LIF follow.
    Attributes:
        traces: the trace of each layer after the last step, by name.
    Shape:
        as ``net``.
    Raises:
        ValueError: as for :class:`SLTT`; a leak is not known, or not one number.
        SpikeloomError: a layer runs twice in a step, or saves a changed input: padding other than zeros,
            or a change of type under autocast; in multi-step mode, a layer of ``torch.nn``.
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

    def _run(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super()._run(x)
        ran: dict[str, _Input] = {}
        waiting: list[_Input] = []  # of layers that ran since the last neurons did

        def reached(node: nn.Module, _inputs: Any) -> None:
            for one in waiting:
                one.behind = node
            waiting.clear()

        with contextlib.ExitStack() as stack:
            for name, module in self.net.named_modules():
                if isinstance(module, SYNAPSES):
                    stack.enter_context(self._traced(name, module, ran, waiting))
                elif isinstance(module, neuron.BaseNode):
                    stack.callback(module.register_forward_pre_hook(reached).remove)
            output = super()._run(x)
        num_steps = max((len(one.steps) for one in ran.values()), default=0)
        for name, one in ran.items():
            if len(one.steps) == num_steps:  # the others run once for all time steps
                self._note(name, one)
        return output

    @contextlib.contextmanager
    def _traced(
        self, name: str, layer: nn.Module, ran: dict[str, "_Input"], waiting: list["_Input"]
    ) -> Iterator[None]:
        """A block in which ``layer`` saves the trace of its input for the backward pass, not the input."""
        saving = contextlib.ExitStack()
        shown = f"{type(layer).__name__} '{name}'"

        def before(_layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            if name in ran:
                raise SpikeloomError(f"{shown} runs twice in a time step: OTTT cannot trace it.")
            if self.step_mode == "m" and getattr(layer, "step_mode", None) != "m":
                raise SpikeloomError(
                    f"{shown} does not take sequences: OTTT cannot trace it over time. Put "
                    f"layer.{type(layer).__name__}(..., step_mode='m') in its place, call "
                    "functional.set_step_mode(net, 's'), or use SLTT."
                )
            x = _as_it_is_saved(layer, inputs[0])
            ran[name] = _Input(name, x if self.step_mode == "m" else x.unsqueeze(0))
            waiting.append(ran[name])
            saving.enter_context(saved_tensors_hooks(ran[name].pack, _unpacked))
            return x, *inputs[1:]

        def after(_layer: nn.Module, _inputs: Any, _output: Any) -> None:
            saving.close()
            if not ran[name].is_saved and layer.weight.requires_grad:
                raise SpikeloomError(
                    f"{shown} does not save its input as it is (padding other than zeros, or "
                    "autocast): OTTT cannot trace it. Pad before it, or train in float32; or use SLTT."
                )

        hooks = layer.register_forward_pre_hook(before), layer.register_forward_hook(after)
        try:
            yield
        finally:
            saving.close()  # if the layer raised an error
            for hook in hooks:
                hook.remove()

    @torch.no_grad
    def _note(self, name: str, one: "_Input") -> None:
        """Note from which trace a layer's input goes on, and where that ends."""
        start = None if one.behind is None else self.traces.get(name)
        if start is not None and start.shape != one.steps.shape[1:]:
            raise ShapeError(
                f"The trace of layer '{name}' has shape {list(start.shape)}, its input "
                f"{list(one.steps.shape[1:])}. Call functional.reset_net(net) before a batch of another size."
            )
        if one.behind is not None and (start is not None or len(one.steps) > 1):
            one.kept = leak(one.behind) if self.tau is None else 1 - 1 / self.tau
            one.start = start
        # A new one: functional.checkpoint keeps the old one.
        self.traces = self.traces | {name: one.last()}


class _Input:
    """The input ``[T, *]`` of a layer, and what makes its trace of it: the neurons that run next, what they
    keep from step to step, and the trace that was there before.

    Args:
        name: of the layer.
        steps: the input.
    """

    def __init__(self, name: str, steps: Tensor):
        self.name, self.steps = name, steps.detach()
        self.version = None if steps.is_inference() else steps._version
        self.behind: nn.Module | None = None
        self.kept = 0.0
        self.start: Tensor | None = None
        self.is_saved = False

    def pack(self, tensor: Tensor) -> "Tensor | tuple[_Input, torch.Size]":
        """What the layer keeps of a tensor that it saves: this, with a shape, in place of the input."""
        x = self.steps
        is_input = tensor.data_ptr() == x.data_ptr() and tensor.shape[-1:] == x.shape[-1:]
        if not is_input or tensor.numel() != x.numel():
            return tensor
        self.is_saved = True
        return self, tensor.shape

    def last(self) -> Tensor:
        """The trace after the last step; in single precision at least, as half could not count beyond 256."""
        if not self.kept:
            return _wide(self.steps[-1])
        trace = self.start
        for x in self.steps:
            trace = _wide(x) if trace is None else torch.add(x, trace.to(x.device), alpha=self.kept)
        assert trace is not None
        return trace

    @torch.no_grad
    def trace(self) -> Tensor:
        """The trace after each step. It is made where it is needed: kept, it would take as much memory as the
        input."""
        if self.version is not None and self.steps._version != self.version:
            raise SpikeloomError(
                f"The input of layer '{self.name}' was changed in place, but the backward pass needs what it "
                "was. Write y = y + 1 instead of y += 1, and inplace=False."
            )
        traces, last = _wide(self.steps), self.start
        for trace in traces if self.kept else ():
            if last is not None:
                trace.add_(last.to(trace), alpha=self.kept)
            last = trace
        return traces.to(self.steps.dtype)


def _unpacked(saved: Tensor | tuple[_Input, torch.Size]) -> Tensor:
    """What a layer's backward pass gets for what :meth:`_Input.pack` returned."""
    return saved if isinstance(saved, Tensor) else saved[0].trace().reshape(saved[1])


def _wide(x: Tensor) -> Tensor:
    """A copy, of half numbers in single precision."""
    return x.to(torch.float32 if x.dtype in HALF else x.dtype, copy=True)


def _as_it_is_saved(layer: nn.Module, x: Tensor) -> Tensor:
    """The input of ``layer``, copied if the layer would have to copy it to use it."""
    if isinstance(layer, nn.Linear):
        return x.contiguous() if x.dim() > 2 else x
    try:
        x.view(-1, *x.shape[2:])  # as time steps become samples of a batch
    except RuntimeError:
        return x.contiguous() if getattr(layer, "step_mode", "s") == "m" else x
    return x


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
        if not isinstance(node.tau, Tensor):
            return 1 - 1 / node.tau
        if node.tau.numel() == 1:
            return 1 - 1 / node.tau.item()
    raise ValueError(
        f"`tau` must be given, because the leak of {describe(node)} is not one number that OTTT knows. Write "
        "OTTT(net, tau=...)."
    )
