"""Seeing what a network does: each function of PyTorch that it calls, and in which of its modules."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikeloom.neuron import NonSpikingBaseNode
from spikeloom.profile.operations import NOT_COUNTED, SYNAPSES, Synapses, synapses

ROUNDING = 1e-4  # of spikes whose height was added up and subtracted again, as a part of it


@dataclass
class Seen:
    """What was seen of one module.

    Args:
        output_shape: for one sample and time step.
        rows: times that a sample went into a layer with weights; at each time step is one.
        values, nonzero: numbers of its input values, and of those that are not zero.
        low, high: least and largest magnitude of those.
        active, dense: summed over calls, see :class:`~spikeloom.profile.operations.Synapses`.
        outputs, spikes: of a spiking neuron: values, and those that are not zero.
    """

    output_shape: tuple[int, ...] = ()
    rows: int = 0
    values: int = 0
    nonzero: int = 0
    low: float = math.inf
    high: float = 0.0
    active: int = 0
    dense: int = 0
    outputs: int = 0
    spikes: int = 0

    @property
    def has_spikes(self) -> bool:
        """Whether the inputs were all zero or of one magnitude, up to rounding; over all calls, so that both
        step modes agree."""
        return not self.nonzero or self.high - self.low <= ROUNDING * self.high


class Watch(TorchFunctionMode):
    """A block in which the calls of ``net`` are seen. The network gets hooks, so it should be a copy.

    Args:
        net: the network.
    Attributes:
        modules: of the network, by name.
        size: time steps and samples of the batch that is running.
        seen: by module, in the order in which they ran first.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        self.modules = dict(net.named_modules())
        self.size: tuple[int, int] = (0, 0)
        self.seen: dict[str, Seen] = {}
        self._running: list[str] = []
        self._not_counted: dict[tuple[str, str], int] = {}  # function and module: calls
        self._weights: set[int] = set()  # addresses of those that were counted
        for name, module in self.modules.items():
            module.register_forward_pre_hook(partial(self._enter, name))
            module.register_forward_hook(partial(self._leave, name))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._running:
            self._look_at(func, args, kwargs)
        return func(*args, **kwargs)

    def _look_at(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name = self._running[-1]
        if func in SYNAPSES and not is_neuron(self.modules[name]):
            self._add(self.seen[name], synapses(func, args, kwargs))
        elif func in SYNAPSES or getattr(func, "__name__", "") in NOT_COUNTED:
            key = func.__name__.strip("_"), name
            self._not_counted[key] = self._not_counted.get(key, 0) + 1

    def _add(self, seen: Seen, call: Synapses) -> None:
        magnitudes = call.x[call.x != 0].abs()
        if magnitudes.numel():
            low, high = (one.item() for one in magnitudes.aminmax())
            seen.low, seen.high = min(seen.low, low), max(seen.high, high)
        seen.values += call.x.numel()
        seen.nonzero += magnitudes.numel()
        seen.active += call.active
        seen.dense += call.dense
        seen.rows += math.prod(call.batch[: 2 if call.batch[:2] == self.size else 1])
        self._weights.add(call.weight.untyped_storage().data_ptr())

    def _enter(self, name: str, *_call: Any) -> None:
        self._running.append(name)
        self.seen.setdefault(name, Seen())

    def _leave(self, name: str, module: nn.Module, _args: Any, output: Any) -> None:
        self._running.pop()
        if not isinstance(output, Tensor):
            return
        seen = self.seen[name]
        seen.output_shape = self._of_one_sample(module, output.shape)
        if is_neuron(module):
            seen.outputs += output.numel()
            seen.spikes += int(output.count_nonzero())

    def _of_one_sample(self, module: nn.Module, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape without time and batch; a network in single-step mode may call a module with one step."""
        num_steps, num_samples = self.size
        lengths = {"s": (), "m": (1, num_steps)}.get(getattr(module, "step_mode", ""), (num_steps,))
        has_time = any(tuple(shape[:2]) == (length, num_samples) for length in lengths)
        return tuple(shape[2 if has_time else 1 :])

    def rows(self) -> list[str]:
        """The modules that make a row: with synapses, neurons, and others that learn."""
        return [name for name, seen in self.seen.items() if seen.dense or self._is_unit(name)]

    def _is_unit(self, name: str) -> bool:
        module = self.modules[name]
        if is_neuron(module) or isinstance(module, NonSpikingBaseNode):
            return True
        above = [name[:end] for end, letter in enumerate(name) if letter == "."]
        is_part = any(is_neuron(self.modules[one]) or one.endswith("parametrizations") for one in above)
        return bool(module._parameters) and not is_part

    def missing(self) -> Iterator[str]:
        """What took part and was not counted, for people."""
        for (function, name), calls in self._not_counted.items():
            times = f", {calls} calls" if calls > 1 else ""
            yield f"{function} in {self._label(name)}{times}"
        for name, module in self.modules.items():
            if name in self.seen and (self.seen[name].dense or is_neuron(module)):
                continue
            for kind, parameter in module.named_parameters(recurse=False):
                is_counted = parameter.untyped_storage().data_ptr() in self._weights
                if parameter.dim() > 1 and not is_counted and ".parametrizations." not in name:
                    yield f"{kind} of {self._label(name)}"

    def _label(self, name: str) -> str:
        kind = type(self.modules[name]).__name__
        return f"'{name}' ({kind})" if name else kind


def is_neuron(module: nn.Module) -> bool:
    """Whether a module's output is spikes."""
    return hasattr(module, "surrogate_function") and not isinstance(module, NonSpikingBaseNode)
