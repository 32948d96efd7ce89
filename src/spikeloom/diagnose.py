"""Why a network does not learn: layers that never fire, or always do, and what to change."""

import math
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.memory import is_recomputing, outside_of_checkpoints
from spikeloom.neuron import BaseNode, NonSpikingBaseNode
from spikeloom.surrogate import MultiLevelSpikeCount

FAR = 10.0  # below 0: no potential that lacks input stays there
NEGLIGIBLE = 1e-6  # slopes of a surrogate that are no gradient
ALWAYS = 0.95  # a layer with a larger firing rate carries no information in its spikes


@dataclass
class Firing:
    """What one spiking layer did while it was watched.

    Args:
        name: of the layer, in the network.
        node: the layer.
        calls: forward passes that were seen; not those that a backward pass repeats.
        passes: those of the whole network meanwhile.
        is_twice: whether the network has the layer under two names.
        spikes, values: spikes that were fired, of any size and sign, and values that could have been spikes.
        low, high: the smallest and the largest spike.
        has_nan: whether an output was NaN.
        nearest: the largest value that the surrogate was given: a distance from the threshold, negative if it
            was never reached; of neurons that fire counts, a potential in thresholds.
        distances, blocked: values that the surrogate was given, and those of them at which its derivative is
            zero.
    """

    name: str
    node: BaseNode
    calls: int = 0
    passes: int = 0
    is_twice: bool = False
    spikes: int = 0
    values: int = 0
    low: float = torch.inf
    high: float = -torch.inf
    has_nan: bool = False
    nearest: float = -torch.inf
    distances: int = 0
    blocked: int = 0

    @property
    def rate(self) -> float:
        """Spikes per neuron and time step."""
        return self.spikes / self.values if self.values else 0.0

    @property
    def always(self) -> bool:
        """Whether the layer fires the same spike at nearly every step, which says nothing."""
        return self.rate > ALWAYS and self.low == self.high

    @property
    def stuck(self) -> bool:
        """Whether the layer is silent, and no gradient can change that."""
        return self.values > 0 and self.spikes == 0 and 0 < self.distances == self.blocked

    @property
    def shared(self) -> bool:
        """Whether the layer runs again in a forward pass of the network, from where the first run left it."""
        twice = self.calls > self.passes > 0
        return twice and (self.node.step_mode == "m" or (self.is_twice and self.calls == 2 * self.passes))

    def advice(self) -> str | None:
        """What to change, or ``None`` if the layer fires as it should."""
        layer = f"Layer '{self.name}' ({type(self.node).__name__})"
        if self.shared:
            return (
                f"{layer} ran {self.calls / self.passes:.3g} times in each forward pass of the network, each "
                "time with the memories that the run before left. If it stands in several places, give each "
                "a neuron of its own."
            )
        if self.has_nan:
            return f"{layer} has NaN in its potentials: look for NaN or infinity in its input or its weights."
        if self.values and self.spikes == 0:
            more = "Lower v_threshold, or give it more input: larger initial weights, decay_input=False."
            less = "Its input is far below 0: lower the learning rate, or take smaller initial weights."
            threshold = self.node.v_threshold
            threshold = threshold.min().item() if isinstance(threshold, Tensor) else threshold
            highest = self.nearest * threshold if self._counts else self.nearest + threshold
            cure = less if self.distances and highest < -FAR else more
            return f"{layer} did not fire once in {self.calls} forward passes. {self._gradient()}{cure}"
        if self.always:
            return (
                f"{layer} fires at {self.rate:.0%} of all steps: its spikes say nothing. Raise v_threshold, "
                "or give it less input: smaller initial weights, or normalisation before it."
            )
        return None

    @property
    def _counts(self) -> bool:
        """Whether the neurons fire several spikes in a step."""
        return isinstance(self.node.surrogate_function, MultiLevelSpikeCount)

    def _gradient(self) -> str:
        if not self.distances:
            return ""
        surrogate = self.node.surrogate_function
        distance = f"Its potential stayed {-self.nearest:.3g} or more below its threshold"
        if self._counts:
            distance = f"Its potential reached {self.nearest:.3g} thresholds at most"
        if not self.stuck:
            share = 1 - self.blocked / self.distances
            return (
                f"{distance}; {surrogate} passes a gradient at {share:.0%} of its steps, so it may wake up. "
            )
        return (
            f"{distance}, where {surrogate} passes no gradient, so it cannot learn to fire: take a surrogate "
            "with wide support, such as surrogate.ATan(). "
        )


