"""Why a network does not learn: layers that never fire, or always do, and what to change."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.neuron import BaseNode, NonSpikingBaseNode

ALWAYS = 0.95  # a layer with a larger firing rate carries no information in its spikes


@dataclass
class Firing:
    """What one spiking layer did while it was watched.

    Args:
        name: of the layer, in the network.
        node: the layer.
        calls: forward passes that were seen.
        spikes, values: spikes that were fired, and values that could have been spikes.
        highest: the largest membrane potential after the last step of a call.
        blocked: the fraction of those potentials at which the surrogate's derivative is zero.
    """

    name: str
    node: BaseNode
    calls: int = 0
    spikes: float = 0.0
    values: int = 0
    highest: float = -torch.inf
    blocked: float = 0.0

    @property
    def rate(self) -> float:
        """Spikes per neuron and time step."""
        return self.spikes / self.values if self.values else 0.0

    @property
    def stuck(self) -> bool:
        """Whether the layer is silent, and no gradient can change that."""
        return self.values > 0 and self.spikes == 0 and self.blocked == 1.0

    def advice(self) -> str | None:
        """What to change, or ``None`` if the layer fires as it should."""
        layer = f"Layer '{self.name}' ({type(self.node).__name__})"
        if self.values and self.spikes == 0:
            return (
                f"{layer} did not fire once in {self.calls} calls: its potential ended at most at "
                f"{self.highest:.3g}, and its threshold is {_shown(self.node.v_threshold)}. "
                f"{self._gradient()} Lower v_threshold, or give it more input: larger initial weights, "
                "decay_input=False, a larger tau."
            )
        if self.rate > ALWAYS:
            return (
                f"{layer} fires at {self.rate:.0%} of all steps: its spikes say nothing. Raise v_threshold, "
                "or give it less input: smaller initial weights, or normalisation before it."
            )
        return None

    def _gradient(self) -> str:
        surrogate = self.node.surrogate_function
        if not self.stuck:
            return f"{surrogate} passes a gradient at {1 - self.blocked:.0%} of them, so it may wake up."
        return (
            f"{surrogate} passes no gradient at any of them, so it cannot learn to: take a "
            "surrogate with wide support, such as surrogate.ATan()."
        )


class FiringCheck:
    """Watches the spiking layers of a network for a few batches, then says which never fire, or always do.

    Use it as a context manager around some forward passes; training does so in its first steps by itself.

    Args:
        net: the network, in either step mode. Its outputs and gradients do not change.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(neuron.IFNode(v_threshold=5.0))
        >>> with FiringCheck(net) as check:
        ...     _ = net(torch.ones(3))
        >>> print(check.advice()[0])
        Layer '0' (IFNode) did not fire once in 1 calls: its potential ended at most at 1, ...
    """

    def __init__(self, net: nn.Module):
        self.layers = [
            Firing(name, module)
            for name, module in net.named_modules()
            if isinstance(module, BaseNode) and not isinstance(module, NonSpikingBaseNode)
        ]
        self._handles = [layer.node.register_forward_hook(self._hook(layer)) for layer in self.layers]

    def advice(self) -> list[str]:
        """One sentence or two per layer that does not fire as it should."""
        return [advice for layer in self.layers if (advice := layer.advice())]

    def close(self) -> list[str]:
        """Stop watching, and return the advice."""
        for handle in self._handles:
            handle.remove()
        return self.advice()

    def __enter__(self) -> "FiringCheck":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _hook(layer: Firing) -> Any:
        def observe(node: nn.Module, _inputs: Any, output: Any) -> None:
            v = getattr(node, "v", None)
            if not isinstance(output, Tensor) or not isinstance(v, Tensor) or not v.numel():
                return
            layer.calls += 1
            layer.spikes += output.detach().sum().item()
            layer.values += output.numel()
            layer.highest = max(layer.highest, v.detach().max().item())
            slope = _surrogate_slope(layer.node, v.detach())
            layer.blocked += ((slope == 0).double().mean().item() - layer.blocked) / layer.calls

        return observe


@torch.enable_grad()
def _surrogate_slope(node: BaseNode, v: Tensor) -> Tensor:
    """The surrogate's derivative at each potential ``v``."""
    distance = (v - torch.as_tensor(node.v_threshold).detach()).requires_grad_()
    fired = node.surrogate_function(distance)
    if not fired.requires_grad:
        return torch.zeros_like(v)
    return torch.autograd.grad(fired.sum(), distance)[0]


def _shown(threshold: Any) -> str:
    low, high = torch.as_tensor(threshold).detach().float().aminmax()
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
