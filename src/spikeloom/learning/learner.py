"""What all learners share: they watch the spikes on both sides of a synapse, and change its weight."""

import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from spikeloom.checks import checked_range
from spikeloom.errors import ShapeError, SpikeloomError
from spikeloom.learning.correlation import SYNAPSES, Synapse, check_activities
from spikeloom.memory import HALF, MemoryModule
from spikeloom.monitor import BaseMonitor, InputMonitor, OutputMonitor
from spikeloom.monitor.base import Instance, identity

Modulation = Callable[[Tensor], Any]
MANY_BYTES = 2**30  # of spikes: what waits longer for a step is probably forgotten


def in_full(weight: Tensor) -> Tensor:
    """A weight to compute with: without gradient, in at least float32, as halves cannot count."""
    weight = weight.detach()
    return weight.float() if weight.dtype in HALF else weight


class SynapseLearner(MemoryModule):
    """Watches the input of a synapse and the spikes of the neurons behind it, from each forward pass to the
    next :meth:`step`.

    It watches in evaluation too, and then says so once: call :meth:`disable` before a test, so that nothing
    is kept, or learned, from it. A learner that is deleted stops watching. A copy, or a pickle, made together
    with the network goes on from the same traces and spikes, on its own network.

    Args:
        step_mode: ``'s'`` if synapse and neurons are run one time step at a time, ``'m'`` for sequences.
        synapse: ``Linear``, ``Conv1d``, ``Conv2d`` or ``Conv3d``, whose weight is learned.
        sn: the neurons right behind it; any module that returns their spikes.
        f_pre, f_post: factors of the weakening and the strengthening, functions of the weight.
    Raises:
        TypeError: ``synapse``, ``sn``, ``f_pre`` or ``f_post`` is another kind of thing.
    """

    def __init__(
        self,
        step_mode: str,
        synapse: Synapse,
        sn: nn.Module,
        f_pre: Modulation = identity,
        f_post: Modulation = identity,
    ):
        super().__init__(step_mode)
        for name, factor in {"f_pre": f_pre, "f_post": f_post}.items():
            if not callable(factor):
                raise TypeError(
                    f"`{name}` must be a function of the weight, got {factor!r}. For a constant: lambda "
                    f"weight: {factor!r}."
                )
        self.f_pre, self.f_post = f_pre, f_post
        if not isinstance(synapse, SYNAPSES):
            raise TypeError(
                f"`synapse` must be a Linear, Conv1d, Conv2d or Conv3d layer, got {type(synapse).__name__}. "
                "Give the layer whose weight is learned."
            )
        if not isinstance(sn, nn.Module):
            raise TypeError(f"`sn` must be the module of the neurons behind, got {type(sn).__name__}.")
        self.synapse, self.sn = synapse, sn
        self.in_spike_monitor = _SynapseMonitor(synapse)
        self.out_spike_monitor = _NeuronMonitor(sn)
        weakref.finalize(self, _remove_hooks, self._monitors())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for monitor, module in zip(self._monitors(), (self.synapse, self.sn), strict=True):
            if monitor.hooks:  # those of a copy do nothing
                monitor.remove_hooks()
                monitor.hooks.append(monitor._watch("", module))
        weakref.finalize(self, _remove_hooks, self._monitors())

    def reset(self) -> None:
        """Forget traces and spikes; the weights stay. Call it between samples."""
        super().reset()
        self._forget_spikes()

    def enable(self) -> None:
        """Watch again."""
        for monitor in self._monitors():
            monitor.enable()

    def disable(self) -> None:
        """Watch nothing until :meth:`enable`: for tests, where nothing is learned."""
        for monitor in self._monitors():
            monitor.disable()

    def close(self) -> None:
        """Stop watching for good, and forget traces and spikes."""
        for monitor in self._monitors():
            monitor.close()
        self.reset()

    @property
    def _weight(self) -> Tensor:
        return in_full(self.synapse.weight)

    def _monitors(self) -> tuple[InputMonitor, OutputMonitor]:
        return self.in_spike_monitor, self.out_spike_monitor

    def _take_spikes(self, scale: float) -> tuple[Tensor, Tensor] | None:
        """The spikes before and behind since the last step, ``[T, ...]`` each; nothing if learning is paused.
        They are forgotten by :meth:`_give`, when nothing can go wrong any more.

        Raises:
            TypeError, ValueError: ``scale`` is no finite number.
            SpikeloomError: no spikes were seen.
            ShapeError: they do not belong together.
        """
        checked_range("scale", scale)
        pre, post = (monitor[""] for monitor in self._monitors())
        if not pre and not post and not self.in_spike_monitor.is_enable():
            return None
        if not self.in_spike_monitor.hooks or not pre or len(pre) != len(post):
            raise SpikeloomError(self._missing(len(pre), len(post)))
        weight = self._weight
        joined = [self._joined(name, values).to(weight) for name, values in (("in", pre), ("out", post))]
        check_activities(self.synapse, *joined)
        return joined[0], joined[1]

    def _forget_spikes(self) -> None:
        for monitor in self._monitors():
            monitor.clear_recorded_data()

    def _missing(self, num_in: int, num_out: int) -> str:
        name = type(self).__name__
        if not self.in_spike_monitor.hooks:
            return f"{name} was closed. Make a new one to go on learning."
        seen = f"{num_in} inputs of `synapse` and {num_out} outputs of `sn`"
        return (
            f"{name} saw {seen} since its last step, and needs as many of one as of the other, and at least "
            "one. Run the network before step(), and give the learner the very modules that it runs; reset() "
            "drops what was seen."
        )

    def _joined(self, name: str, values: list[Tensor]) -> Tensor:
        """What the calls saw, as one sequence."""
        channels = self.synapse.weight.dim() - 1
        allowed = (channels, channels + 1) if self.step_mode == "s" else (channels + 2,)
        for value in values:
            if value.dim() not in allowed or value.shape[-channels:] != values[0].shape[-channels:]:
                raise ShapeError(self._wrong_dimensions(name, value))
        try:
            return torch.stack(values) if self.step_mode == "s" else torch.cat(values)
        except RuntimeError:
            shapes = [list(value.shape) for value in values[:3]]
            raise ShapeError(
                f"The {name}put spikes changed their shape between two steps of the learner: {shapes}. Call "
                "its reset() before a batch of another size."
            ) from None

    def _wrong_dimensions(self, name: str, value: Tensor) -> str:
        places = "".join(f", {place}" for place in "DHW"[5 - self.synapse.weight.dim() :])
        step = f"N, C{places}" if places else "N, features"
        wanted = f"[{step}]" if self.step_mode == "s" else f"[T, {step}]"
        return (
            f"{type(self).__name__} with step_mode='{self.step_mode}' expects {name}put spikes {wanted}, got "
            f"{list(value.shape)}. Learner, synapse and neurons must have the same `step_mode`, and the "
            "synapse must be a layer of spikeloom.layer, not inside a SeqToANNContainer, for 'm'."
        )

    def _started(self, name: str, step: Tensor) -> Tensor | None:
        """The trace ``name``, if it fits the spikes of a ``step``."""
        trace = getattr(self, name)
        if trace is None:
            return None
        trace = torch.as_tensor(trace).to(step)  # scripts set 0.0
        if trace.dim() and trace.shape != step.shape:
            raise ShapeError(
                f"`{name}` of {type(self).__name__} must have the shape of a step's spikes, "
                f"{list(step.shape)}, got {list(trace.shape)}. Call reset() before a batch of another size."
            )
        return trace.expand_as(step)

    def _give(self, change: Tensor, on_grad: bool) -> Tensor | None:
        """Return the weight change; or hand its negative to the optimiser as a gradient."""
        weight, change = self.synapse.weight, change.to(self.synapse.weight.dtype)
        self._forget_spikes()
        if not on_grad:
            return change
        if is_parametrized(self.synapse, "weight"):  # computed from the parameter that the optimiser holds
            with torch.enable_grad():
                self.synapse.weight.backward(-change)
        else:
            weight.grad = -change if weight.grad is None else weight.grad - change
        return None

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode}"