class FiringCheck:
    """Watches the spiking layers of a network for a few batches, then says which never fire, or always do.

    Use it as a context manager around some forward passes; training does so in its first steps by itself.
    While it watches, neurons run on the reference loop, where every step can be seen.

    Args:
        net: the network, in either step mode. Its outputs and gradients do not change.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(neuron.IFNode(v_threshold=5.0))
        >>> with FiringCheck(net) as check:
        ...     _ = net(torch.ones(3))
        >>> print(check.advice()[0])
        Layer '0' (IFNode) did not fire once in 1 forward passes. Its potential stayed 4 or more below ...
    """

    def __init__(self, net: nn.Module):
        places = Counter(module for _, module in net.named_modules(remove_duplicate=False))
        self.layers = [
            Firing(name, module, is_twice=places[module] > 1)
            for name, module in net.named_modules()
            if isinstance(module, BaseNode) and not isinstance(module, NonSpikingBaseNode)
        ]
        self._running: list[Firing] = []  # a neuron may have one within it
        self._undo = ExitStack()
        self._undo.callback(net.register_forward_hook(self._count_pass).remove)
        for layer in self.layers:
            self._watch(layer)
        surrogates = (layer.node.surrogate_function for layer in self.layers)
        for surrogate in {one for one in surrogates if isinstance(one, nn.Module)}:  # layers may share one
            self._undo.callback(surrogate.register_forward_pre_hook(self._count_distances).remove)

    def advice(self) -> list[str]:
        """One sentence or two per layer that does not fire as it should."""
        return [advice for layer in self.layers if (advice := layer.advice())]

    def close(self) -> list[str]:
        """Stop watching, and return the advice."""
        self._undo.close()
        return self.advice()

    def __enter__(self) -> "FiringCheck":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _count_pass(self, _net: nn.Module, _inputs: Any, _output: Any) -> None:
        for layer in self.layers:
            layer.passes += 1

    def _watch(self, layer: Firing) -> None:
        node = layer.node
        self._undo.callback(setattr, node, "backend", node.backend)
        node.backend = "torch"

        def begin(_node: nn.Module, _inputs: Any) -> None:
            self._running.append(layer)

        def end(_node: nn.Module, _inputs: Any, output: Any) -> None:
            self._running.pop()
            if isinstance(output, Tensor) and not is_recomputing():
                _count_spikes(layer, output.detach())

        self._undo.callback(node.register_forward_pre_hook(begin).remove)
        self._undo.callback(node.register_forward_hook(end, always_call=True).remove)

    def _count_distances(self, surrogate: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0]
        if not self._running or is_recomputing() or not isinstance(x, Tensor) or not x.numel():
            return
        layer, running = self._running[-1], self._running
        self._running = []  # asking the surrogate for its slope calls it again
        try:
            slope = _slope(surrogate, x)
        finally:
            self._running = running
        layer.nearest = max(layer.nearest, x.detach().max().item())
        layer.distances += slope.numel()
        layer.blocked += int((slope.abs() < NEGLIGIBLE).sum())


def _count_spikes(layer: Firing, output: Tensor) -> None:
    spikes = output[output != 0]  # NaN too
    layer.calls += 1
    layer.spikes += spikes.numel()
    layer.values += output.numel()
    if spikes.numel():
        low, high = (one.item() for one in spikes.aminmax())
        layer.has_nan |= math.isnan(low)
        layer.low, layer.high = min(layer.low, low), max(layer.high, high)


def _slope(surrogate: nn.Module, distance: Tensor) -> Tensor:
    """The surrogate's derivative at each distance from the threshold."""
    with torch.inference_mode(False), torch.enable_grad(), outside_of_checkpoints():
        distance = distance.detach().clone().requires_grad_()
        fired = surrogate(distance)
        if not fired.requires_grad:
            return torch.zeros_like(distance)
        return torch.autograd.grad(fired.sum(), distance)[0]