class _Alone(BaseMonitor):
    """Records a module, and none within it, of its class or not."""

    def _chosen(self, net: nn.Module, instance: Instance) -> dict[str, nn.Module]:
        return {"": net}


class _NeuronMonitor(_Alone, OutputMonitor):
    """Records the spikes of the neurons behind a synapse."""


class _SynapseMonitor(_Alone, InputMonitor):
    """Records the input of a synapse, and says once if it looks as if nothing were to be learned from it."""

    def __init__(self, synapse: nn.Module):
        self.synapse, self.warned = synapse, False
        super().__init__(synapse)

    def _record(self, name: str, value: Any) -> None:
        super()._record(name, value)
        if self.warned or not self.is_enable() or not isinstance(value, Tensor):
            return
        size = len(self) * value.nbytes
        if self.synapse.training and size <= MANY_BYTES:
            return
        self.warned = True
        mode = "" if self.synapse.training else ", which is in evaluation mode"
        warnings.warn(
            f"A learner keeps what passes {type(self.synapse).__name__}{mode}, for its next step(): "
            f"{size / 2**20:.1f} MiB by now. Call its disable() before a test, and enable() after it: what "
            "it sees there would be learned, and takes memory until then.",
            stacklevel=2,
        )


def _remove_hooks(monitors: Iterable[BaseMonitor]) -> None:
    for monitor in monitors:
        monitor.remove_hooks()
